"""Sampling maps between their pixels, and anywhere."""

from __future__ import annotations

import keras
from keras import ops

from keras_upsampling._types import Tensor


def sample(x: Tensor, positions: Tensor, *, data_format: str) -> Tensor:
    """Read maps at any position, by bilinear interpolation; outside, the edge goes on.

    At a position without a fraction, the gradient in it is the one towards the next pixel.

    Args:
        x: Tensor `(batch, height, width, channels)`, or with `data_format="channels_first"`
            `(batch, channels, height, width)`.
        positions: Tensor `(batch, rows, columns, groups, 2)` of floats: at which row and column of
            `x` to read, pixel `i` being at `i`, for each of `groups` contiguous groups of channels.
            In float32 at least: float16 cannot count the pixels of a long axis.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Tensor `(batch, rows, columns, channels)`, or channels first, in the dtype of `x`.
    """
    if data_format == "channels_first":
        turned = sample(ops.moveaxis(x, 1, -1), positions, data_format="channels_last")
        return ops.moveaxis(turned, -1, 1)
    batch, height, width, channels = ops.shape(x)
    _, rows, columns, groups, _ = ops.shape(positions)
    dtype = keras.backend.standardize_dtype(x.dtype)
    # A group of channels of one pixel is a row: the numbers lie in this order already. Half
    # precision would round at every step; as the positions, they are in float32 at least.
    flat = ops.reshape(
        ops.cast(x, positions.dtype), (batch * height * width * groups, channels // groups)
    )
    before = ops.floor(positions)
    # Of the unbounded position: where both neighbours are the edge, any fraction gives the edge,
    # and no gradient in the position.
    down, right = ops.split(positions - before, 2, axis=-1)
    maps = ops.reshape(ops.arange(batch, dtype="int32"), (-1, 1, 1, 1))
    parts = ops.arange(groups, dtype="int32")

    def corner(below: int, beyond: int) -> Tensor:
        row = _index(before[..., 0] + below, height)
        column = _index(before[..., 1] + beyond, width)
        # One gather for each corner; the four side by side in one table were not quicker, and the
        # gradient of that was slower.
        return ops.take(flat, ((maps * height + row) * width + column) * groups + parts, axis=0)

    # In this form, equal corners give just that number.
    upper, lower = (
        left + right * (corner(below, 1) - left)
        for below, left in ((below, corner(below, 0)) for below in (0, 1))
    )
    y = ops.reshape(upper + down * (lower - upper), (batch, rows, columns, channels))
    return ops.cast(y, dtype)


def _index(position: Tensor, length: Tensor) -> Tensor:
    """Return the index of the nearest of `length` pixels, from a position without a fraction."""
    # A NaN is not above zero: it becomes an index too, where TensorFlow and PyTorch would stop.
    # Bounded as a float, for a far position is no int32.
    position = ops.where(position > 0, position, ops.zeros_like(position))
    return ops.cast(ops.minimum(position, ops.cast(length - 1, position.dtype)), "int32")
