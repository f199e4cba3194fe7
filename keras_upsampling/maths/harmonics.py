"""The frequencies of a pattern that repeats every so many samples, and the bins around them.

A pattern of period `s` along an axis has all its power at the harmonics `a / s`. What else is in
an image fills the bins around those as well, so that they tell what would be there without a
pattern.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# How far from a harmonic its surroundings reach, in cycles per sample, and in shares of the
# distance to the next harmonic: beyond half of that they would be the next one's.
_REACH = 0.12
_REACH_OF_SPACING = 0.45
# The part of that reach which makes the band, and what lies between the band and the surroundings.
_BAND = 7 / 24
_GUARD = 1.5 * _BAND
# The least reach, in bins, by rank: so that there are at least 8 bins to take the mean of. And the
# least number of periods: with fewer, white noise has p-values below 0.01 in over 3 of a hundred.
_LEAST_REACH = {1: 5.5, 2: 2.5, 3: 2.5}
_LEAST_PERIODS = {1: 12, 2: 4, 3: 4}
# A spectrum is taken of so many samples at most: of an axis, and in all.
_LONGEST, MOST_SAMPLES = 2**16, 2**24


def shortest_length(size: int, rank: int) -> int:
    """Return how many samples an axis must have at least, for a pattern of period `size` on it.

    The surroundings of a harmonic must not reach what belongs to the next one. And of fewer
    periods noise would be detected far more often than its chance says: the high-pass leaves
    less of it around a harmonic than there.
    """
    # On an axis without a pattern the surroundings need room all the same.
    return max(_LEAST_PERIODS[rank] * size, 2 * math.floor(_LEAST_REACH[rank]) + 3) + 2 * (size - 1)


class Pieces(NamedTuple):
    """How a map is cut into equal pieces of whole periods; most maps are one piece.

    Attributes:
        counts: How many pieces there are along every axis.
        lengths: How many samples a piece has along every axis.
    """

    counts: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def number(self) -> int:
        """How many there are."""
        return math.prod(self.counts)

    @property
    def used(self) -> tuple[int, ...]:
        """How many samples of every axis are in one of them: the last few may be in none."""
        return tuple(count * n for count, n in zip(self.counts, self.lengths, strict=True))

    @classmethod
    def of(cls, lengths: Sequence[int], size: Sequence[int]) -> Pieces:
        """Return as few as possible, along the longest axes, with whole periods of `size`."""
        counts = [-(-n // _LONGEST) for n in lengths]

        def piece() -> list[int]:
            return [n // (c * s) * s for n, c, s in zip(lengths, counts, size, strict=True)]

        while math.prod(piece()) > MOST_SAMPLES:
            counts[int(np.argmax(piece()))] += 1
        return cls(tuple(counts), tuple(piece()))


class MeanRatio(NamedTuple):
    """How a mean of ratios of powers is distributed, nearly, if chance made them.

    Attributes:
        scale: What to multiply the mean by, to have a value of the F distribution.
        above: Degrees of freedom of that distribution.
        below: The same, of what is divided by.
    """

    scale: float
    above: float
    below: float

    @classmethod
    def of(cls, count: int, above: float, below: float) -> MeanRatio:
        """Return that of the mean of `count` ratios, each with so many degrees of freedom.

        Every ratio has few surroundings of its own in a small image, and is the larger for it
        on the average. This has the mean and the variance of such a mean.
        """
        if count == 1:
            return cls(1.0, above, below)
        whole = count * above
        fitted = 4 + (below - 4) * (whole + 2) / (above + 2)
        return cls(fitted / (fitted - 2) * (below - 2) / below, whole, fitted)


class Harmonics(NamedTuple):
    """What to look at in the spectrum of a map whose axes are whole periods long.

    Attributes:
        bins: For each axis, `(frequencies, bins)`: which bins of its discrete Fourier transform
            are around every frequency, from 0 to its length.
        chosen: `(harmonics, rank)`, which frequency of every axis each harmonic has. Of a pair
            that is conjugate one is left out.
        multiplicity: `(harmonics,)`, 1 for a harmonic that is its own conjugate, else 2.
        denominator: `(harmonics,)`, the least period of each harmonic alone.
        band: `(bins of all axes,)`, weights that sum to one.
        line_surroundings: `(kinds, bins of all axes)`, weights of each kind that sum to one: all
            around, and for every set of axes only the bins in line with the harmonic along them.
        band_surroundings: The same around the band.
        applies: `(harmonics, kinds)`, true for the kinds that a harmonic is compared with: in line
            along axes on which its frequency is zero, since straight edges put a ridge there.
    """

    bins: tuple[np.ndarray, ...]
    chosen: np.ndarray
    multiplicity: np.ndarray
    denominator: np.ndarray
    band: np.ndarray
    line_surroundings: np.ndarray
    band_surroundings: np.ndarray
    applies: np.ndarray

    @property
    def centre(self) -> int:
        """Which of the bins of all axes is the harmonic itself."""
        return len(self.band) // 2

    def by_chance(self, pieces: int) -> tuple[MeanRatio, MeanRatio]:
        """Return what the mean ratio of the line, and of the band, is like without a pattern.

        Every piece of a map has surroundings and a band of its own; the line is that of all.

        Around a harmonic that is its own conjugate, half the bins are conjugates of the others.
        Those of a band are counted half again: the weights of the map make neighbours go
        together.
        """
        count = len(self.multiplicity)
        bins = float(self.multiplicity.sum()) / count  # of one harmonic, on the average
        inside, line, band = (
            float(np.count_nonzero(weights))
            for weights in (self.band, self.line_surroundings[0], self.band_surroundings[0])
        )
        return (
            MeanRatio.of(count, bins, pieces * bins * line),
            MeanRatio.of(count, pieces * bins * inside / 2, pieces * bins * band / 2),
        )

    def of_period(self, period: int) -> Harmonics:
        """Return only those harmonics whose own least period is this."""
        here = self.denominator == period
        return self._replace(
            chosen=self.chosen[here],
            multiplicity=self.multiplicity[here],
            denominator=self.denominator[here],
            applies=self.applies[here],
        )


@functools.lru_cache(maxsize=8)  # the tables of long axes are large
def harmonics(lengths: tuple[int, ...], size: tuple[int, ...]) -> Harmonics:
    """Return the harmonics of patterns of period `size` in maps of so many samples.

    Each of the `lengths` must be a multiple of its `size`.
    """
    rank = len(size)
    reach = [
        max(n * min(_REACH, _REACH_OF_SPACING / max(size)), _LEAST_REACH[rank]) for n in lengths
    ]
    offsets = [np.arange(-math.floor(r), math.floor(r) + 1) for r in reach]
    bins = []
    for i, (n, s, around) in enumerate(zip(lengths, size, offsets, strict=True)):
        # Half of the first axis's frequencies: the others are conjugates.
        count = s // 2 + 1 if i == 0 else s
        bins.append((np.arange(count)[:, None] * (n // s) + around) % n)

    chosen, multiplicity, denominator = [], [], []
    for frequency in itertools.product(*map(range, size)):
        conjugate = tuple(-a % s for a, s in zip(frequency, size, strict=True))
        if not any(frequency) or conjugate < frequency:
            continue
        chosen.append(frequency)
        multiplicity.append(1 if conjugate == frequency else 2)
        periods = [s // math.gcd(a, s) for a, s in zip(frequency, size, strict=True)]
        denominator.append(math.lcm(*periods))

    grid = np.stack([g.ravel() for g in np.meshgrid(*offsets, indexing="ij")])
    distance = _norm(grid, reach)
    # A bin from the harmonic its own power leaks where the map is weighted.
    beside = abs(grid).max(axis=0) <= 1
    around_line = (distance <= 1) & ~beside
    around_band = (distance <= 1) & ~beside & (_norm(grid, [_GUARD * r for r in reach]) > 1)
    band = _norm(grid, [max(1.0, _BAND * r) for r in reach]) <= 1
    lines = [axes for count in range(rank) for axes in itertools.combinations(range(rank), count)]
    in_line = np.stack([(grid[list(axes)] == 0).all(axis=0) for axes in lines])
    zero = np.array(chosen) == 0
    return Harmonics(
        bins=tuple(bins),
        chosen=np.array(chosen),
        multiplicity=np.array(multiplicity),
        denominator=np.array(denominator),
        band=_normed(band),
        line_surroundings=_normed(around_line & in_line),
        band_surroundings=_normed(around_band & in_line),
        applies=np.stack([zero[:, list(axes)].all(axis=1) for axes in lines], axis=1),
    )


def _norm(grid: np.ndarray, reach: Sequence[float]) -> np.ndarray:
    return np.sqrt(((grid / np.array(reach)[:, None]) ** 2).sum(axis=0))


def _normed(mask: np.ndarray) -> np.ndarray:
    return mask / mask.sum(axis=-1, keepdims=True)
