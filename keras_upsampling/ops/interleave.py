"""Depth to space in any rank, with the same channel order on every backend."""

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
        x: Tensor `(batch, *spatial, groups * prod(size) * depth)`, or with the channels first.
            Within each group, phases come before depth (DCR order).
        size: Number of phases of each spatial axis.
        groups: Number of groups of channels.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Tensor `(batch, *(spatial * size), groups * depth)`, or with the channels first.
    """
    rank, shape = len(size), ops.shape(x)
    channels_last = data_format == "channels_last"
    spatial, channels = (shape[1:-1], shape[-1]) if channels_last else (shape[2:], shape[1])
    depth = channels // (groups * math.prod(size))
    # LiteRT transposes six axes at most, so a single group gets no axis.
    group_axis = (groups,) if groups > 1 else ()
    extra = len(group_axis)
    lengths = [length * factor for length, factor in zip(spatial, size, strict=True)]
    if channels_last:
        x = ops.reshape(x, (shape[0], *spatial, *group_axis, *size, depth))
        pairs = [axis for i in range(rank) for axis in (1 + i, rank + 1 + extra + i)]
        x = ops.transpose(x, (0, *pairs, *range(rank + 1, rank + 1 + extra), 2 * rank + 1 + extra))
        return ops.reshape(x, (shape[0], *lengths, groups * depth))
    x = ops.reshape(x, (shape[0], *group_axis, *size, depth, *spatial))
    pairs = [axis for i in range(rank) for axis in (rank + 2 + extra + i, 1 + extra + i)]
    x = ops.transpose(x, (0, *range(1, 1 + extra), rank + 1 + extra, *pairs))
    return ops.reshape(x, (shape[0], groups * depth, *lengths))
