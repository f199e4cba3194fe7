"""What a model makes of a constant, and of noise on its way back: measured, not reckoned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_upsampling._tables import by, reason_of
from keras_upsampling.auditing.flow import lengths_of
from keras_upsampling.auditing.parts import Part
from keras_upsampling.auditing.runs import (
    answers_to_constants,
    gradients_of_noise,
    in_size,
    middle_lengths,
    subject_of,
)
from keras_upsampling.auditing.sizes import (
    MOST_BYTES,
    Lengths,
    Pattern,
    Subject,
    bytes_for,
    fits,
    larger_sizes,
    patterns,
    repeats,
    unknown_ratio,
)
from keras_upsampling.auditing.survey import Survey
from keras_upsampling.auditing.trace import leaf_calls


class Response(NamedTuple):
    """The pattern that was measured in the middle of a map. Ratios: 0.1 is 10 %.

    Attributes:
        part: Which part of the model it was, in words; empty for the whole.
        period: Of the pattern, in samples along every axis: the factors together.
        ripple: Of the output for constants: root mean square of what repeats each period, over
            that of the output. Of the gradient for noise: standard deviation of the mean power of
            the phases over its mean, without what chance would give.
        rest: Of the output: as `ripple`, of what does not repeat, such as the traces of borders
            that reach the middle. 0 for the gradient.
        layers: The names of the layers of that part whose patterns are in the ripple.
        left: Sentences on those whose patterns are not, and why.
    """

    part: str
    period: tuple[int, ...]
    ripple: float
    rest: float
    layers: tuple[str, ...]
    left: tuple[str, ...]


class Unmeasured(NamedTuple):
    """Why nothing was measured.

    Attributes:
        reason: What the last part of the model that was tried said.
    """

    reason: str


def output_response(parts: Iterator[Part], survey: Survey) -> Response | Unmeasured:
    """Measure the answer to constants of the part that takes large maps and shows most layers.

    Args:
        parts: Of a model, from the longest to the shortest.
        survey: What a call of the whole model has shown.
    """
    return _best(parts, survey, enlarges=True)


def gradient_response(parts: Iterator[Part], survey: Survey) -> Response | Unmeasured:
    """Measure the gradient at the input of such a part."""
    return _best(parts, survey, enlarges=False)


def _best(parts: Iterator[Part], survey: Survey, *, enlarges: bool) -> Response | Unmeasured:
    reason = "no part of the model takes maps"
    best, count = None, 0
    refusals: list[tuple[Subject, str]] = []
    for part in parts:
        try:
            subject = subject_of(part, survey)
            best, refused = _in_larger_maps(subject, enlarges)
        except MemoryError:
            raise
        # A model may refuse a call by any error; another part may not.
        except Exception as error:
            reason = f"{part.model.name}: {reason_of(error)}"
            continue
        if best is not None:
            count = len(best.layers)
            break
        reason = f"{part.model.name}, with larger maps: {refused}"
        refusals.append((subject, refused))
    # What takes no larger maps is worth its own size where that shows more of the layers.
    for subject, refused in refusals:
        shown = len(_shown(subject, middle_lengths(subject, enlarges), enlarges))
        if _makes_maps_of_codes(subject.survey) or shown <= count:
            continue
        try:
            return _measure(subject, subject.own_lengths, enlarges, refused)
        except MemoryError:
            raise
        except Exception as error:
            reason = f"{subject.part.model.name}: {reason_of(error)}"
    return best or Unmeasured(reason)


def _in_larger_maps(subject: Subject, enlarges: bool) -> tuple[Response | None, str]:
    """Return what was measured in the first size that the part takes, or why it takes none."""
    refused = f"they would take more than {_gigabytes(MOST_BYTES)}"
    for lengths in larger_sizes(subject):
        try:
            return _measure(in_size(subject, lengths), lengths, enlarges, refused), ""
        except MemoryError:
            raise
        except Exception as error:
            refused = reason_of(error)
    return None, refused


def _measure(subject: Subject, lengths: Lengths, enlarges: bool, refused: str) -> Response:
    """Measure a part in maps of some lengths.

    Args:
        subject: The part.
        lengths: Of the largest map that it is given.
        enlarges: Whether the answer to constants is measured, or the gradient of noise.
        refused: Why maps are not larger.

    Raises:
        ValueError: it would take too much memory, or there is nothing to measure.
    """
    # The model itself has been called in its own size; the gradient holds more than that.
    if not enlarges and not fits(subject, lengths):
        needed = _gigabytes(bytes_for(subject, lengths))
        raise ValueError(f"with maps of {by(lengths)}, the gradient would take about {needed}")
    middle = (answers_to_constants if enlarges else gradients_of_noise)(subject, lengths)
    shown = _shown(subject, middle.shape[1:-1], enlarges)
    left = [one for one in patterns(subject, enlarges=enlarges) if one not in shown]
    if left and not shown:
        raise ValueError(f"no pattern repeats in the middle of maps of {by(lengths)}")
    unknown = unknown_ratio(subject, enlarges=enlarges)
    known = [one.period for one in shown]
    known += [unknown] if repeats(middle.shape[1:-1], unknown) else []
    period = tuple(map(max, zip((1,) * subject.rank, *known, strict=True)))
    ripple, rest = (_ripple if enlarges else _unevenness)(middle, period)
    return Response(
        part=subject.part.place,
        period=period,
        ripple=ripple,
        rest=rest,
        layers=tuple(one.layer for one in shown),
        left=tuple(_whys(left, lengths, refused)),
    )


def _whys(left: list[Pattern], lengths: Lengths, refused: str) -> Iterator[str]:
    """Yield for each layer why its pattern was not measured."""
    for one in left:
        too_few = (
            f"in maps of {by(lengths)}, what repeats each {by(one.period)} is not seen often "
            f"enough; larger ones: {refused}"
        )
        yield f"{one.layer}: {one.hidden or too_few}"


def _shown(subject: Subject, lengths: Sequence[int], enlarges: bool) -> list[Pattern]:
    """Return the patterns that repeat in a middle of some lengths."""
    found = patterns(subject, enlarges=enlarges)
    return [one for one in found if not one.hidden and repeats(lengths, one.period)]


def _makes_maps_of_codes(survey: Survey) -> bool:
    """Return whether maps come from numbers without axes: then no input makes them constant."""
    return any(
        len(given) < 3 and max(lengths_of(made, "channels_last"), default=1) > 1
        for one in leaf_calls(survey.call)
        for given, made in zip(one.inputs[:1], one.outputs[:1], strict=False)
    )


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.3g} GB"


def _ripple(y: np.ndarray, period: tuple[int, ...]) -> tuple[float, float]:
    """Return the ripple of outputs, and the rest."""
    y, tile = _phase_means(y, period)
    level = _rms(y)
    if level == 0:
        raise ValueError("what it makes of constants is zero everywhere")
    axes = tuple(range(2, 2 * len(period) + 1, 2))
    pattern = tile - tile.mean(axis=axes, keepdims=True)
    return _rms(pattern) / level, _rms(y - tile) / level


def _unevenness(slope: np.ndarray, period: tuple[int, ...]) -> tuple[float, float]:
    """Return the ripple of the power of gradients; there is no rest."""
    power, _ = _phase_means(slope**2, period)
    drawn = (0, *range(1, 2 * len(period), 2))
    count = math.prod(power.shape[axis] for axis in drawn)
    phases = power.mean(axis=(*drawn, power.ndim - 1))
    # What the mean of so many samples of noise varies by, of all phases alike.
    chance = power.var(axis=drawn).mean() / count / power.shape[-1] * (1 - 1 / phases.size)
    return float(np.sqrt(max(0.0, phases.var() - chance)) / (phases.mean() or 1.0)), 0.0


def _phase_means(x: np.ndarray, period: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return `x`, every spatial axis as periods and phases, and its means over the periods."""
    for axis, s in enumerate(period, start=1):
        x = np.take(x, range(x.shape[axis] // s * s), axis=axis)
    split = [part for n, s in zip(x.shape[1:-1], period, strict=True) for part in (n // s, s)]
    x = x.reshape(len(x), *split, x.shape[-1])
    return x, x.mean(axis=tuple(range(1, 2 * len(period), 2)), keepdims=True)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=float))))
