"""The power of maps at the harmonics of a pattern, and around them."""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.harmonics import Harmonics, MeanRatio, Pieces, harmonics
from keras_upsampling.ops._checkerboard.whitening import (
    converged_pattern,
    first_samples,
    high_pass,
    inner_weights,
    local_weights,
    phase_totals,
    residual,
    tiled,
    wrap_padded,
)
from keras_upsampling.ops.tables import not_traced


class Table(NamedTuple):
    """The `Harmonics` of the pieces of a map, as tensors.

    Attributes:
        pieces: How the map is divided.
        bin_indices: For each axis, its bins in the discrete Fourier transform. For the last axis
            also the sign of their imaginary parts.
        bin_shapes: For each axis, `(frequencies, bins)`.
        harmonic_indices: `(harmonics,)`, indices into the frequencies of all axes.
        multiplicity: As in `Harmonics`.
        centre: As in `Harmonics`.
        band: As in `Harmonics`.
        line_surroundings: As in `Harmonics`, transposed.
        band_surroundings: As in `Harmonics`, transposed.
        applies: As in `Harmonics`.
        null_distributions: Distributions of the line ratio and the band ratio without a pattern.
    """

    pieces: Pieces
    bin_indices: tuple[tuple[Tensor, Tensor | None], ...]
    bin_shapes: tuple[tuple[int, int], ...]
    harmonic_indices: Tensor
    multiplicity: Tensor
    centre: int
    band: Tensor
    line_surroundings: Tensor
    band_surroundings: Tensor
    applies: Tensor
    null_distributions: tuple[MeanRatio, MeanRatio]


@not_traced
def harmonics_table(pieces: Pieces, size: tuple[int, ...], period: int | None, dtype: str) -> Table:
    """Return the table of the harmonics of `size`, or only of those whose period is `period`."""
    selected = harmonics(pieces.lengths, size)
    if period is not None:
        selected = selected.of_period(period)

    def constant(x: np.ndarray) -> Tensor:
        return ops.convert_to_tensor(x, dtype=dtype)

    frequencies = [len(bins) for bins in selected.bins]
    return Table(
        pieces=pieces,
        bin_indices=_bin_indices(selected, pieces, dtype),
        bin_shapes=tuple(bins.shape for bins in selected.bins),
        harmonic_indices=ops.convert_to_tensor(
            np.ravel_multi_index(tuple(selected.frequencies.T), frequencies), dtype="int32"
        ),
        multiplicity=constant(selected.multiplicity),
        centre=selected.centre,
        band=constant(selected.band),
        line_surroundings=constant(selected.line_surroundings.T),
        band_surroundings=constant(selected.band_surroundings.T),
        applies=constant(selected.applies),
        null_distributions=selected.null_distributions(pieces.number),
    )


def _bin_indices(
    selected: Harmonics, pieces: Pieces, dtype: str
) -> tuple[tuple[Tensor, Tensor | None], ...]:
    """Return the indices of the bins in the transform of every axis, and their signs.

    The transform of the last axis is real-input and has only half of the bins. The other half are
    conjugates, with the sign -1 on the imaginary part.
    """
    *leading, last = (bins.reshape(-1) for bins in selected.bins)
    n = pieces.lengths[-1]
    mirrored = last > n // 2
    last = np.where(mirrored, n - last, last)
    sign = ops.convert_to_tensor(np.where(mirrored, -1, 1), dtype=dtype)
    return (
        *((ops.convert_to_tensor(bins, dtype="int32"), None) for bins in leading),
        (ops.convert_to_tensor(last, dtype="int32"), sign),
    )


class Powers(NamedTuple):
    """The spectrum of every map at the harmonics and around them, summed over its pieces.

    Attributes:
        real: `(maps, harmonics)`, real part of the transform at the harmonic.
        imaginary: `(maps, harmonics)`, imaginary part.
        line_surroundings: `(maps, harmonics, kinds)`, mean power around the harmonic.
        band: `(maps, harmonics)`, mean power in the band.
        band_surroundings: `(maps, harmonics, kinds)`, mean power around the band.
    """

    real: Tensor
    imaginary: Tensor
    line_surroundings: Tensor
    band: Tensor
    band_surroundings: Tensor


def harmonic_powers(x: Tensor, table: Table, counts: tuple[int, ...]) -> Powers:
    """Return the powers of maps `(maps, *spatial)` that consist of `counts` pieces per axis."""
    real, imaginary = _harmonic_bins(_split_into_pieces(x, counts), table)
    power = ops.square(real) + ops.square(imaginary)

    def sum_over_pieces(x: Tensor) -> Tensor:
        return ops.sum(ops.reshape(x, (-1, math.prod(counts), *x.shape[1:])), axis=1)

    return Powers(
        real=sum_over_pieces(real[..., table.centre]),
        imaginary=sum_over_pieces(imaginary[..., table.centre]),
        line_surroundings=sum_over_pieces(power @ table.line_surroundings),
        band=sum_over_pieces(ops.sum(power * table.band, axis=-1)),
        band_surroundings=sum_over_pieces(power @ table.band_surroundings),
    )


def _split_into_pieces(x: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Return every piece as a map of its own; the pieces of a map follow each other."""
    if math.prod(counts) == 1:
        return x
    rank = len(counts)
    lengths = [n // count for n, count in zip(x.shape[1:], counts, strict=True)]
    x = ops.reshape(x, (-1, *(n for pair in zip(counts, lengths, strict=True) for n in pair)))
    x = ops.transpose(x, (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2)))
    return ops.reshape(x, (-1, *lengths))


def _harmonic_bins(x: Tensor, table: Table) -> tuple[Tensor, Tensor]:
    """Return the unitary transform in the bins around every harmonic, `(maps, harmonics, bins)`."""
    rank = len(table.bin_shapes)
    scale = 1 / math.sqrt(math.prod(x.shape[1:]))
    transform: tuple[Tensor, Tensor] = (x, x)
    for indices, sign in table.bin_indices[::-1]:
        real, imaginary = ops.fft(transform) if sign is None else ops.rfft(x)
        real, imaginary = (ops.take(values, indices, axis=-1) for values in (real, imaginary))
        if sign is not None:
            real, imaginary = scale * real, scale * sign * imaginary
        transform = ops.moveaxis(real, -1, 1), ops.moveaxis(imaginary, -1, 1)
    order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2))
    bins = math.prod([count for _, count in table.bin_shapes])
    frequencies = math.prod([count for count, _ in table.bin_shapes])

    def take_harmonics(values: Tensor) -> Tensor:
        values = ops.reshape(values, (-1, *(count for pair in table.bin_shapes for count in pair)))
        values = ops.reshape(ops.transpose(values, order), (-1, frequencies, bins))
        return ops.take(values, table.harmonic_indices, axis=1)

    real, imaginary = map(take_harmonics, transform)
    return real, imaginary


class Sums(NamedTuple):
    """The sums over the samples of every map from which a score is computed.

    Attributes:
        powers: Powers of the weighted maps.
        weights: `(maps,)`, sum of the weights.
        squares: `(maps,)`, sum of the squared weights.
        gain: `(maps,)`, amplitude of the pattern relative to that of its weighted mean.
    """

    powers: Powers
    weights: Tensor
    squares: Tensor
    gain: Tensor


def phase_sums(wide: Tensor, size: tuple[int, ...], mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return for every phase of maps the weighted sum of its samples and the sum of its weights.

    The arguments are those of `inner_weights`.
    """
    weights = inner_weights(wide, size, mean)
    inner = wide[(slice(None), *(slice(s + 1, -s - 1) for s in size))]
    return phase_totals(weights * inner, size), phase_totals(weights, size)


def pattern_gain(pattern: Tensor, initial: Tensor) -> Tensor:
    """Return the amplitude of patterns `(maps, *size)` relative to that of initial estimates.

    The means over the phases are subtracted first.
    """
    axes = tuple(range(1, len(initial.shape)))

    def square(x: Tensor) -> Tensor:
        mean = ops.sum(x, axis=axes, keepdims=True) / math.prod(x.shape[1:])
        return ops.sum(ops.square(x - mean), axis=axes)

    initial_square = square(initial)
    nonzero = initial_square > 0
    return ops.where(nonzero, ops.sqrt(square(pattern) / ops.where(nonzero, initial_square, 1)), 1)


def _map_sums(r: Tensor, size: tuple[int, ...], table: Table) -> tuple[Sums, Tensor]:
    """Return the sums of maps of whole pieces, and the weighted mean of every phase."""
    weights = local_weights(r, size)
    axes = tuple(range(1, len(r.shape)))

    def mean_of_rest(pattern: Tensor) -> Tensor:
        rest = fixed - tiled(pattern, r.shape[1:])
        mean = ops.sum(rest * rest, axis=axes) / math.prod(r.shape[1:])
        totals, total_weights = phase_sums(wrap_padded(rest, size), size, mean)
        return totals / total_weights

    # The weights are constants for the gradient, and so is the gain, which depends on them.
    fixed = ops.stop_gradient(r)
    initial = phase_totals(weights * fixed, size) / phase_totals(weights, size)
    sums = Sums(
        powers=harmonic_powers(weights * r, table, table.pieces.counts),
        weights=ops.sum(weights, axis=axes),
        squares=ops.sum(weights * weights, axis=axes),
        gain=pattern_gain(converged_pattern(initial, mean_of_rest), initial),
    )
    return sums, initial


def measure_maps(
    x: Tensor,
    reference: Tensor | None,
    size: tuple[int, ...],
    period: int | None = None,
) -> tuple[Sums, Table, Tensor]:
    """Return the sums of maps `(maps, *spatial)`, their table, and the mean of every phase.

    The range of the maps must be 1.
    """
    r = high_pass(x, size)
    if reference is not None:
        r = residual(r, high_pass(reference, size))
    pieces = Pieces.of(tuple(r.shape[1:]), size)
    table = harmonics_table(pieces, size, period, keras.backend.standardize_dtype(r.dtype))
    sums, initial = _map_sums(first_samples(r, pieces.used), size, table)
    return sums, table, initial
