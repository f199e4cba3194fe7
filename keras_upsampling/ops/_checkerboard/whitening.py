"""Preparation of images for their spectrum: a high-pass, and weights that favour flat regions."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops.inputs import sum_dtype

# Standard deviation of the noise of rounding to 256 levels, in a range of 1. A small fraction of it
# is negligible, so that images which are flat except for rounding errors score 0 dB.
_ROUNDING_NOISE = 1 / (255 * math.sqrt(12))
NEGLIGIBLE = 1e-3 * _ROUNDING_NOISE
# Fraction of the mean variance that regularises the local variance.
_REGULARISATION = 0.03
# Iterations, by rank, that leave less than 1 % of a pattern in the rest of white noise. A signal
# needs more, because its samples influence their own weights more.
_ITERATIONS = {1: 2, 2: 1, 3: 1}
# Larger ratios of two steps are chance.
_MAX_RATIO = 0.9
_TINY = 1e-30


def channel_maps(images: Tensor, data_format: str, data_range: float) -> Tensor:
    """Return every channel as a map of its own, `(maps, *spatial)`, divided by `data_range`."""
    images = ops.cast(images, sum_dtype(images.dtype))
    if data_format == "channels_last":
        images = ops.moveaxis(images, -1, 1)
    return ops.reshape(images, (-1, *images.shape[2:])) / data_range


def _moving_mean(x: Tensor, widths: Sequence[int]) -> Tensor:
    """Return the mean of each `widths` neighbours along every axis, without padding."""
    for axis, width in enumerate(widths, start=1):
        length = x.shape[axis] - width + 1
        leading = (slice(None),) * axis
        shifted = [x[(*leading, slice(start, start + length))] for start in range(width)]
        x = functools.reduce(lambda a, b: a + b, shifted)
    return x / math.prod(widths)


def _extended(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps with one sample less than a period added at both ends of every axis.

    The added samples repeat the outermost period, shifted by the difference of its mean to the
    next period's mean. Patterns and ramps therefore continue unchanged.
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
        start_samples = first[(*leading, slice(1, s))] + fall
        end_samples = last[(*leading, slice(0, s - 1))] + rise
        x = ops.concatenate([start_samples, x, end_samples], axis=axis)
    return x


def high_pass(x: Tensor, size: Sequence[int]) -> Tensor:
    """Remove low frequencies: keep the harmonics unchanged, and remove ramps completely."""
    # Twice, to be steep: the weights would spread a rest of the strong low frequencies.
    for _ in range(2):
        x = x - _moving_mean(_moving_mean(_extended(x, size), size), size)
    return x


def first_samples(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the first `lengths` samples of every axis of maps."""
    return x[(slice(None), *(slice(n) for n in lengths))]


def wrap_padded(r: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps with the margins that `inner_weights` reads, wrapped around from the other end.

    Wrapping lets the smoothing remove the harmonics of the squares exactly. Otherwise the weights
    would have a ripple, which would itself create a pattern.
    """
    for axis, s in enumerate(size, start=1):
        ends = [(slice(None),) * axis + (end,) for end in (slice(-s - 1, None), slice(s + 1))]
        r = ops.concatenate([r[ends[0]], r, r[ends[1]]], axis=axis)
    return r


def inner_weights(wide: Tensor, size: Sequence[int], mean: Tensor) -> Tensor:
    """Return the inverse of the local variance: patterns are visible in flat regions.

    Args:
        wide: Maps with margins at all ends, as from `wrap_padded`.
        size: Period of the pattern.
        mean: Mean square of every complete map, `(maps,)`.

    Returns:
        The weight of every sample inside the margins.
    """
    variance = wide * wide
    for widths in (size, size, [5] * len(size)):
        variance = _moving_mean(variance, widths)
    mean = ops.reshape(mean, (-1, *[1] * len(size)))
    return ops.stop_gradient(1 / (variance + _ROUNDING_NOISE**2 + _REGULARISATION * mean))


def local_weights(r: Tensor, size: Sequence[int]) -> Tensor:
    """Return the weight of every sample of complete maps."""
    # `ops.mean` would sum in single precision.
    mean = ops.sum(r * r, axis=tuple(range(1, len(r.shape)))) / math.prod(r.shape[1:])
    return inner_weights(wrap_padded(r, size), size, mean)


def phase_totals(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return the sum of every phase of maps of whole periods, `(maps, *size)`."""
    split_shape = [n for length, s in zip(x.shape[1:], size, strict=True) for n in (length // s, s)]
    return ops.sum(ops.reshape(x, (-1, *split_shape)), axis=tuple(range(1, 2 * len(size), 2)))


def tiled(tile: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the tile of each map, repeated over axes of these `lengths`."""
    repeats = [-(-n // s) for n, s in zip(lengths, tile.shape[1:], strict=True)]
    return first_samples(ops.tile(tile, (1, *repeats)), lengths)


def converged_pattern(initial: Tensor, mean_of_rest: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the pattern whose subtraction leaves a rest without a pattern.

    In noise, a mean weighted by the map's own weights is too small: the weights are low where noise
    and pattern add up. The weights of the rest do not depend on the pattern.

    Args:
        initial: Weighted mean of every phase, `(maps, *size)`.
        mean_of_rest: Function that returns the same for the maps minus a pattern.
    """
    axes = tuple(range(1, len(initial.shape)))

    def product(a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(a * b, axis=axes, keepdims=True)

    pattern = initial
    for _ in range(_ITERATIONS[len(axes)]):
        step = mean_of_rest(pattern)
        pattern = pattern + step
        next_step = mean_of_rest(pattern)
        # Steps shrink by a nearly constant ratio, so their sum is extrapolated (Aitken).
        ratio = product(step, next_step) / ops.maximum(product(step, step), _TINY)
        pattern = pattern + next_step / (1 - ops.clip(ratio, 0, _MAX_RATIO))
    return pattern


def residual(r: Tensor, reference: Tensor) -> Tensor:
    """Return the inner samples of `r` minus the best prediction from the reference.

    The prediction is a filter of 3 samples per axis, fitted by least squares.
    """
    inner = r[(slice(None), *(slice(1, n - 1) for n in r.shape[1:]))]
    products, targets = normal_equations(inner, reference)
    filters = least_squares_filter(products, targets, math.prod(inner.shape[1:]))
    return subtract_filtered(inner, reference, filters)


def _shifts(inner: Tensor, reference: Tensor) -> Tensor:
    """Return the reference shifted by -1, 0 and 1 along every axis, `(maps, taps, samples)`."""
    lengths = inner.shape[1:]
    shifted = [
        reference[(slice(None), *(slice(k, k + n) for k, n in zip(start, lengths, strict=True)))]
        for start in itertools.product(range(3), repeat=len(lengths))
    ]
    return ops.stack([ops.reshape(x, (-1, math.prod(lengths))) for x in shifted], axis=1)


def normal_equations(inner: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return the products of the shifted reference with itself and with the inner samples."""
    shifts = _shifts(inner, reference)
    flat = ops.reshape(inner, (-1, 1, math.prod(inner.shape[1:])))
    return shifts @ ops.swapaxes(shifts, 1, 2), shifts @ ops.swapaxes(flat, 1, 2)


def least_squares_filter(products: Tensor, targets: Tensor, samples: int) -> Tensor:
    """Return the taps `(maps, taps, 1)` that solve the normal equations over `samples` samples."""
    taps = products.shape[-1]
    identity = ops.eye(taps, dtype=products.dtype)
    # A flat reference must not explain anything.
    regularisation = (
        1e-6 * ops.sum(products * identity, axis=(1, 2)) / taps + samples * NEGLIGIBLE**2
    )
    products = products + ops.reshape(regularisation, (-1, 1, 1)) * identity
    return ops.stop_gradient(ops.solve(products, targets))


def subtract_filtered(inner: Tensor, reference: Tensor, filters: Tensor) -> Tensor:
    """Return the inner samples minus the filtered reference."""
    prediction = ops.swapaxes(filters, 1, 2) @ _shifts(inner, reference)
    return inner - ops.reshape(prediction, inner.shape)
