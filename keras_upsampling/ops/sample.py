"""Sample maps at any position, between their pixels or outside of them."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from keras_upsampling._types import Tensor

# JAX has 64-bit integers only if they are enabled.
_INDEX = "int32" if keras.backend.backend() == "jax" else "int64"
_MOST_PIXELS = np.iinfo("int32").max
# Longer than every axis. float32 represents it exactly, and its sum with a pixel fits into int32.
_FURTHEST = 2.0**30


def sample(
    x: Tensor, pixels: tuple[Tensor, Tensor], offsets: Tensor, *, data_format: str
) -> Tensor:
    """Sample maps at any position by bilinear interpolation; outside, the edge is repeated.

    A position is an integer pixel and an offset from it. A single float would lose more of its
    fraction the longer the axis is.

    At a pixel, the gradient with respect to the position is the slope towards the next pixel.

    Args:
        x: Tensor `(batch, height, width, channels)`, or with `data_format="channels_first"`
            `(batch, channels, height, width)`.
        pixels: Two tensors of integers: a row of `x` for every output row, `(rows,)`, and a
            column of `x` for every output column, `(columns,)`.
        offsets: Tensor `(batch, rows, columns, groups, 2)` of float32 or float64: offset in rows
            and in columns from the pixel, for each of `groups` contiguous groups of channels.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Tensor `(batch, rows, columns, channels)`, or channels first, in the dtype of `x`.

    Raises:
        ValueError: If the maps have more pixels, counted once per group, than the backend can
            index: 2**31 - 1 on TensorFlow and JAX.
    """
    if data_format == "channels_first":
        y = sample(ops.moveaxis(x, 1, -1), pixels, offsets, data_format="channels_last")
        return ops.moveaxis(y, -1, 1)
    batch, height, width, channels = ops.shape(x)
    _, rows, columns, groups, _ = ops.shape(offsets)
    _check_count(x.shape, groups)
    dtype = keras.backend.standardize_dtype(x.dtype)
    # One row per pixel and group of channels. In the dtype of the offsets, because half precision
    # would round at every step.
    flat = ops.reshape(ops.cast(x, offsets.dtype), (-1, channels // groups))
    before = ops.floor(offsets)
    # Fractions of the positions before clipping: outside the map both neighbours are the edge, so
    # the value is the edge and the gradient of the position is zero.
    down, right = ops.split(offsets - before, 2, axis=-1)
    maps = ops.reshape(ops.arange(batch, dtype=_INDEX), (-1, 1, 1, 1))
    group_indices = ops.arange(groups, dtype=_INDEX)
    row_pixels, column_pixels = (
        ops.reshape(ops.cast(pixel, _INDEX), shape)
        for pixel, shape in zip(pixels, ((-1, 1, 1), (-1, 1)), strict=True)
    )

    def corner(row_step: int, column_step: int) -> Tensor:
        row = _clipped_index(row_pixels, before[..., 0] + row_step, height)
        column = _clipped_index(column_pixels, before[..., 1] + column_step, width)
        # One gather per corner: one gather of all four had a slower gradient.
        index = flat_index((maps, row, column, group_indices), (height, width, groups))
        # JAX loses the shape of the indices for an empty table, hence the reshape.
        shape = (batch, rows, columns, groups, channels // groups)
        return ops.reshape(ops.take(flat, index, axis=0), shape)

    # In this form, equal corners are returned without rounding.
    upper, lower = (
        left + right * (corner(row_step, 1) - left)
        for row_step, left in ((row_step, corner(row_step, 0)) for row_step in (0, 1))
    )
    y = ops.reshape(upper + down * (lower - upper), (batch, rows, columns, channels))
    return ops.cast(y, dtype)


def flat_index(
    indices: tuple[Tensor, Tensor, Tensor, Tensor], lengths: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Return the index in a flattened table `(maps, rows, columns, groups)`.

    Args:
        indices: Index of the map, row, column and group.
        lengths: Number of rows, columns and groups.
    """
    tensorflow, flat = keras.backend.backend() == "tensorflow", indices[0]
    for index, length in zip(indices[1:], lengths, strict=True):
        # TensorFlow's unknown lengths are int32. PyTorch's must not be cast: `torch.export` would
        # make them constants.
        flat = flat * (ops.cast(length, _INDEX) if tensorflow else length) + index
    return flat


def _clipped_index(pixel: Tensor, steps: Tensor, length: Tensor) -> Tensor:
    """Return the index `steps` after a pixel, clipped to an axis of `length` samples."""
    # TensorFlow and PyTorch would raise for the index of a NaN. Clipped as a float, because large
    # steps overflow integers.
    steps = ops.where(ops.isnan(steps), ops.zeros_like(steps), steps)
    steps = ops.maximum(ops.minimum(steps, _FURTHEST), -_FURTHEST)
    # Not from `length`: `torch.export` would make a length that is cast to a tensor a constant.
    last = ops.arange(length, dtype=_INDEX)[-1]
    return ops.maximum(ops.minimum(pixel + ops.cast(steps, _INDEX), last), 0)


def _check_count(shape: tuple[int | None, ...], groups: int) -> None:
    known_lengths = [n for n in (*shape[:3], groups) if isinstance(n, int)]
    if keras.backend.backend() != "torch" and math.prod(known_lengths) > _MOST_PIXELS:
        raise ValueError(
            f"An input can have at most {_MOST_PIXELS} pixels on TensorFlow and JAX, over all maps "
            f"of a batch and all groups. Received an input of shape {tuple(shape)} and {groups} "
            "groups. Use smaller batches or tiles, or fewer groups."
        )
