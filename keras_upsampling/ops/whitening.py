"""Images made ready for their spectrum: smooth parts taken out, flat parts weighted up."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

from keras import ops

from keras_upsampling._types import Tensor

# The noise of rounding to 256 levels, as a share of the range; and which part of it counts as
# nothing at all, so that what is flat but for rounding errors scores 0 dB.
_ROUNDING = 1 / (255 * math.sqrt(12))
NOTHING = 1e-3 * _ROUNDING
# How much of the mean variance regularises the local one.
_REGULARISATION = 0.03


def channel_maps(images: Tensor, data_format: str, data_range: float) -> Tensor:
    """Return every channel as a map of its own, `(maps, *spatial)`, as shares of the range."""
    images = ops.cast(images, "float32")
    if data_format == "channels_last":
        images = ops.moveaxis(images, -1, 1)
    return ops.reshape(images, (-1, *images.shape[2:])) / data_range


def _mean_of(x: Tensor, widths: Sequence[int]) -> Tensor:
    """Return the mean of every so many neighbours along each axis."""
    for axis, width in enumerate(widths, start=1):
        length = x.shape[axis] - width + 1
        leading = (slice(None),) * axis
        parts = [x[(*leading, slice(start, start + length))] for start in range(width)]
        x = functools.reduce(lambda a, b: a + b, parts)
    return x / math.prod(widths)


def _continued(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps with one sample less than a period added at either end of every axis.

    It is the outermost period again, moved on by what the mean rose since the one before, so that
    patterns and ramps go on as they are.
    """
    for axis, s in enumerate(size, start=1):
        length = x.shape[axis]
        leading = (slice(None),) * axis
        first, second, last_but_one, last = (
            x[(*leading, slice(start, start + s))] for start in (0, s, length - 2 * s, length - s)
        )
        fall, rise = (
            ops.mean(outer, axis=axis, keepdims=True) - ops.mean(inner, axis=axis, keepdims=True)
            for outer, inner in ((first, second), (last, last_but_one))
        )
        before = first[(*leading, slice(1, s))] + fall
        after = last[(*leading, slice(0, s - 1))] + rise
        x = ops.concatenate([before, x, after], axis=axis)
    return x


def high_pass(x: Tensor, size: Sequence[int]) -> Tensor:
    """Take out all but the harmonics' surroundings: nothing of them, and ramps entirely."""
    # Twice, to be steep: the weights spread what is left of the strong low frequencies.
    for _ in range(2):
        x = x - _mean_of(_mean_of(_continued(x, size), size), size)
    return x


def whole_periods(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps without what is less than a period at their ends."""
    # A line between two bins would leak into all.
    return x[(slice(None), *(slice(n // s * s) for n, s in zip(x.shape[1:], size, strict=True)))]


def local_weights(r: Tensor, size: Sequence[int]) -> Tensor:
    """Return the inverse of the variance around every sample: flat regions show a pattern."""
    # Round the corner, so that the smoothing takes out the harmonics of the squares exactly:
    # weights with a ripple of their own would make a pattern.
    v = r * r
    for axis, s in enumerate(size, start=1):
        ends = [(slice(None),) * axis + (end,) for end in (slice(-s - 1, None), slice(s + 1))]
        v = ops.concatenate([v[ends[0]], v, v[ends[1]]], axis=axis)
    for widths in (size, size, [5] * len(size)):
        v = _mean_of(v, widths)
    mean = ops.mean(v, axis=tuple(range(1, len(v.shape))), keepdims=True)
    return ops.stop_gradient(1 / (v + _ROUNDING**2 + _REGULARISATION * mean))


def periodic(r: Tensor, size: Sequence[int], lengths: Sequence[int]) -> Tensor:
    """Return what repeats in `r`, the weighted mean of every phase, all over so long an axis."""
    weights = local_weights(r, size)
    split = [part for n, s in zip(r.shape[1:], size, strict=True) for part in (n // s, s)]
    counted = tuple(range(1, 2 * len(size), 2))

    def total(x: Tensor) -> Tensor:
        return ops.sum(ops.reshape(x, (-1, *split)), axis=counted)

    tile = total(weights * r) / total(weights)
    for axis, (n, s) in enumerate(zip(lengths, size, strict=True), start=1):
        repeats = [1] * len(tile.shape)
        repeats[axis] = -(-n // s)
        tile = ops.tile(tile, repeats)[(slice(None),) * axis + (slice(0, n),)]
    return tile


def unexplained(r: Tensor, reference: Tensor) -> Tensor:
    """Return the inner part of `r`, less what the best filter of 3 samples an axis makes of it."""
    inner = [n - 2 for n in r.shape[1:]]
    shifted = [
        reference[(slice(None), *(slice(k, k + n) for k, n in zip(start, inner, strict=True)))]
        for start in itertools.product(range(3), repeat=len(inner))
    ]
    seen = ops.stack([ops.reshape(x, (-1, math.prod(inner))) for x in shifted], axis=1)
    r = r[(slice(None), *(slice(1, n + 1) for n in inner))]
    flat = ops.reshape(r, (-1, 1, math.prod(inner)))
    across = ops.swapaxes(seen, 1, 2)
    products = seen @ across
    taps = products.shape[-1]
    # A flat reference explains nothing.
    least = 1e-6 * ops.sum(seen * seen, axis=(1, 2)) / taps + math.prod(inner) * NOTHING**2
    products = products + ops.reshape(least, (-1, 1, 1)) * ops.eye(taps, dtype=r.dtype)
    filters = ops.stop_gradient(ops.solve(products, seen @ ops.swapaxes(flat, 1, 2)))
    return r - ops.reshape(ops.swapaxes(filters, 1, 2) @ seen, r.shape)
