"""What a model makes of a constant, and of noise on its way back: measured, not reckoned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from keras_upsampling._arguments import channel_axis, spatial_axes
from keras_upsampling._types import Tensor
from keras_upsampling.ops.gradient import input_gradient
from keras_upsampling.ops.tables import compiled_on_jax
from keras_upsampling.trace import Call, Part, calls_of, data_format_of, leaves

# How many samples the smallest map in the part has along an axis, by rank: enough for a middle
# that is out of reach of the borders; and how long the longest input may be for that.
_LEAST = {1: 64, 2: 32, 3: 16}
_MOST = {1: 4096, 2: 512, 3: 64}


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


def output_response(parts: Iterator[Part]) -> Response | None:
    """Measure the answer to constants of the first part that takes large maps.

    Returns:
        The response; with period 1 where nothing is enlarged. None if there is no such part.
    """
    return _first(parts, _answer_to_constants)


def gradient_response(parts: Iterator[Part]) -> Response | None:
    """Measure the gradient at the input of the first part that takes large maps."""
    return _first(parts, _gradient_of_noise)


def _first(parts: Iterator[Part], measure: Callable[[Part], Response]) -> Response | None:
    for part in parts:
        try:
            return measure(part)
        # A model may refuse a size by any error; another part may not.
        except Exception:
            continue
    return None


def _answer_to_constants(part: Part) -> Response:
    rng = np.random.default_rng(0)

    def constant(shape: Sequence[int], spatial: Sequence[int]) -> np.ndarray:
        kept = [1 if axis in spatial else length for axis, length in enumerate(shape)]
        return np.broadcast_to(rng.random(kept), shape)

    _, outputs, call, data_format = _large_run(part, constant)
    y = _channels_last(ops.convert_to_numpy(outputs).astype(float), data_format)
    period = _ratio(y.shape[1:-1], _least_lengths(call, data_format))
    y, tile = _phase_means(_middle(y, 1 / 3), period)
    level = _rms(y) or 1.0
    axes = tuple(range(2, 2 * len(period) + 1, 2))
    pattern = tile - tile.mean(axis=axes, keepdims=True)
    return Response(part.place, period, _rms(pattern) / level, _rms(y - tile) / level)


def _gradient_of_noise(part: Part) -> Response:
    rng = np.random.default_rng(0)

    def noise(shape: Sequence[int], _: Sequence[int]) -> np.ndarray:
        return rng.normal(size=shape)

    inputs, outputs, call, data_format = _large_run(part, noise)
    (x,) = tree.flatten(inputs)
    weights = ops.convert_to_tensor(rng.normal(size=outputs.shape), dtype=outputs.dtype)

    def weighted(x: Tensor) -> Tensor:
        outputs = tree.flatten(part.model(x, training=False))[0]
        return ops.sum(ops.cast(outputs * weights, "float32"))

    slope = _channels_last(input_gradient(weighted, x).astype(float), data_format)
    period = _ratio(slope.shape[1:-1], _least_lengths(call, data_format))
    power, _ = _phase_means(_middle(slope, 2 / 3) ** 2, period)
    # Over the images and channels too: they are only more of the noise.
    axes = (0, *range(1, 2 * len(period), 2), power.ndim - 1)
    count = np.prod([power.shape[axis] for axis in axes])
    phases = power.mean(axis=axes)
    chance = power.var(axis=axes).mean() / count
    uneven = np.sqrt(max(0.0, phases.var() - chance)) / (phases.mean() or 1.0)
    return Response(part.place, period, float(uneven), 0.0)


def _large_run(
    part: Part, draw: Callable[[Sequence[int], Sequence[int]], np.ndarray]
) -> tuple[Any, Tensor, Call, str]:
    """Call a part with maps so large that its smallest one still has a middle.

    Returns:
        Inputs, first output, calls and data format.
    """
    rank = len(tree.flatten(part.inputs)[0].shape) - 2
    operations = getattr(part.model, "operations", part.model.layers)
    data_format = data_format_of(operations)

    def once(inputs: Any, training: bool) -> Any:
        return part.model(inputs, training=training)

    # A function of its own, which no one has compiled yet: calls are seen while it is traced.
    call_once = compiled_on_jax(once, ("training",))

    def run(length: int) -> tuple[Any, Tensor, Call]:
        def drawn(x: keras.KerasTensor) -> Tensor:
            spatial = spatial_axes(rank, data_format)
            shape = [length if axis in spatial else n for axis, n in enumerate(x.shape)]
            return ops.convert_to_tensor(draw([4, *shape[1:]], spatial), dtype=x.dtype)

        inputs = tree.map_structure(drawn, part.inputs)
        outputs, call = calls_of(call_once, inputs)
        return inputs, tree.flatten(outputs)[0], call

    inputs, outputs, call = run(_LEAST[rank])
    factor = max(_ratio((_LEAST[rank],) * rank, _least_lengths(call, data_format)))
    if factor > 1:
        most = max(8, _MOST[rank] // factor)
        inputs, outputs, call = run(factor * min(_LEAST[rank], most))
    return inputs, outputs, call, data_format


def _least_lengths(call: Call, data_format: str) -> tuple[int, ...]:
    """Return the length of the smallest map along every axis."""
    rank = len(call.outputs[0]) - 2
    lengths = [
        [shape[axis] for axis in spatial_axes(rank, data_format)]
        for one in leaves(call)
        for shape in (*one.inputs, *one.outputs)
        if len(shape) == rank + 2
    ]
    # A single sample is a mean over the map, as in attention to channels.
    return tuple(min([n for n in axis if n > 1] or [1]) for axis in zip(*lengths, strict=True))


def _ratio(lengths: Sequence[int], least: Sequence[int]) -> tuple[int, ...]:
    # Convolutions without padding take a few samples off.
    return tuple(max(1, round(n / m)) for n, m in zip(lengths, least, strict=True))


def _channels_last(x: np.ndarray, data_format: str) -> np.ndarray:
    return (
        x
        if data_format == "channels_last"
        else np.moveaxis(x, channel_axis(x.ndim - 2, data_format), -1)
    )


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
    return float(np.sqrt(np.mean(x**2)))
