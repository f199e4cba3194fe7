"""The spectrum of maps at the harmonics of a pattern, and around them."""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.harmonics import Harmonics, MeanRatio, Pieces, harmonics
from keras_upsampling.ops._checkerboard.whitening import (
    cut,
    high_pass,
    local_weights,
    phase_totals,
    repeated,
    settled_pattern,
    unexplained,
    weights_inside,
    wrapped,
)
from keras_upsampling.ops.tables import not_traced


class Table(NamedTuple):
    """`Harmonics` of the pieces of a map, as tensors."""

    pieces: Pieces
    places: tuple[tuple[Tensor, Tensor | None], ...]
    counts: tuple[tuple[int, int], ...]
    chosen: Tensor
    multiplicity: Tensor
    centre: int
    band: Tensor
    line_surroundings: Tensor
    band_surroundings: Tensor
    applies: Tensor
    by_chance: tuple[MeanRatio, MeanRatio]


@not_traced
def table_of(pieces: Pieces, size: tuple[int, ...], period: int | None, dtype: str) -> Table:
    """Return the harmonics of patterns of period `size`, or only those of least period `period`."""
    known = harmonics(pieces.lengths, size)
    if period is not None:
        known = known.of_period(period)

    def constant(x: np.ndarray) -> Tensor:
        return ops.convert_to_tensor(x, dtype=dtype)

    frequencies = [len(bins) for bins in known.bins]
    return Table(
        pieces=pieces,
        places=_places(known, pieces, dtype),
        counts=tuple(bins.shape for bins in known.bins),
        chosen=ops.convert_to_tensor(
            np.ravel_multi_index(tuple(known.chosen.T), frequencies), dtype="int32"
        ),
        multiplicity=constant(known.multiplicity),
        centre=known.centre,
        band=constant(known.band),
        line_surroundings=constant(known.line_surroundings.T),
        band_surroundings=constant(known.band_surroundings.T),
        applies=constant(known.applies),
        by_chance=known.by_chance(pieces.number),
    )


def _places(
    known: Harmonics, pieces: Pieces, dtype: str
) -> tuple[tuple[Tensor, Tensor | None], ...]:
    """Return where the transform of every axis has its bins, and with which sign.

    That of the last axis is of real numbers, and has one half of its bins alone: the others are
    conjugates.
    """
    *others, last = (bins.reshape(-1) for bins in known.bins)
    n = pieces.lengths[-1]
    mirrored = last > n // 2
    last = np.where(mirrored, n - last, last)
    sign = ops.convert_to_tensor(np.where(mirrored, -1, 1), dtype=dtype)
    return (
        *((ops.convert_to_tensor(bins, dtype="int32"), None) for bins in others),
        (ops.convert_to_tensor(last, dtype="int32"), sign),
    )


class Powers(NamedTuple):
    """What the spectrum of every map has: sums over its pieces.

    Attributes:
        real: `(maps, harmonics)`, the wave on the harmonic itself.
        imaginary: The same, a quarter of a period on.
        beside: `(maps, harmonics, kinds)`, mean power around the harmonic.
        band: `(maps, harmonics)`, mean power in the band.
        beside_band: `(maps, harmonics, kinds)`, mean power around the band.
    """

    real: Tensor
    imaginary: Tensor
    beside: Tensor
    band: Tensor
    beside_band: Tensor


def powers_of(x: Tensor, table: Table, counts: tuple[int, ...]) -> Powers:
    """Return the powers of maps `(maps, *spatial)` of so many pieces along every axis."""
    real, imaginary = _bins_of(_pieces_of(x, counts), table)
    power = ops.square(real) + ops.square(imaginary)

    def of_maps(x: Tensor) -> Tensor:
        return ops.sum(ops.reshape(x, (-1, math.prod(counts), *x.shape[1:])), axis=1)

    return Powers(
        real=of_maps(real[..., table.centre]),
        imaginary=of_maps(imaginary[..., table.centre]),
        beside=of_maps(power @ table.line_surroundings),
        band=of_maps(ops.sum(power * table.band, axis=-1)),
        beside_band=of_maps(power @ table.band_surroundings),
    )


def _pieces_of(x: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Return the pieces of maps as maps of their own, those of one map after those of another."""
    if math.prod(counts) == 1:
        return x
    rank = len(counts)
    lengths = [n // count for n, count in zip(x.shape[1:], counts, strict=True)]
    x = ops.reshape(x, (-1, *(n for pair in zip(counts, lengths, strict=True) for n in pair)))
    x = ops.transpose(x, (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2)))
    return ops.reshape(x, (-1, *lengths))


def _bins_of(x: Tensor, table: Table) -> tuple[Tensor, Tensor]:
    """Return the unitary transform in the bins around every harmonic, `(maps, harmonics, bins)`."""
    rank = len(table.counts)
    share = 1 / math.sqrt(math.prod(x.shape[1:]))
    parts: tuple[Tensor, Tensor] = (x, x)
    for places, sign in table.places[::-1]:
        real, imaginary = ops.fft(parts) if sign is None else ops.rfft(x)
        real, imaginary = (ops.take(part, places, axis=-1) for part in (real, imaginary))
        if sign is not None:
            real, imaginary = share * real, share * sign * imaginary
        parts = ops.moveaxis(real, -1, 1), ops.moveaxis(imaginary, -1, 1)
    order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2))
    bins = math.prod([count for _, count in table.counts])
    frequencies = math.prod([count for count, _ in table.counts])

    def of_harmonics(part: Tensor) -> Tensor:
        part = ops.reshape(part, (-1, *(count for pair in table.counts for count in pair)))
        part = ops.reshape(ops.transpose(part, order), (-1, frequencies, bins))
        return ops.take(part, table.chosen, axis=1)

    real, imaginary = map(of_harmonics, parts)
    return real, imaginary


class Sums(NamedTuple):
    """What a score is made of, for every map: sums over its samples.

    Attributes:
        powers: Of the weighted maps.
        weights: `(maps,)`, of the weights.
        squares: `(maps,)`, of the squares of the weights.
        gain: `(maps,)`, how much larger the pattern is than its weighted mean.
    """

    powers: Powers
    weights: Tensor
    squares: Tensor
    gain: Tensor


def phase_means(wide: Tensor, size: tuple[int, ...], mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of every phase of maps, and that of the weights.

    Arguments are those of `weights_inside`.
    """
    weights = weights_inside(wide, size, mean)
    inner = wide[(slice(None), *(slice(s + 1, -s - 1) for s in size))]
    return phase_totals(weights * inner, size), phase_totals(weights, size)


def gain_of(pattern: Tensor, first: Tensor) -> Tensor:
    """Return how much larger patterns `(maps, *size)` are, but for the means over their phases."""
    axes = tuple(range(1, len(first.shape)))

    def square(x: Tensor) -> Tensor:
        mean = ops.sum(x, axis=axes, keepdims=True) / math.prod(x.shape[1:])
        return ops.sum(ops.square(x - mean), axis=axes)

    before = square(first)
    some = before > 0
    return ops.where(some, ops.sqrt(square(pattern) / ops.where(some, before, 1)), 1)


def _sums_of(r: Tensor, size: tuple[int, ...], table: Table) -> tuple[Sums, Tensor]:
    """Return the sums of maps cut to their pieces, and the weighted mean of every phase."""
    weights = local_weights(r, size)
    axes = tuple(range(1, len(r.shape)))

    def mean_of_rest(pattern: Tensor) -> Tensor:
        rest = held - repeated(pattern, r.shape[1:])
        mean = ops.sum(rest * rest, axis=axes) / math.prod(r.shape[1:])
        totals, of_weights = phase_means(wrapped(rest, size), size, mean)
        return totals / of_weights

    # Weights are held fixed, and so is what they make of a pattern.
    held = ops.stop_gradient(r)
    first = phase_totals(weights * held, size) / phase_totals(weights, size)
    sums = Sums(
        powers=powers_of(weights * r, table, table.pieces.counts),
        weights=ops.sum(weights, axis=axes),
        squares=ops.sum(weights * weights, axis=axes),
        gain=gain_of(settled_pattern(first, mean_of_rest), first),
    )
    return sums, first


def sums_of(
    x: Tensor,
    reference: Tensor | None,
    size: tuple[int, ...],
    period: int | None = None,
) -> tuple[Sums, Table, Tensor]:
    """Measure maps `(maps, *spatial)`, as shares of the range; as `_sums_of`."""
    r = high_pass(x, size)
    if reference is not None:
        r = unexplained(r, high_pass(reference, size))
    pieces = Pieces.of(tuple(r.shape[1:]), size)
    table = table_of(pieces, size, period, keras.backend.standardize_dtype(r.dtype))
    sums, first = _sums_of(cut(r, pieces.used), size, table)
    return sums, table, first
