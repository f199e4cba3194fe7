"""What a model makes of a constant, and of noise on its way back: measured, not reckoned."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from keras_upsampling._arguments import spatial_axes
from keras_upsampling._tables import reason_of
from keras_upsampling._types import Shape, Tensor
from keras_upsampling.flow import lengths_of
from keras_upsampling.ops.gradient import input_gradient
from keras_upsampling.ops.tables import compiled_on_jax
from keras_upsampling.survey import Survey, look
from keras_upsampling.trace import Part, calls_of, data_format_of, leaves

# How many samples the smallest map in the part has along an axis, by rank: enough for a middle
# that is out of reach of the borders; and how long the largest may be for that.
_LEAST = {1: 512, 2: 32, 3: 16}
_MOST = {1: 16384, 2: 512, 3: 64}


class Response(NamedTuple):
    """The pattern that was measured in the middle of a large map. Ratios: 0.1 is 10 %.

    Attributes:
        part: Which part of the model it was, in words; empty for the whole.
        period: Of the pattern, in samples along every axis: the factors together.
        ripple: Of the output for constants: root mean square of what repeats each period, over
            that of the output. Of the gradient for noise: standard deviation of the mean power of
            the phases over its mean, without what chance would give.
        rest: Of the output: as `ripple`, of what does not repeat, such as the traces of borders
            that reach the middle. 0 for the gradient.
    """

    part: str
    period: tuple[int, ...]
    ripple: float
    rest: float


class Unmeasured(NamedTuple):
    """Why nothing was measured.

    Attributes:
        reason: What the last part of the model that was tried said.
    """

    reason: str


def output_response(parts: Iterator[Part]) -> Response | Unmeasured:
    """Measure the answer to constants of the first part that takes large maps."""
    return _first(parts, _answer_to_constants)


def gradient_response(parts: Iterator[Part]) -> Response | Unmeasured:
    """Measure the gradient at the input of the first part that takes large maps."""
    return _first(parts, _gradient_of_noise)


def _first(parts: Iterator[Part], measure: Callable[[Part], Response]) -> Response | Unmeasured:
    reason = "no part of the model takes maps of any size"
    for part in parts:
        try:
            return measure(part)
        except MemoryError:
            raise
        # A model may refuse a size by any error; another part may not.
        except Exception as error:
            reason = f"{part.model.name}, with larger maps: {reason_of(error)}"
    return Unmeasured(reason)


def _answer_to_constants(part: Part) -> Response:
    rng = np.random.default_rng(0)

    def constant(shape: Sequence[int], spatial: Sequence[int]) -> np.ndarray:
        kept = [1 if axis in spatial else length for axis, length in enumerate(shape)]
        return np.broadcast_to(rng.random(kept), shape)

    _, outputs, seen = _large_run(part, constant)
    y = _channels_last(ops.convert_to_numpy(ops.cast(outputs, "float32")), seen.data_format)
    period = _period(seen, enlarges=True)
    y, tile = _phase_means(_middle(y, 1 / 3), period)
    level = _rms(y)
    if level == 0:
        raise ValueError("what it makes of constants is zero everywhere")
    axes = tuple(range(2, 2 * len(period) + 1, 2))
    pattern = tile - tile.mean(axis=axes, keepdims=True)
    return Response(part.place, period, _rms(pattern) / level, _rms(y - tile) / level)


def _gradient_of_noise(part: Part) -> Response:
    rng = np.random.default_rng(0)

    def noise(shape: Sequence[int], _: Sequence[int]) -> np.ndarray:
        return rng.normal(size=shape)

    inputs, outputs, seen = _large_run(part, noise)
    first, *others = tree.flatten(inputs)
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(first.dtype)):
        raise ValueError("its input holds integers, which have no gradient")
    weights = ops.convert_to_tensor(rng.normal(size=outputs.shape), dtype=outputs.dtype)

    def weighted(x: Tensor) -> Tensor:
        with keras.StatelessScope():
            given = tree.pack_sequence_as(inputs, [x, *others])
            outputs = tree.flatten(part.model(given, training=False))[0]
        return ops.sum(ops.cast(outputs * weights, "float32"))

    slope = _channels_last(input_gradient(weighted, first).astype(float), seen.data_format)
    period = _period(seen, enlarges=False)
    power, _ = _phase_means(_middle(slope, 2 / 3) ** 2, period)
    drawn = (0, *range(1, 2 * len(period), 2))
    count = math.prod(power.shape[axis] for axis in drawn)
    phases = power.mean(axis=(*drawn, power.ndim - 1))
    # What the mean of so many samples of noise varies by, of all phases alike.
    chance = power.var(axis=drawn).mean() / count / power.shape[-1] * (1 - 1 / phases.size)
    uneven = np.sqrt(max(0.0, phases.var() - chance)) / (phases.mean() or 1.0)
    return Response(part.place, period, float(uneven), 0.0)


def _large_run(
    part: Part, draw: Callable[[Sequence[int], Sequence[int]], np.ndarray]
) -> tuple[Any, Tensor, Survey]:
    """Call a part with maps so large that its smallest one still has a middle.

    Returns:
        Inputs, first output, and what the calls do to the size of maps.
    """
    rank = len(tree.flatten(part.inputs)[0].shape) - 2
    data_format = data_format_of(part.model.layers)

    def once(inputs: Any, training: bool) -> Any:
        # Counters and seeds stay as they are; on JAX they would keep what only a trace has.
        with keras.StatelessScope():
            return part.model(inputs, training=training)

    def run(length: int) -> tuple[Any, Tensor, Survey]:
        def drawn(x: keras.KerasTensor) -> Tensor:
            if len(x.shape) != rank + 2:
                return ops.zeros([4, *(n or 1 for n in x.shape[1:])], dtype=x.dtype)
            spatial = spatial_axes(rank, data_format)
            shape = [length if axis in spatial else n for axis, n in enumerate(x.shape)]
            values = draw([4, *shape[1:]], spatial)
            # Integers are bytes.
            values = values if keras.backend.is_float_dtype(x.dtype) else 255 * abs(values) % 256
            return ops.convert_to_tensor(values.astype("float32"), dtype=x.dtype)

        inputs = tree.map_structure(drawn, part.inputs)
        # A function of its own, which nothing has compiled: calls are seen while it is traced.
        function = compiled_on_jax(functools.partial(once), ("training",))
        outputs, call = calls_of(function, inputs)
        if any(0 in shape for one in leaves(call) for shape in one.outputs):
            raise ValueError(f"maps of {length} samples are too small for it")
        return inputs, tree.flatten(outputs)[0], look(call)

    # A few samples tell how much they are enlarged, and how much smaller they become; unless that
    # leaves nothing of them.
    few, more = _LEAST[rank] // 2, 4 * _LEAST[rank]
    try:
        inputs, outputs, seen = run(few)
    except MemoryError:
        raise
    except Exception:
        few = more
        inputs, outputs, seen = run(few)
    larger = max(_period(seen, enlarges=True))
    smaller = max(_period(seen, enlarges=False))
    length = smaller * max(8, min(_LEAST[rank], _MOST[rank] // max(larger, smaller)))
    if length != few:
        inputs, outputs, seen = run(length)
    return inputs, outputs, seen


def _period(seen: Survey, *, enlarges: bool) -> tuple[int, ...]:
    """Return the period of what is made of all layers together, or of their gradients."""
    shape = (seen.call.outputs if enlarges else seen.call.inputs)[0]
    rank = len(shape) - 2
    periods = [
        period
        for one, period in zip(seen.found, seen.periods, strict=True)
        if one.enlarges == enlarges and len(period) == rank
    ]
    if seen.unknown or seen.missed:
        # Of layers that are not known, the smallest map tells.
        periods.append(_ratio(shape, seen))
    return tuple(map(max, zip((1,) * rank, *periods, strict=True)))


def _ratio(shape: Shape, seen: Survey) -> tuple[int, ...]:
    """Return how many times as long as the smallest map a map is along every axis."""
    ends = lengths_of(shape, seen.data_format)
    maps = [
        lengths
        for one in leaves(seen.call)
        for lengths in (
            lengths_of(other, seen.data_format) for other in (*one.inputs, *one.outputs)
        )
        if len(lengths) == len(ends)
    ]
    # A single sample is a mean over the map, as in attention to channels.
    least = [min([n for n in axis if n > 1] or [1]) for axis in zip(ends, *maps, strict=True)]
    return tuple(max(1, round(n / m)) for n, m in zip(ends, least, strict=True))


def _channels_last(x: np.ndarray, data_format: str) -> np.ndarray:
    return x if data_format == "channels_last" else np.moveaxis(x, 1, -1)


def _middle(x: np.ndarray, share: float) -> np.ndarray:
    for axis in range(1, x.ndim - 1):
        n = x.shape[axis]
        cut = round(n * (1 - share) / 2)
        x = np.take(x, range(cut, n - cut), axis=axis)
    return x


def _phase_means(x: np.ndarray, period: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return `x`, every spatial axis as periods and phases, and its means over the periods."""
    for axis, s in enumerate(period, start=1):
        x = np.take(x, range(x.shape[axis] // s * s), axis=axis)
    split = [part for n, s in zip(x.shape[1:-1], period, strict=True) for part in (n // s, s)]
    x = x.reshape(len(x), *split, x.shape[-1])
    return x, x.mean(axis=tuple(range(1, 2 * len(period), 2)), keepdims=True)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=float))))
