"""Depth to space in any rank, in one channel order on every backend."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras import ops

from keras_upsampling._types import Tensor


def interleave(
    x: Tensor, size: Sequence[int], groups: int = 1, data_format: str = "channels_last"
) -> Tensor:
    """Move phases from the channels into the spatial axes (depth to space).

    Args:
        x: Tensor `(batch, *spatial, groups * prod(size) * depth)`, or with the channels before the
            spatial axes. Within each group, phases come before depth (DCR order).
        size: How many phases each spatial axis has.
        groups: How many groups the channels are in.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Tensor `(batch, *(spatial * size), groups * depth)`, or with the channels first.
    """
    rank, shape = len(size), ops.shape(x)
    last = data_format == "channels_last"
    spatial, channels = (shape[1:-1], shape[-1]) if last else (shape[2:], shape[1])
    depth = channels // (groups * math.prod(size))
    # LiteRT turns six axes at most: one group needs none of its own.
    of_groups = (groups,) if groups > 1 else ()
    one = len(of_groups)
    lengths = [length * factor for length, factor in zip(spatial, size, strict=True)]
    if last:
        x = ops.reshape(x, (shape[0], *spatial, *of_groups, *size, depth))
        pairs = [axis for i in range(rank) for axis in (1 + i, rank + 1 + one + i)]
        x = ops.transpose(x, (0, *pairs, *range(rank + 1, rank + 1 + one), 2 * rank + 1 + one))
        return ops.reshape(x, (shape[0], *lengths, groups * depth))
    x = ops.reshape(x, (shape[0], *of_groups, *size, depth, *spatial))
    pairs = [axis for i in range(rank) for axis in (rank + 2 + one + i, 1 + one + i)]
    x = ops.transpose(x, (0, *range(1, 1 + one), rank + 1 + one, *pairs))
    return ops.reshape(x, (shape[0], groups * depth, *lengths))
