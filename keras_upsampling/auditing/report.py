"""`audit`: which layers of a model make checkerboards, how strong they are, and what to do."""

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
    """What the audit of a model says of one layer.

    Attributes:
        layer: Its name, behind those of the models inside of the model that it is in.
        kind: Its class; for a convolution that depth-to-space follows, both.
        enlarges: Whether it enlarges. Where it makes maps smaller, all figures are those of the
            gradient, which it enlarges.
        size: By how much, along every axis; a fraction where that is no whole number.
        ripple: What its kernel must do; None where there is no kernel that is the same everywhere:
            of a maximum, of resizing by a fraction.
        period: Of its pattern in the model's output (for the gradient: at its input), in samples.
        compound: The gain ripple (for the gradient: the power ripple) of this layer and those whose
            patterns come through it together, from their kernels alone; None where one of them has
            no kernel. Exact where a single channel goes straight from one layer to the next;
            elsewhere `Audit.response` is to be trusted, which activations and the layers in
            between often make far smaller.
        advice: What to do; empty where there is nothing to mend.
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
        layers: Every layer that enlarges maps or makes them smaller, in the order of the calls.
        response: The pattern that was measured in the output for constants, of the model as it is:
            where the compound of the layers says something else, this is right. None if it could
            not be measured.
        gradient: The pattern that was measured in the gradient at the input; None likewise.
        not_looked_at: What the audit knows nothing about, a sentence each.
    """

    layers: tuple[LayerAudit, ...]
    response: Response | None
    gradient: Response | None
    not_looked_at: tuple[str, ...]

    def records(self) -> dict[str, Any]:
        """Return all of it as dictionaries, lists, numbers and text; None for infinity."""
        records: dict[str, Any] = _plain(self)
        return records

    def to_json(self) -> str:
        """Return the records as JSON."""
        return json.dumps(self.records(), indent=1)

    def __str__(self) -> str:
        return _tables(self)


def audit(model: keras.Model, inputs: Any = None) -> Audit:
    """Say which layers of a model make checkerboards, how strong, and what to do about it.

    The model is called once, and every layer that enlarges maps, or makes them smaller, is
    looked at: in models inside of the model too, in wrappers such as `TimeDistributed`, and where
    code calls `keras.ops.image.resize`, `repeat`, `depth_to_space`, `conv_transpose` and the like
    (as `ops.repeat`; not a function imported by its own name). Kernels are compared phase by
    phase. Then
    constants are sent through as much of the model as takes maps of any size, on maps so large
    that borders do not matter, and what repeats in the middle of the output is measured; and
    noise is sent back to the input for the gradient. That takes at most about a gigabyte beyond
    the model's own call: where large maps do not fit, or the model does not take them, it is
    measured in its own size, and what cannot be survey there is named with the reason.

    Args:
        model: Any model that has been built: functional, sequential or subclassed.
        inputs: Something to call it with, such as `np.zeros((1, 64, 64, 3))`. Subclassed models
            need it, which do not tell the shape of their input.

    Returns:
        `Audit`, which prints as tables.

    Raises:
        TypeError: not a model.
        ValueError: it has no `call` (the message names its parts, which can be audited), or the
            shape of the input is not known, and `inputs` are not given.

    Example:
        >>> import keras
        >>> from keras_upsampling import audit
        >>> up = keras.layers.Conv2DTranspose(4, 3, strides=2, name="up")
        >>> decoder = keras.Sequential([keras.Input((8, 8, 8)), up])
        >>> found = audit(decoder)
        >>> found.layers[0].layer, found.layers[0].ripple.gain > 0.5, found.response.ripple > 0.1
        ('up', True, True)

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill;
        Sugawara, Shiota, Kiya 2018, arXiv:1806.02658 (the answer to a constant).
    """
    with random_state_kept():
        survey = survey_model(model, inputs)
        response = output_response(last_parts(survey.call), survey)
        gradient = gradient_response(first_parts(survey.call), survey)
    first = "the outputs but the first" if len(survey.call.outputs) > 1 else ""
    return Audit(
        layers=tuple(_layer_audits(survey)),
        response=response if isinstance(response, Response) else None,
        gradient=gradient if isinstance(gradient, Response) else None,
        not_looked_at=(
            *survey.unknown_upsampling,
            *survey.notes,
            *_unmeasured("the answer to constants", response),
            *_unmeasured("the gradient", gradient),
            *filter(None, [first]),
        ),
    )


def _unmeasured(what: str, measured: Response | Unmeasured) -> list[str]:
    if isinstance(measured, Unmeasured):
        return [f"{what}: {measured.reason}"]
    part = [f"{what}, except {measured.part}"] if measured.part else []
    return part + [f"{what}: {line}" for line in measured.left]


def _layer_audits(survey: Survey) -> list[LayerAudit]:
    audits = []
    for one, period, way in zip(survey.changes, survey.periods, survey.chains, strict=True):
        ripples = [_figure(other) for other in way]
        known = [ripple for ripple in ripples if ripple is not None]
        audits.append(
            LayerAudit(
                layer=name_of(one.call),
                kind=one.kind,
                enlarges=one.enlarges,
                size=one.size,
                ripple=one.ripple,
                period=period,
                compound=compound(known) if len(known) == len(ripples) else None,
                advice=advice(one),
            )
        )
    return audits


def _figure(one: SizeChange) -> float | None:
    if one.ripple is None:
        return None
    return one.ripple.gain if one.enlarges else one.ripple.power


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    # JSON knows no infinity.
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _share(value: float | None) -> str:
    if value is None:
        return "-"
    if np.isnan(value):
        return "NaN"
    return f"{value:.1%}" if np.isfinite(value) else "no mean"


_COLUMNS = ("layer", "kind", "size", "gain", "ramp", "power", "period", "compound")


def _row(one: LayerAudit) -> tuple[str, ...]:
    figures = one.ripple[:3] if one.ripple else (None,) * 3
    shares = [_share(figure) for figure in (*figures, one.compound)]
    return (one.layer, one.kind, by(one.size), *shares[:3], by(one.period), shares[3])


def measured(found: Audit) -> list[str]:
    """Return in words what was measured, a line for the output and one for the gradient."""
    return [
        _in_words("Measured answer to constants", found.response),
        _in_words("Measured gradient of noise", found.gradient),
    ]


def _in_words(what: str, response: Response | None) -> str:
    if response is None:
        return f"{what}: not measured"
    part = f" ({response.part})" if response.part else ""
    if max(response.period) == 1:
        return f"{what}{part}: nothing that could repeat"
    rest = f", {_share(response.rest)} that does not repeat" if response.rest else ""
    period = by(response.period)
    return f"{what}{part}: {_share(response.ripple)} that repeats each {period}{rest}"


# Names before "and 9 more".
_MOST_NAMES = 3

_STEPS = (
    "Where gain is 0 and ramp is not, slopes get steps. They show on smooth content, before "
    "training, and where no convolution comes after; a trained convolution smooths them, and "
    "nearest is then the better start."
)
_TRUST = (
    "Trust what was measured, of the model as it is. Compound is what the kernels alone would add "
    "up to; activations and the layers in between change that, often to far less."
)


def _makes_steps_alone(one: LayerAudit) -> bool:
    if one.ripple is None or not one.enlarges:
        return False
    return is_seen(one.ripple.ramp) and not is_seen(one.ripple.gain)


def _has_two_answers(found: Audit) -> bool:
    """Whether the output, or the gradient, has a measured figure beside a compound one."""
    measured = {True: found.response, False: found.gradient}
    return any(
        measured[one.enlarges] is not None and one.compound is not None and is_seen(one.compound)
        for one in found.layers
    )


def _advices(rows: Sequence[LayerAudit]) -> list[str]:
    """Return every advice once, after the layers that it is for."""
    names: dict[str, dict[str, None]] = {}
    for one in rows:
        if one.advice:
            # A layer that is called twice has two rows.
            names.setdefault(one.advice, {})[one.layer] = None
    return [f"- {_listed(list(layers))}: {text}" for text, layers in names.items()]


def _listed(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMES
    if rest <= 0:
        return ", ".join(names)
    return f"{', '.join(names[:_MOST_NAMES])} and {rest} more ({len(names)} layers)"


def _tables(found: Audit) -> str:
    lines = []
    for enlarges, title in (
        (True, "Layers that enlarge"),
        (False, "Gradients of layers that make maps smaller"),
    ):
        rows = [one for one in found.layers if one.enlarges == enlarges]
        if rows:
            lines += [f"{title}:", "", table(_COLUMNS, [_row(one) for one in rows]), ""]
            lines += _advices(rows)
            lines += [""] if lines[-1] else []
    if not found.layers:
        lines += ["No layer is known that changes the size of maps.", ""]
    if any(_makes_steps_alone(one) for one in found.layers):
        lines += [_STEPS, ""]
    lines += measured(found)
    if _has_two_answers(found):
        lines += [_TRUST]
    if found.not_looked_at:
        lines += ["", "Not looked at:", *(f"- {line}" for line in found.not_looked_at)]
    return "\n".join(lines)
