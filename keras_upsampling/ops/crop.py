"""Keeping the first samples of every spatial axis."""

from __future__ import annotations

from collections.abc import Sequence

from keras_upsampling._arguments import spatial_axes
from keras_upsampling._types import Tensor


def keep_first(x: Tensor, lengths: Sequence[int | Tensor | None], data_format: str) -> Tensor:
    """Return the first `lengths` samples of the spatial axes of `x`.

    None keeps an axis whole, and a number below 0 all but so many samples.
    """
    kept = [slice(None)] * len(x.shape)
    for axis, length in zip(spatial_axes(len(lengths), data_format), lengths, strict=True):
        if length is not None:
            kept[axis] = slice(0, length)
    return x[tuple(kept)]
