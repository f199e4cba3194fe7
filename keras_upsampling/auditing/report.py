"""`audit`: which layers of a model make checkerboards, how strong, and how to fix them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_upsampling._tables import by, table
from keras_upsampling.auditing.advice import advice, is_seen
from keras_upsampling.auditing.flow import SizeChange
from keras_upsampling.auditing.parts import first_parts, last_parts
from keras_upsampling.auditing.response import (
    Response,
    Unmeasured,
    gradient_response,
    output_response,
)
from keras_upsampling.auditing.survey import Survey, name_of, survey_model
from keras_upsampling.auditing.trace import random_state_kept
from keras_upsampling.maths.ripple import Ripple, compound


class LayerAudit(NamedTuple):
    """What the audit of a model says about one layer.

    Attributes:
        layer: The layer's name, after the names of the nested models that contain it.
        kind: Its class; for a convolution followed by depth-to-space, both classes.
        enlarges: Whether it upsamples. If it downsamples, all figures are about its gradient, which
            it upsamples.
        size: The factor of the upsampling or downsampling, per axis; a fraction if not an integer.
        ripple: The ripple that follows from its kernel; None if it has no kernel that is the same
            everywhere: maximum pooling, or resizing by a fraction.
        period: Period of its pattern in the model's output (of its gradient's: at the model's
            input), in samples.
        compound: Gain ripple (for the gradient: power ripple) of this layer and of all layers whose
            patterns pass through it, computed from their kernels alone. None if one of them has no
            kernel. Exact if a single channel connects the layers directly. Otherwise trust
            `Audit.response`: activations and the layers in between often make it far smaller.
        advice: How to fix the layer; empty if there is nothing to fix.
    """

    layer: str
    kind: str
    enlarges: bool
    size: tuple[int | Fraction, ...]
    ripple: Ripple | None
    period: tuple[int, ...]
    compound: float | None
    advice: str


class Audit(NamedTuple):
    """What makes checkerboards in a model. `print` shows it as tables.

    Attributes:
        layers: All layers that upsample or downsample, in the order of their calls.
        response: The pattern measured in the output of the model for constants, activations
            included. Trust it if the compound ripples of the layers differ. None if it could not be
            measured.
        gradient: The pattern measured in the gradient at the input. None if it could not be
            measured.
        not_looked_at: What the audit does not cover, one sentence each.
    """

    layers: tuple[LayerAudit, ...]
    response: Response | None
    gradient: Response | None
    not_looked_at: tuple[str, ...]

    def records(self) -> dict[str, Any]:
        """Return the audit as dictionaries, lists, numbers and strings, with None for infinity."""
        records: dict[str, Any] = _plain(self)
        return records

    def to_json(self) -> str:
        """Return the records as JSON."""
        return json.dumps(self.records(), indent=1)

    def __str__(self) -> str:
        return _tables(self)


def audit(model: keras.Model, inputs: Any = None) -> Audit:
    """Report which layers of a model make checkerboards, how strong, and how to fix them.

    The model is called once, and every layer that upsamples or downsamples is audited. That
    includes nested models, wrappers such as `TimeDistributed`, and calls in code of
    `keras.ops.image.resize`, `repeat`, `depth_to_space`, `conv_transpose` and similar functions (as
    `ops.repeat`, not as a function imported by its own name). Kernels are compared phase by phase.

    Then the largest part of the model that accepts maps of any size is measured. Its maps are so
    large that borders do not matter. Constants are sent through it, and the pattern that repeats in
    the middle of the output is measured. Noise is sent through it for the gradient at its input.
    This takes at most about a gigabyte beyond the model's own call. If large maps do not fit, or
    the model does not accept them, the part is measured in the model's own size. Patterns that
    cannot be seen in that size are listed with the reason.

    Args:
        model: Any built model: functional, sequential or subclassed.
        inputs: Inputs to call it with, such as `np.zeros((1, 64, 64, 3))`. Needed for subclassed
            models, whose input shape is not known.

    Returns:
        `Audit`, which prints as tables.

    Raises:
        TypeError: If `model` is not a model.
        ValueError: If it has no `call` (the message names its parts, which can be audited), or if
            the shape of its input is not known and `inputs` are missing.

    Example:
        >>> import keras
        >>> from keras_upsampling import audit
        >>> up = keras.layers.Conv2DTranspose(4, 3, strides=2, name="up")
        >>> decoder = keras.Sequential([keras.Input((8, 8, 8)), up])
        >>> result = audit(decoder)
        >>> result.layers[0].layer, result.layers[0].ripple.gain > 0.5, result.response.ripple > 0.1
        ('up', True, True)

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill;
        Sugawara, Shiota, Kiya 2018, arXiv:1806.02658 (the response to a constant).
    """
    with random_state_kept():
        survey = survey_model(model, inputs)
        response = output_response(last_parts(survey.call), survey)
        gradient = gradient_response(first_parts(survey.call), survey)
    other_outputs = "all outputs except the first" if len(survey.call.outputs) > 1 else ""
    return Audit(
        layers=tuple(_layer_audits(survey)),
        response=response if isinstance(response, Response) else None,
        gradient=gradient if isinstance(gradient, Response) else None,
        not_looked_at=(
            *survey.unknown_upsampling,
            *survey.notes,
            *_unmeasured("the response to constants", response),
            *_unmeasured("the gradient", gradient),
            *filter(None, [other_outputs]),
        ),
    )


def _unmeasured(what: str, measured: Response | Unmeasured) -> list[str]:
    if isinstance(measured, Unmeasured):
        return [f"{what}: {measured.reason}"]
    only = [f"{what}: only the part {measured.part} was measured"] if measured.part else []
    return only + [f"{what}: {line}" for line in measured.left]


def _layer_audits(survey: Survey) -> list[LayerAudit]:
    audits = []
    for change, period, chain in zip(survey.changes, survey.periods, survey.chains, strict=True):
        chain_ripples = [_main_ripple(link) for link in chain]
        known = [ripple for ripple in chain_ripples if ripple is not None]
        audits.append(
            LayerAudit(
                layer=name_of(change.call),
                kind=change.kind,
                enlarges=change.enlarges,
                size=change.size,
                ripple=change.ripple,
                period=period,
                compound=compound(known) if len(known) == len(chain_ripples) else None,
                advice=advice(change),
            )
        )
    return audits


def _main_ripple(change: SizeChange) -> float | None:
    if change.ripple is None:
        return None
    return change.ripple.gain if change.enlarges else change.ripple.power


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(field) for name, field in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    # JSON has no infinity.
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    if np.isnan(value):
        return "NaN"
    return f"{value:.1%}" if np.isfinite(value) else "no mean"


_COLUMNS = ("layer", "kind", "size", "gain", "ramp", "power", "period", "compound")


def _row(layer: LayerAudit) -> tuple[str, ...]:
    ripples = layer.ripple[:3] if layer.ripple else (None,) * 3
    gain, ramp, power, joint = map(_percent, (*ripples, layer.compound))
    return (layer.layer, layer.kind, by(layer.size), gain, ramp, power, by(layer.period), joint)


def measured(audit: Audit) -> list[str]:
    """Return what was measured as two lines: one for the output, one for the gradient."""
    return [
        _measured_line("Measured response to constants", audit.response),
        _measured_line("Measured gradient of noise", audit.gradient),
    ]


def _measured_line(what: str, response: Response | None) -> str:
    if response is None:
        return f"{what}: not measured"
    part = f" ({response.part})" if response.part else ""
    if max(response.period) == 1:
        return f"{what}{part}: no layer that could make a pattern"
    rest = f", {_percent(response.rest)} does not repeat" if response.rest else ""
    period = by(response.period)
    return f"{what}{part}: {_percent(response.ripple)} repeats every {period} samples{rest}"


# How many names are listed before "and 9 more".
_MOST_NAMES = 3

_STEPS = (
    "Where gain is 0 and ramp is not, slopes become steps. The steps show on smooth content, "
    "before training, and where no convolution follows. A trained convolution smooths them, and "
    "nearest is then the better start."
)
_TRUST = (
    "Trust the measured figures: they describe the model as it is. Compound is what the kernels "
    "alone add up to; activations and the layers in between change that, often to far less."
)


def _makes_only_steps(layer: LayerAudit) -> bool:
    if layer.ripple is None or not layer.enlarges:
        return False
    return is_seen(layer.ripple.ramp) and not is_seen(layer.ripple.gain)


def _has_both_figures(audit: Audit) -> bool:
    """Return whether the output, or the gradient, has a measured and a compound figure."""
    measured = {True: audit.response, False: audit.gradient}
    return any(
        measured[layer.enlarges] is not None
        and layer.compound is not None
        and is_seen(layer.compound)
        for layer in audit.layers
    )


def _advice_lines(layers: Sequence[LayerAudit]) -> list[str]:
    """Return every advice once, after the names of its layers."""
    names: dict[str, dict[str, None]] = {}
    for layer in layers:
        if layer.advice:
            # A dictionary, since a layer that is called twice has two rows.
            names.setdefault(layer.advice, {})[layer.layer] = None
    return [f"- {_list_names(list(unique))}: {text}" for text, unique in names.items()]


def _list_names(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMES
    if rest <= 0:
        return ", ".join(names)
    return f"{', '.join(names[:_MOST_NAMES])} and {rest} more ({len(names)} layers)"


def _tables(audit: Audit) -> str:
    lines = []
    for enlarges, title in (
        (True, "Layers that upsample"),
        (False, "Gradients of layers that downsample"),
    ):
        layers = [layer for layer in audit.layers if layer.enlarges == enlarges]
        if layers:
            lines += [f"{title}:", "", table(_COLUMNS, [_row(layer) for layer in layers]), ""]
            lines += _advice_lines(layers)
            lines += [""] if lines[-1] else []
    if not audit.layers:
        lines += ["No known layer changes the size of maps.", ""]
    if any(_makes_only_steps(layer) for layer in audit.layers):
        lines += [_STEPS, ""]
    lines += measured(audit)
    if _has_both_figures(audit):
        lines += [_TRUST]
    if audit.not_looked_at:
        lines += ["", "Not looked at:", *(f"- {line}" for line in audit.not_looked_at)]
    return "\n".join(lines)
