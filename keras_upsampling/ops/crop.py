"""Crop tensors, with a fast gradient on every backend."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from keras_upsampling._shapes import spatial_axes
from keras_upsampling._types import Tensor
from keras_upsampling.ops.gradient import differentiable_slice


def crop(x: Tensor, slices: Sequence[slice]) -> Tensor:
    """Return `x[slices]`, for slices without steps that lie within the axes.

    On TensorFlow the gradient is a padding, which is much faster than its gradient of indexing.
    """
    if keras.backend.backend() != "tensorflow":
        return x[tuple(slices)]
    starts: list[int | Tensor] = [0] * len(x.shape)
    # -1 keeps all samples. Known lengths are passed, so that the output has them too.
    lengths: list[int | Tensor] = [-1 if length is None else length for length in x.shape]
    for axis, (bounds, length) in enumerate(zip(slices, ops.shape(x), strict=False)):
        if bounds.start is not None:
            starts[axis] = _from_start(bounds.start, length)
        if bounds.stop is not None:
            lengths[axis] = _from_start(bounds.stop, length) - starts[axis]
        elif bounds.start is not None:
            lengths[axis] = length - starts[axis]
    return differentiable_slice(x, starts, lengths)


def _from_start(index: int | Tensor, length: int | Tensor) -> int | Tensor:
    """Return an index counted from the start; an integer below 0 counts from the end."""
    return length + index if isinstance(index, int) and index < 0 else index


def keep_first(x: Tensor, lengths: Sequence[int | Tensor | None], data_format: str) -> Tensor:
    """Return the first `lengths` samples of each spatial axis of `x`.

    None keeps the whole axis. A negative number leaves out that many samples at the end.
    """
    slices = [slice(None)] * len(x.shape)
    for axis, length in zip(spatial_axes(len(lengths), data_format), lengths, strict=True):
        if length is not None:
            slices[axis] = slice(0, length)
    return crop(x, slices)
