"""Depth to space in any rank, in one channel order on every backend."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras import ops

from keras_upsampling._types import Tensor


def interleave(x: Tensor, size: Sequence[int], groups: int = 1) -> Tensor:
    """Move phases from the channels into the spatial axes (depth to space).

    Args:
        x: Tensor `(batch, *spatial, groups * prod(size) * depth)`, channels last. Within each
            group, phases come before depth (DCR order).
        size: How many phases each spatial axis has.
        groups: How many groups the channels are in.

    Returns:
        Tensor `(batch, *(spatial * size), groups * depth)`.
    """
    rank = len(size)
    batch, *spatial, channels = ops.shape(x)
    depth = channels // (groups * math.prod(size))
    x = ops.reshape(x, (batch, *spatial, groups, *size, depth))
    pairs = [axis for i in range(rank) for axis in (1 + i, rank + 2 + i)]
    x = ops.transpose(x, (0, *pairs, rank + 1, 2 * rank + 2))
    lengths = [length * factor for length, factor in zip(spatial, size, strict=True)]
    return ops.reshape(x, (batch, *lengths, groups * depth))
