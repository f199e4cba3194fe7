"""Measuring maps of any size: many small ones at once, a large one region by region."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from keras import ops, tree

from keras_upsampling._types import Tensor
from keras_upsampling.maths.harmonics import MAX_SAMPLES, Pieces
from keras_upsampling.metrics import map_regions
from keras_upsampling.metrics.map_regions import (
    ChannelMaps,
    Load,
    Region,
    numpy_array,
    regions,
    tensor,
    windowed,
)
from keras_upsampling.ops._checkerboard.powers import (
    Powers,
    Sums,
    harmonic_powers,
    harmonics_table,
    measure_maps,
    pattern_gain,
    phase_sums,
)
from keras_upsampling.ops._checkerboard.score import CheckerboardScore, score_from_sums
from keras_upsampling.ops._checkerboard.whitening import (
    converged_pattern,
    high_pass,
    inner_weights,
    least_squares_filter,
    normal_equations,
    subtract_filtered,
)
from keras_upsampling.ops.tables import compiled_on_jax


def _measure_small(
    x: Tensor, reference: Tensor | None, size: tuple[int, ...], period: int | None
) -> tuple[Sums, Tensor]:
    sums, _, pattern = measure_maps(x, reference, size, period)
    return sums, pattern


def _score(
    sums: Sums, lengths: tuple[int, ...], size: tuple[int, ...], period: int | None, channels: int
) -> CheckerboardScore:
    table = harmonics_table(Pieces.of(lengths, size), size, period, "float32")
    return score_from_sums(sums, table, channels, 1.0)


def _region_sums(
    wide: Tensor,
    mean: Tensor,
    size: tuple[int, ...],
    lengths: tuple[int, ...],
    counts: tuple[int, ...],
    period: int | None,
) -> tuple[Powers, Tensor, Tensor]:
    """Return powers, weights and squared weights, summed over a region of complete pieces."""
    table = harmonics_table(Pieces.of(lengths, size), size, period, "float32")
    weights = inner_weights(wide, size, mean)
    inner = wide[(slice(None), *(slice(s + 1, -s - 1) for s in size))]
    axes = tuple(range(1, len(size) + 1))
    powers = harmonic_powers(weights * inner, table, counts)
    return powers, ops.sum(weights, axis=axes), ops.sum(weights * weights, axis=axes)


_measure_small = compiled_on_jax(_measure_small, ("size", "period"))
_score = compiled_on_jax(_score, ("lengths", "size", "period", "channels"))
_region_sums = compiled_on_jax(_region_sums, ("size", "lengths", "counts", "period"))
_high_pass = compiled_on_jax(high_pass, ("size",))
_phase_sums = compiled_on_jax(phase_sums, ("size",))
_normal_equations = compiled_on_jax(normal_equations, ())
_subtract_filtered = compiled_on_jax(subtract_filtered, ())


def score_and_pattern(
    maps: ChannelMaps,
    reference: ChannelMaps | None,
    size: tuple[int, ...],
    period: int | None = None,
) -> tuple[CheckerboardScore, np.ndarray]:
    """Return the score of every image, and the weighted mean of every phase of its channels.

    Args:
        maps: The images.
        reference: What the images should be, or None.
        size: Period of the pattern.
        period: None for all harmonics of `size`, or the period of the only harmonics to use.

    Returns:
        The score as arrays `(batch,)`, with its amplitude relative to the range; and the phase
        means, `(batch, channels, *size)`.
    """
    lengths = tuple(n - 2 * (reference is not None) for n in maps.lengths)
    if Pieces.of(lengths, size).number > 1:
        results = [_measure_large(maps, reference, i, size, period) for i in range(len(maps))]
    else:
        maps_at_once = max(1, MAX_SAMPLES // math.prod(lengths))
        edges = np.linspace(0, len(maps), -(-len(maps) // maps_at_once) + 1).astype(int).tolist()
        results = [
            _measure_small(
                tensor(maps.read(start, stop)),
                None if reference is None else tensor(reference.read(start, stop)),
                size=size,
                period=period,
            )
            for start, stop in itertools.pairwise(edges)
        ]
    sums, pattern = tree.map_structure(lambda *x: np.concatenate([*map(numpy_array, x)]), *results)
    sums = tree.map_structure(tensor, sums)
    channels = maps.images.shape[1]
    score = _score(sums, lengths=lengths, size=size, period=period, channels=channels)
    pattern = pattern.reshape(-1, channels, *size)
    return CheckerboardScore(*map(numpy_array, score)), pattern


def _measure_large(
    maps: ChannelMaps,
    reference: ChannelMaps | None,
    index: int,
    size: tuple[int, ...],
    period: int | None,
) -> tuple[Sums, np.ndarray]:
    """Return the result of `_measure_small` for one map, with sums in double precision.

    Only the high-passed map is held in memory completely: every step reads all of it.
    """

    def load(source: ChannelMaps) -> Load:
        return lambda region: source.read(index, index + 1, region)[0]

    r = _high_passed(load(maps), maps.lengths, size)
    if reference is not None:
        r = _residual(r, _high_passed(load(reference), maps.lengths, size))
    lengths = r.shape
    pieces = Pieces.of(lengths, size)
    r = r[tuple(map(slice, pieces.used))]
    all_regions = [*regions(r.shape, size, map_regions.REGION_SAMPLES)]
    split_shape = [-1 if k % 2 == 0 else size[k // 2] for k in range(2 * len(size))]
    # From these phase sums follows the mean square of the map minus any pattern.
    mean_square, phase_totals = 0.0, np.zeros(size)
    for region in all_regions:
        samples = r[region].astype(float)
        mean_square += np.square(samples).sum() / r.size
        shape = [n for length, s in zip(samples.shape, size, strict=True) for n in (length // s, s)]
        totals = samples.reshape(shape).sum(axis=tuple(range(0, len(split_shape), 2)))
        phase_totals += totals / r.size

    def weighted_mean(pattern: np.ndarray) -> np.ndarray:
        mean = mean_square - 2 * (pattern * phase_totals).sum() + np.square(pattern).mean()
        weighted, weights = np.zeros(size), np.zeros(size)
        for region in all_regions:
            wide = _with_margins(r, region, size, pattern)
            sums = _phase_sums(tensor(wide), size=size, mean=tensor([mean]))
            weighted += numpy_array(sums[0])[0]
            weights += numpy_array(sums[1])[0]
        return weighted / weights

    initial = weighted_mean(np.zeros(size))
    converged = converged_pattern(
        tensor(initial[None]),
        lambda pattern: tensor(weighted_mean(numpy_array(pattern)[0].astype(float))[None]),
    )
    gain = numpy_array(pattern_gain(converged, tensor(initial[None])))
    region_sums = (
        _region_sums(
            tensor(_with_margins(r, region, size, np.zeros(size))),
            tensor([mean_square]),
            size=size,
            lengths=lengths,
            counts=tuple(
                (extent.stop - extent.start) // n
                for extent, n in zip(region, pieces.lengths, strict=True)
            ),
            period=period,
        )
        for region in regions(r.shape, pieces.lengths, MAX_SAMPLES)
    )
    powers, weights, squared_weights = functools.reduce(
        lambda total, sums: tree.map_structure(np.add, total, sums),
        (tree.map_structure(lambda x: numpy_array(x).astype(float), sums) for sums in region_sums),
    )
    sums = Sums(powers, weights, squared_weights, gain)
    return sums, initial[None]


def _high_passed(load: Load, lengths: Sequence[int], size: tuple[int, ...]) -> np.ndarray:
    """Return a map after the high-pass."""
    result = np.empty(lengths, "float32")
    # Two passes, each with a radius of `s - 1`.
    margins = [max(2 * (s - 1), 1) for s in size]
    for region, values in windowed(
        lambda window: _high_pass(tensor(load(window)[None]), size=size), lengths, margins
    ):
        result[region] = values
    return result


def _residual(r: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the inner samples minus their prediction from the reference; modifies `r`."""
    inner = r[(slice(1, -1),) * r.ndim]
    samples_at_once = map_regions.REGION_SAMPLES // 3**r.ndim
    all_regions = [*regions(inner.shape, (1,) * r.ndim, samples_at_once)]

    def arguments(region: Region) -> tuple[Tensor, Tensor]:
        wide = tuple(slice(extent.start, extent.stop + 2) for extent in region)
        return tensor(inner[region][None]), tensor(reference[wide][None])

    products, targets = np.zeros(()), np.zeros(())
    for region in all_regions:
        sums = [numpy_array(x).astype(float) for x in _normal_equations(*arguments(region))]
        products, targets = products + sums[0], targets + sums[1]
    filters = least_squares_filter(tensor(products), tensor(targets), inner.size)
    for region in all_regions:
        inner[region] = numpy_array(_subtract_filtered(*arguments(region), filters))[0]
    return inner


def _with_margins(
    r: np.ndarray, region: Region, size: tuple[int, ...], pattern: np.ndarray
) -> np.ndarray:
    """Return a region minus a pattern, with the margins of `wrap_padded`."""
    starts = [extent.start - s - 1 for extent, s in zip(region, size, strict=True)]
    stops = [extent.stop + s + 1 for extent, s in zip(region, size, strict=True)]
    if min(starts) >= 0 and all(stop <= n for stop, n in zip(stops, r.shape, strict=True)):
        wide = r[tuple(map(slice, starts, stops))]
    else:
        wide = r[
            np.ix_(*(np.arange(a, b) % n for a, b, n in zip(starts, stops, r.shape, strict=True)))
        ]
    if not pattern.any():
        return wide[None]
    tile = np.roll(pattern, [-start for start in starts], range(pattern.ndim)).astype("float32")
    repeats = [-(-n // s) for n, s in zip(wide.shape, size, strict=True)]
    return (wide - np.tile(tile, repeats)[tuple(map(slice, wide.shape))])[None]
