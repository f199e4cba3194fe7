"""The harmonics of a periodic pattern, and the frequency bins around them.

A pattern of period `s` along an axis has all its power at the harmonics `a / s`. The other content
of an image also fills the bins around the harmonics. The power in those surroundings therefore
estimates the power that a harmonic would have without a pattern.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Radius of the surroundings of a harmonic: in cycles per sample, and as a fraction of the distance
# to the next harmonic. Beyond half of that distance, bins belong to the next harmonic.
_REACH = 0.12
_REACH_OF_SPACING = 0.45
# Radius of the band, and inner radius of the band's surroundings, as fractions of that radius.
_BAND = 7 / 24
_GUARD = 1.5 * _BAND
# Smallest radius in bins, by rank: it leaves at least 8 bins to average. And the smallest number of
# periods: with fewer, over 3 % of white noise images have p-values below 0.01.
_MIN_REACH = {1: 5.5, 2: 2.5, 3: 2.5}
_MIN_PERIODS = {1: 12, 2: 4, 3: 4}
# The largest spectrum that is computed: samples per axis, and in total.
_MAX_LENGTH, MAX_SAMPLES = 2**16, 2**24


def shortest_length(size: int, rank: int) -> int:
    """Return the minimal length of an axis for patterns of period `size`.

    The surroundings of a harmonic must not overlap those of the next one. With fewer periods,
    noise would be detected much more often than its p-value says, because the high-pass removes
    more noise around a harmonic than at the harmonic.
    """
    # An axis without a pattern needs room for the surroundings, too.
    return max(_MIN_PERIODS[rank] * size, 2 * math.floor(_MIN_REACH[rank]) + 3) + 2 * (size - 1)


class Pieces(NamedTuple):
    """The division of a map into equal pieces of whole periods. Most maps are one piece.

    Attributes:
        counts: Number of pieces along every axis.
        lengths: Length of a piece along every axis, in samples.
    """

    counts: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def number(self) -> int:
        """Total number of pieces."""
        return math.prod(self.counts)

    @property
    def used(self) -> tuple[int, ...]:
        """Length that the pieces cover along every axis; a remainder at the end is not used."""
        return tuple(count * n for count, n in zip(self.counts, self.lengths, strict=True))

    @classmethod
    def of(cls, lengths: Sequence[int], size: Sequence[int]) -> Pieces:
        """Return the fewest pieces of whole periods of `size`, dividing the longest axes first."""
        counts = [-(-n // _MAX_LENGTH) for n in lengths]

        def piece() -> list[int]:
            return [n // (c * s) * s for n, c, s in zip(lengths, counts, size, strict=True)]

        while math.prod(piece()) > MAX_SAMPLES:
            counts[int(np.argmax(piece()))] += 1
        return cls(tuple(counts), tuple(piece()))


class MeanRatio(NamedTuple):
    """Approximate distribution of a mean of power ratios, if there is no pattern.

    Attributes:
        scale: Factor by which the mean is multiplied to follow the F distribution.
        numerator_dof: Degrees of freedom of the numerator of that distribution.
        denominator_dof: Degrees of freedom of its denominator.
    """

    scale: float
    numerator_dof: float
    denominator_dof: float

    @classmethod
    def of(cls, count: int, numerator_dof: float, denominator_dof: float) -> MeanRatio:
        """Return the distribution of the mean of `count` ratios that each follow F.

        It has the mean and the variance of such a mean. In a small image a ratio has few bins in
        its denominator, so its expectation is above 1.
        """
        if count == 1:
            return cls(1.0, numerator_dof, denominator_dof)
        total_dof = count * numerator_dof
        fitted = 4 + (denominator_dof - 4) * (total_dof + 2) / (numerator_dof + 2)
        scale = fitted / (fitted - 2) * (denominator_dof - 2) / denominator_dof
        return cls(scale, total_dof, fitted)


class Harmonics(NamedTuple):
    """The harmonics of a pattern and the bins around them, for maps of whole periods.

    Attributes:
        bins: For each axis, an array `(frequencies, bins)`: the bins of its discrete Fourier
            transform around every frequency, from 0 to the length of the axis.
        frequencies: `(harmonics, rank)`, index of the frequency on every axis. Only one harmonic
            of each conjugate pair is listed.
        multiplicity: `(harmonics,)`, 1 for a harmonic that is its own conjugate, else 2.
        denominator: `(harmonics,)`, the shortest period of each harmonic.
        band: `(bins of all axes,)`, weights with sum 1.
        line_surroundings: `(kinds, bins of all axes)`, weights with sum 1 for each kind of
            surroundings. The first kind is all bins around the harmonic. Every other kind belongs
            to a set of axes: only the bins that have the harmonic's frequency on these axes.
        band_surroundings: The same around the band.
        applies: `(harmonics, kinds)`, whether a harmonic is compared with that kind. A set of axes
            applies if the harmonic has frequency zero on them: straight edges put a ridge there.
    """

    bins: tuple[np.ndarray, ...]
    frequencies: np.ndarray
    multiplicity: np.ndarray
    denominator: np.ndarray
    band: np.ndarray
    line_surroundings: np.ndarray
    band_surroundings: np.ndarray
    applies: np.ndarray

    @property
    def centre(self) -> int:
        """Index of the harmonic itself among the bins of all axes."""
        return len(self.band) // 2

    def null_distributions(self, pieces: int) -> tuple[MeanRatio, MeanRatio]:
        """Return the distributions of the line ratio and the band ratio without a pattern.

        Surroundings and band are measured in every piece of a map; the line only in the whole.

        Around a harmonic that is its own conjugate, half of the bins are conjugates of the others.
        The bins of a band count half, because the weights of the map correlate neighbours.
        """
        count = len(self.multiplicity)
        bins = float(self.multiplicity.sum()) / count  # mean per harmonic
        inside, line, band = (
            float(np.count_nonzero(weights))
            for weights in (self.band, self.line_surroundings[0], self.band_surroundings[0])
        )
        return (
            MeanRatio.of(count, bins, pieces * bins * line),
            MeanRatio.of(count, pieces * bins * inside / 2, pieces * bins * band / 2),
        )

    def of_period(self, period: int) -> Harmonics:
        """Return only the harmonics whose shortest period is `period`."""
        selected = self.denominator == period
        return self._replace(
            frequencies=self.frequencies[selected],
            multiplicity=self.multiplicity[selected],
            denominator=self.denominator[selected],
            applies=self.applies[selected],
        )


@functools.lru_cache(maxsize=8)  # tables of long axes are large
def harmonics(lengths: tuple[int, ...], size: tuple[int, ...]) -> Harmonics:
    """Return the harmonics of patterns of period `size` in maps with axes of these `lengths`.

    Each of the `lengths` must be a multiple of its `size`.
    """
    rank = len(size)
    reach = [max(n * min(_REACH, _REACH_OF_SPACING / max(size)), _MIN_REACH[rank]) for n in lengths]
    offsets = [np.arange(-math.floor(r), math.floor(r) + 1) for r in reach]
    bins = []
    for i, (n, s, axis_offsets) in enumerate(zip(lengths, size, offsets, strict=True)):
        # Half of the first axis's frequencies: the others are conjugates.
        count = s // 2 + 1 if i == 0 else s
        bins.append((np.arange(count)[:, None] * (n // s) + axis_offsets) % n)

    frequencies, multiplicity, denominator = [], [], []
    for frequency in itertools.product(*map(range, size)):
        conjugate = tuple(-a % s for a, s in zip(frequency, size, strict=True))
        if not any(frequency) or conjugate < frequency:
            continue
        frequencies.append(frequency)
        multiplicity.append(1 if conjugate == frequency else 2)
        periods = [s // math.gcd(a, s) for a, s in zip(frequency, size, strict=True)]
        denominator.append(math.lcm(*periods))

    grid = np.stack([g.ravel() for g in np.meshgrid(*offsets, indexing="ij")])
    distance = _norm(grid, reach)
    # The weights of the map leak a harmonic's power into the adjacent bins.
    adjacent = abs(grid).max(axis=0) <= 1
    around_line = (distance <= 1) & ~adjacent
    around_band = (distance <= 1) & ~adjacent & (_norm(grid, [_GUARD * r for r in reach]) > 1)
    band = _norm(grid, [max(1.0, _BAND * r) for r in reach]) <= 1
    kinds = [axes for count in range(rank) for axes in itertools.combinations(range(rank), count)]
    in_line = np.stack([(grid[list(axes)] == 0).all(axis=0) for axes in kinds])
    zero = np.array(frequencies) == 0
    return Harmonics(
        bins=tuple(bins),
        frequencies=np.array(frequencies),
        multiplicity=np.array(multiplicity),
        denominator=np.array(denominator),
        band=_normalised(band),
        line_surroundings=_normalised(around_line & in_line),
        band_surroundings=_normalised(around_band & in_line),
        applies=np.stack([zero[:, list(axes)].all(axis=1) for axes in kinds], axis=1),
    )


def _norm(grid: np.ndarray, reach: Sequence[float]) -> np.ndarray:
    return np.sqrt(((grid / np.array(reach)[:, None]) ** 2).sum(axis=0))


def _normalised(mask: np.ndarray) -> np.ndarray:
    return mask / mask.sum(axis=-1, keepdims=True)
