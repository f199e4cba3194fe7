"""Upsampling by sampling a map at positions that are computed from the map."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops.inputs import sum_dtype
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.maps import convolve
from keras_upsampling.ops.sample import sample

# Start positions of the phases of one axis, relative to their input pixel, without offsets.
STARTS: dict[str, Callable[[int], list[float]]] = {
    "nearest": lambda size: [0.0] * size,
    "linear": lambda size: [(phase + 0.5) / size - 0.5 for phase in range(size)],
}

# Input pixels per unit of the convolution's output: the paper's static scope, with which
# neighbouring positions do not cross at the start of training.
_SCOPE = 0.25


def dysample(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    size: Sequence[int],
    groups: int,
    start: str,
    data_format: str,
) -> Tensor:
    """Upsample a batch of maps: sample it at positions that a convolution computes from it.

    Args:
        x: Tensor `(batch, height, width, channels)`, or with `data_format="channels_first"`
            `(batch, channels, height, width)`.
        kernel: Kernel of the convolution that computes the offsets,
            `(1, 1, channels, phases * groups * 2)` in this order, with `phases = prod(size)` and 2
            for row and column.
        bias: Bias of that convolution, `(phases * groups * 2,)`.
        size: Factor for every axis.
        groups: Number of groups of channels that have their own offsets.
        start: Start positions of the phases; a name in `STARTS`.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    channels_first = data_format == "channels_first"
    if channels_first:
        x = ops.moveaxis(x, 1, -1)
    scaled_offsets = convolve(ops.conv, x, kernel, bias, padding="same")
    pixels = tuple(
        # Not `ops.repeat`: ONNX's reference runtime cannot run its export.
        ops.arange(length * factor, dtype="int32") // factor
        for length, factor in zip(ops.shape(x)[1:3], size, strict=True)
    )
    offsets = _offsets(scaled_offsets, size, groups, start)
    y = sample(x, pixels, offsets, data_format="channels_last")
    return ops.moveaxis(y, -1, 1) if channels_first else y


def _offsets(scaled: Tensor, size: Sequence[int], groups: int, start: str) -> Tensor:
    """Return the offset of each output from its pixel, `(batch, rows, columns, groups, 2)`."""
    precise = sum_dtype(scaled.dtype)
    batch, height, width, channels = ops.shape(scaled)
    down, right = (STARTS[start](factor) for factor in size)
    starts = ops.convert_to_tensor([[[i, j]] for i in down for j in right], dtype=precise)
    scaled = ops.reshape(
        _SCOPE * ops.cast(scaled, precise), (batch, height, width, math.prod(size), groups, 2)
    )
    # The offsets are interleaved rather than the sampled map, which has more values.
    offsets = interleave(ops.reshape(starts + scaled, (batch, height, width, channels)), size)
    return ops.reshape(offsets, (batch, height * size[0], width * size[1], groups, 2))
