"""The measured output of a model for constants, and its measured gradient for noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_upsampling._tables import by, reason_of
from keras_upsampling.auditing.flow import lengths_of
from keras_upsampling.auditing.parts import Part
from keras_upsampling.auditing.runs import (
    gradient_of_noise,
    middle_lengths,
    resize_surveyed_part,
    response_to_constants,
    survey_part,
)
from keras_upsampling.auditing.sizes import (
    MAX_BYTES,
    Lengths,
    Pattern,
    SurveyedPart,
    bytes_for,
    fits,
    holds_two_periods,
    larger_sizes,
    patterns,
    unknown_factors,
)
from keras_upsampling.auditing.survey import Survey
from keras_upsampling.auditing.trace import leaf_calls


class Response(NamedTuple):
    """The pattern measured in the middle of a map. Ratios are fractions: 0.1 is 10 %.

    Attributes:
        part: The part of the model that was measured, in words; empty for the whole model.
        period: Period of the pattern in samples, per axis: the product of the layers' factors.
        ripple: For the output: root mean square of what repeats with that period, over the root
            mean square of the output. For the gradient: standard deviation of the phases' mean
            power over its mean, without the variance expected from chance.
        rest: For the output: as `ripple`, for what does not repeat, such as effects of the borders
            that reach the middle. For the gradient: 0.
        layers: Names of the layers in that part whose patterns the ripple contains.
        left: For each other layer, one sentence on why the ripple does not contain its pattern.
    """

    part: str
    period: tuple[int, ...]
    ripple: float
    rest: float
    layers: tuple[str, ...]
    left: tuple[str, ...]


class Unmeasured(NamedTuple):
    """The result if nothing could be measured.

    Attributes:
        reason: Why the last part of the model that was tried could not be measured.
    """

    reason: str


def output_response(parts: Iterator[Part], survey: Survey) -> Response | Unmeasured:
    """Measure the response of a model's output to constants.

    The first part that accepts larger maps is measured, or a part of fixed size if that shows more
    layers.

    Args:
        parts: Parts of a model, the longest one first.
        survey: Survey of a call of the whole model.
    """
    return _measure_best(parts, survey, enlarges=True)


def gradient_response(parts: Iterator[Part], survey: Survey) -> Response | Unmeasured:
    """Measure the gradient at a model's input for noise. Arguments as in `output_response`."""
    return _measure_best(parts, survey, enlarges=False)


def _measure_best(
    parts: Iterator[Part], survey: Survey, *, enlarges: bool
) -> Response | Unmeasured:
    reason = "no part of the model accepts maps"
    best, count = None, 0
    fixed_size: list[tuple[SurveyedPart, str]] = []
    for part in parts:
        try:
            surveyed = survey_part(part, survey)
            best, refusal = _measure_larger(surveyed, enlarges)
        except MemoryError:
            raise
        # A model may raise any error. Another part may still work.
        except Exception as error:
            reason = f"{part.model.name}: {reason_of(error)}"
            continue
        if best is not None:
            count = len(best.layers)
            break
        reason = f"{part.model.name}, with larger maps: {refusal}"
        fixed_size.append((surveyed, refusal))
    # Prefer a part of fixed size, measured in the model's size, if that shows more layers.
    for surveyed, refusal in fixed_size:
        visible_patterns = _visible(surveyed, middle_lengths(surveyed, enlarges), enlarges)
        if _makes_maps_of_codes(surveyed.survey) or len(visible_patterns) <= count:
            continue
        try:
            return _measure(surveyed, surveyed.model_lengths, enlarges, refusal)
        except MemoryError:
            raise
        except Exception as error:
            reason = f"{surveyed.part.model.name}: {reason_of(error)}"
    return best or Unmeasured(reason)


def _measure_larger(surveyed: SurveyedPart, enlarges: bool) -> tuple[Response | None, str]:
    """Return the response in the first larger size that works, or why none works."""
    refusal = f"they would take more than {_gigabytes(MAX_BYTES)}"
    for lengths in larger_sizes(surveyed):
        try:
            resized = resize_surveyed_part(surveyed, lengths)
            return _measure(resized, lengths, enlarges, refusal), ""
        except MemoryError:
            raise
        except Exception as error:
            refusal = reason_of(error)
    return None, refusal


def _measure(surveyed: SurveyedPart, lengths: Lengths, enlarges: bool, refusal: str) -> Response:
    """Measure a part in one size.

    Args:
        surveyed: The part.
        lengths: Lengths of its largest input map.
        enlarges: Whether to measure the response to constants, or the gradient of noise.
        refusal: Why larger maps are not used.

    Raises:
        ValueError: If the gradient would take too much memory, or no pattern can be measured.
    """
    # The model's own call has shown that the output fits. The gradient takes more memory.
    if not enlarges and not fits(surveyed, lengths):
        needed = _gigabytes(bytes_for(surveyed, lengths))
        raise ValueError(f"with maps of {by(lengths)}, the gradient would take about {needed}")
    middle = (response_to_constants if enlarges else gradient_of_noise)(surveyed, lengths)
    shown = _visible(surveyed, middle.shape[1:-1], enlarges)
    hidden = [pattern for pattern in patterns(surveyed, enlarges=enlarges) if pattern not in shown]
    if hidden and not shown:
        raise ValueError(f"no pattern repeats in the middle of maps of {by(lengths)}")
    unknown = unknown_factors(surveyed, enlarges=enlarges)
    layer_periods = [pattern.period for pattern in shown]
    layer_periods += [unknown] if holds_two_periods(middle.shape[1:-1], unknown) else []
    period = tuple(map(max, zip((1,) * surveyed.rank, *layer_periods, strict=True)))
    ripple, rest = (_output_ripple if enlarges else _gradient_ripple)(middle, period)
    return Response(
        part=surveyed.part.place,
        period=period,
        ripple=ripple,
        rest=rest,
        layers=tuple(pattern.layer for pattern in shown),
        left=tuple(_reasons(hidden, lengths, refusal)),
    )


def _reasons(hidden: list[Pattern], lengths: Lengths, refusal: str) -> Iterator[str]:
    """Yield for each layer why its pattern was not measured."""
    for pattern in hidden:
        too_few = (
            f"maps of {by(lengths)} contain too few periods of {by(pattern.period)}; larger maps "
            f"were not measured: {refusal}"
        )
        yield f"{pattern.layer}: {pattern.obstacle or too_few}"


def _visible(surveyed: SurveyedPart, lengths: Sequence[int], enlarges: bool) -> list[Pattern]:
    """Return the patterns that repeat in a middle of those lengths."""
    return [
        pattern
        for pattern in patterns(surveyed, enlarges=enlarges)
        if not pattern.obstacle and holds_two_periods(lengths, pattern.period)
    ]


def _makes_maps_of_codes(survey: Survey) -> bool:
    """Return whether a layer turns vectors into maps: then no input makes them constant."""
    return any(
        len(input_shape) < 3 and max(lengths_of(output_shape, "channels_last"), default=1) > 1
        for call in leaf_calls(survey.call)
        for input_shape, output_shape in zip(call.inputs[:1], call.outputs[:1], strict=False)
    )


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.3g} GB"


def _output_ripple(y: np.ndarray, period: tuple[int, ...]) -> tuple[float, float]:
    """Return the ripple of outputs for constants, and the rest, which does not repeat."""
    y, tile = _phase_means(y, period)
    level = _rms(y)
    if level == 0:
        raise ValueError("its output for constants is zero everywhere")
    axes = tuple(range(2, 2 * len(period) + 1, 2))
    pattern = tile - tile.mean(axis=axes, keepdims=True)
    return _rms(pattern) / level, _rms(y - tile) / level


def _gradient_ripple(gradient: np.ndarray, period: tuple[int, ...]) -> tuple[float, float]:
    """Return the ripple of the power of gradients. The rest is 0."""
    power, _ = _phase_means(gradient**2, period)
    draw_axes = (0, *range(1, 2 * len(period), 2))
    count = math.prod(power.shape[axis] for axis in draw_axes)
    phases = power.mean(axis=(*draw_axes, power.ndim - 1))
    # Variance of the mean expected from noise alone, averaged over the phases.
    chance = power.var(axis=draw_axes).mean() / count / power.shape[-1] * (1 - 1 / phases.size)
    return float(np.sqrt(max(0.0, phases.var() - chance)) / (phases.mean() or 1.0)), 0.0


def _phase_means(x: np.ndarray, period: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return `x` with every spatial axis split into periods and phases, and its phase means."""
    for axis, s in enumerate(period, start=1):
        x = np.take(x, range(x.shape[axis] // s * s), axis=axis)
    split = [length for n, s in zip(x.shape[1:-1], period, strict=True) for length in (n // s, s)]
    x = x.reshape(len(x), *split, x.shape[-1])
    return x, x.mean(axis=tuple(range(1, 2 * len(period), 2)), keepdims=True)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=float))))
