"""Sampling maps between their pixels, and anywhere."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from keras_upsampling._types import Tensor

# JAX has integers of 64 bits only where it is told to.
_INDEX = "int32" if keras.backend.backend() == "jax" else "int64"
_MOST = np.iinfo("int32").max
# Beyond every axis; float32 holds it, and int32 the sum with any pixel.
_FURTHEST = 2.0**30


def sample(
    x: Tensor, pixels: tuple[Tensor, Tensor], offsets: Tensor, *, data_format: str
) -> Tensor:
    """Read maps at any position, by bilinear interpolation; outside, the edge goes on.

    A position is a pixel, an integer, and an offset from it: as one float, it would lose the
    more of its fraction the longer the axis is.

    At a position without a fraction, the gradient in it is the one towards the next pixel.

    Args:
        x: Tensor `(batch, height, width, channels)`, or with `data_format="channels_first"`
            `(batch, channels, height, width)`.
        pixels: Two tensors of integers: for every row of the output a row of `x`, `(rows,)`, and
            for every column of the output a column of `x`, `(columns,)`.
        offsets: Tensor `(batch, rows, columns, groups, 2)` of float32 or float64: how many rows
            and columns further on to read, for each of `groups` contiguous groups of channels.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Tensor `(batch, rows, columns, channels)`, or channels first, in the dtype of `x`.

    Raises:
        ValueError: the maps have more pixels, counted for each group, than the backend's indices
            can count: 2**31 - 1 on TensorFlow and JAX.
    """
    if data_format == "channels_first":
        turned = sample(ops.moveaxis(x, 1, -1), pixels, offsets, data_format="channels_last")
        return ops.moveaxis(turned, -1, 1)
    batch, height, width, channels = ops.shape(x)
    _, rows, columns, groups, _ = ops.shape(offsets)
    _check_count(x.shape, groups)
    dtype = keras.backend.standardize_dtype(x.dtype)
    # A group of channels of one pixel is a row: the numbers lie in this order already. Half
    # precision would round at every step; as the offsets, they are in float32 at least.
    flat = ops.reshape(ops.cast(x, offsets.dtype), (-1, channels // groups))
    before = ops.floor(offsets)
    # Of the unbounded position: where both neighbours are the edge, any fraction gives the edge,
    # and no gradient in the position.
    down, right = ops.split(offsets - before, 2, axis=-1)
    maps = ops.reshape(ops.arange(batch, dtype=_INDEX), (-1, 1, 1, 1))
    parts = ops.arange(groups, dtype=_INDEX)
    of_rows, of_columns = (
        ops.reshape(ops.cast(pixel, _INDEX), shape)
        for pixel, shape in zip(pixels, ((-1, 1, 1), (-1, 1)), strict=True)
    )

    def corner(below: int, beyond: int) -> Tensor:
        row = _index(of_rows, before[..., 0] + below, height)
        column = _index(of_columns, before[..., 1] + beyond, width)
        # One gather for each corner; the four side by side in one table were not quicker, and the
        # gradient of that was slower.
        index = flat_index((maps, row, column, parts), (height, width, groups))
        # From a table of no rows, JAX takes nothing, and forgets the shape of the indices.
        shape = (batch, rows, columns, groups, channels // groups)
        return ops.reshape(ops.take(flat, index, axis=0), shape)

    # In this form, equal corners give just that number.
    upper, lower = (
        left + right * (corner(below, 1) - left)
        for below, left in ((below, corner(below, 0)) for below in (0, 1))
    )
    y = ops.reshape(upper + down * (lower - upper), (batch, rows, columns, channels))
    return ops.cast(y, dtype)


def flat_index(
    indices: tuple[Tensor, Tensor, Tensor, Tensor], lengths: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Return the index in a flat table of maps, rows, columns and groups, of so many each."""
    tensorflow, flat = keras.backend.backend() == "tensorflow", indices[0]
    for index, length in zip(indices[1:], lengths, strict=True):
        # Where it is not known, TensorFlow's length is of int32; PyTorch's must not be cast, which
        # would make it a constant to `torch.export`.
        flat = flat * (ops.cast(length, _INDEX) if tensorflow else length) + index
    return flat


def _index(pixel: Tensor, steps: Tensor, length: Tensor) -> Tensor:
    """Return the index, of `length`, of what is so many whole steps from a pixel, or the end."""
    # A NaN becomes an index too, where TensorFlow and PyTorch would stop. Bounded as a float, for
    # a far step is no integer.
    steps = ops.where(ops.isnan(steps), ops.zeros_like(steps), steps)
    steps = ops.maximum(ops.minimum(steps, _FURTHEST), -_FURTHEST)
    # From the pixels themselves, for a length made a tensor would be a constant to `torch.export`.
    last = ops.arange(length, dtype=_INDEX)[-1]
    return ops.maximum(ops.minimum(pixel + ops.cast(steps, _INDEX), last), 0)


def _check_count(shape: tuple[int | None, ...], groups: int) -> None:
    known = [n for n in (*shape[:3], groups) if isinstance(n, int)]
    if keras.backend.backend() != "torch" and math.prod(known) > _MOST:
        raise ValueError(
            f"An input can have at most {_MOST} pixels on TensorFlow and JAX, counted for all maps "
            f"of a batch and all groups. Received an input of shape {tuple(shape)} and {groups} "
            "groups; take smaller batches or tiles, or fewer groups."
        )
