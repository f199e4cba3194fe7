"""Images made ready for their spectrum: smooth parts taken out, flat parts weighted up."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops.inputs import sum_dtype

# The noise of rounding to 256 levels, as a share of the range; and which part of it counts as
# nothing at all, so that what is flat but for rounding errors scores 0 dB.
_ROUNDING = 1 / (255 * math.sqrt(12))
NOTHING = 1e-3 * _ROUNDING
# How much of the mean variance regularises the local one.
_REGULARISATION = 0.03
# By rank, how many rounds leave less than 1 % of a pattern in the rest of white noise: a sample of
# a signal has more of a share in its own weight. A ratio near 1 is chance, and says nothing.
_ROUNDS = {1: 2, 2: 1, 3: 1}
_MOST_RATIO = 0.9
_TINY = 1e-30


def channel_maps(images: Tensor, data_format: str, data_range: float) -> Tensor:
    """Return every channel as a map of its own, `(maps, *spatial)`, as shares of the range."""
    images = ops.cast(images, sum_dtype(images.dtype))
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
            ops.sum(outer - inner, axis=axis, keepdims=True) / s
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


def cut(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the first so many samples of every axis of maps."""
    return x[(slice(None), *(slice(n) for n in lengths))]


def wrapped(r: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps with as many samples more at every end as the weights there look at.

    Round the corner, so that the smoothing of the squares takes out their harmonics exactly:
    weights with a ripple of their own would make a pattern.
    """
    for axis, s in enumerate(size, start=1):
        ends = [(slice(None),) * axis + (end,) for end in (slice(-s - 1, None), slice(s + 1))]
        r = ops.concatenate([r[ends[0]], r, r[ends[1]]], axis=axis)
    return r


def weights_inside(wide: Tensor, size: Sequence[int], mean: Tensor) -> Tensor:
    """Return the inverse of the variance around every sample: flat regions show a pattern.

    Args:
        wide: Maps with samples more at every end, as `wrapped` has them.
        size: Period of the pattern.
        mean: The mean square of every whole map, `(maps,)`.
    """
    v = wide * wide
    for widths in (size, size, [5] * len(size)):
        v = _mean_of(v, widths)
    mean = ops.reshape(mean, (-1, *[1] * len(size)))
    return ops.stop_gradient(1 / (v + _ROUNDING**2 + _REGULARISATION * mean))


def local_weights(r: Tensor, size: Sequence[int]) -> Tensor:
    """Return the weight of every sample of whole maps."""
    # No `ops.mean`, which sums in single precision.
    mean = ops.sum(r * r, axis=tuple(range(1, len(r.shape)))) / math.prod(r.shape[1:])
    return weights_inside(wrapped(r, size), size, mean)


def phase_totals(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return the sum of every phase of maps of whole periods, `(maps, *size)`."""
    split = [part for n, s in zip(x.shape[1:], size, strict=True) for part in (n // s, s)]
    return ops.sum(ops.reshape(x, (-1, *split)), axis=tuple(range(1, 2 * len(size), 2)))


def repeated(tile: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return a tile for each map over and over again, all over axes of so many samples."""
    repeats = [-(-n // s) for n, s in zip(lengths, tile.shape[1:], strict=True)]
    return cut(ops.tile(tile, (1, *repeats)), lengths)


def settled_pattern(first: Tensor, mean_of_rest: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the pattern that leaves a rest without any.

    A mean of maps, weighted by their own weights, is too small where there is noise: the weights
    are low where noise and pattern add up. Those of the rest know nothing of the pattern.

    Args:
        first: The weighted mean of every phase, `(maps, *size)`.
        mean_of_rest: The same of the maps less the pattern that it is given.
    """
    axes = tuple(range(1, len(first.shape)))

    def product(a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(a * b, axis=axes, keepdims=True)

    pattern = first
    for _ in range(_ROUNDS[len(axes)]):
        step = mean_of_rest(pattern)
        pattern = pattern + step
        further = mean_of_rest(pattern)
        # Steps shrink by the same ratio, nearly: so the sum of all to come is known (Aitken).
        ratio = product(step, further) / ops.maximum(product(step, step), _TINY)
        pattern = pattern + further / (1 - ops.clip(ratio, 0, _MOST_RATIO))
    return pattern


def unexplained(r: Tensor, reference: Tensor) -> Tensor:
    """Return the inner part of `r`, less what the best filter of 3 samples an axis makes of it."""
    inner = r[(slice(None), *(slice(1, n - 1) for n in r.shape[1:]))]
    products, targets = filter_products(inner, reference)
    filters = best_filter(products, targets, math.prod(inner.shape[1:]))
    return without(inner, reference, filters)


def _shifts(inner: Tensor, reference: Tensor) -> Tensor:
    """Return the reference where it is and a sample off either way, `(maps, taps, samples)`."""
    lengths = inner.shape[1:]
    shifted = [
        reference[(slice(None), *(slice(k, k + n) for k, n in zip(start, lengths, strict=True)))]
        for start in itertools.product(range(3), repeat=len(lengths))
    ]
    return ops.stack([ops.reshape(x, (-1, math.prod(lengths))) for x in shifted], axis=1)


def filter_products(inner: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return the products of the shifted reference with itself, and with the inner part."""
    seen = _shifts(inner, reference)
    flat = ops.reshape(inner, (-1, 1, math.prod(inner.shape[1:])))
    return seen @ ops.swapaxes(seen, 1, 2), seen @ ops.swapaxes(flat, 1, 2)


def best_filter(products: Tensor, targets: Tensor, samples: int) -> Tensor:
    """Return the taps `(maps, taps, 1)` of least squares, from products over so many samples."""
    taps = products.shape[-1]
    itself = ops.eye(taps, dtype=products.dtype)
    # A flat reference explains nothing.
    least = 1e-6 * ops.sum(products * itself, axis=(1, 2)) / taps + samples * NOTHING**2
    products = products + ops.reshape(least, (-1, 1, 1)) * itself
    return ops.stop_gradient(ops.solve(products, targets))


def without(inner: Tensor, reference: Tensor, filters: Tensor) -> Tensor:
    """Return the inner part less what a filter makes of the reference."""
    explained = ops.swapaxes(filters, 1, 2) @ _shifts(inner, reference)
    return inner - ops.reshape(explained, inner.shape)
