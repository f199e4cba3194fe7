"""Upsampling by sampling at positions that the map itself sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops.inputs import sum_dtype
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.maps import convolve
from keras_upsampling.ops.sample import sample

# Where the phases of an axis are read if no offset moves them, from the pixel they belong to.
STARTS: dict[str, Callable[[int], list[float]]] = {
    "nearest": lambda size: [0.0] * size,
    "linear": lambda size: [(phase + 0.5) / size - 0.5 for phase in range(size)],
}

# In input pixels per unit of the convolution: the paper's static scope, by which neighbouring
# positions begin without crossing.
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
    """Enlarge a batch of maps, reading it where a convolution of it says.

    Args:
        x: Tensor `(batch, height, width, channels)`, or with `data_format="channels_first"`
            `(batch, channels, height, width)`.
        kernel: Of the convolution that gives the offsets, `(1, 1, channels, phases * groups * 2)`
            in this order, where `phases` is `prod(size)` and 2 are row and column.
        bias: Its bias.
        size: Factor for every axis.
        groups: How many groups of channels have offsets of their own.
        start: Where the offsets start from; a name in `STARTS`.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    turned = data_format == "channels_first"
    if turned:
        x = ops.moveaxis(x, 1, -1)
    moves = convolve(ops.conv, x, kernel, bias, padding="same")
    pixels = tuple(
        # Not `ops.repeat`, whose form in ONNX the reference runtime refuses.
        ops.arange(length * factor, dtype="int32") // factor
        for length, factor in zip(ops.shape(x)[1:3], size, strict=True)
    )
    y = sample(x, pixels, _offsets(moves, size, groups, start), data_format="channels_last")
    return ops.moveaxis(y, -1, 1) if turned else y


def _offsets(moves: Tensor, size: Sequence[int], groups: int, start: str) -> Tensor:
    """Return how far from its pixel each output is read, `(batch, rows, columns, groups, 2)`."""
    precise = sum_dtype(moves.dtype)
    batch, height, width, numbers = ops.shape(moves)
    down, right = (STARTS[start](factor) for factor in size)
    starts = ops.convert_to_tensor([[[i, j]] for i in down for j in right], dtype=precise)
    moves = ops.reshape(
        _SCOPE * ops.cast(moves, precise), (batch, height, width, math.prod(size), groups, 2)
    )
    # Turned into the output's order here, where they are fewer numbers than what will be read.
    offsets = interleave(ops.reshape(starts + moves, (batch, height, width, numbers)), size)
    return ops.reshape(offsets, (batch, height * size[0], width * size[1], groups, 2))
