"""The score of a checkerboard, from the sums over the spectrum."""

from __future__ import annotations

import math
from typing import NamedTuple

from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.harmonics import MeanRatio
from keras_upsampling.ops._checkerboard.chance import LEAST_P, chance_of
from keras_upsampling.ops._checkerboard.powers import Sums, Table
from keras_upsampling.ops._checkerboard.whitening import NOTHING


class CheckerboardScore(NamedTuple):
    """The checkerboard of every image of a batch, each a tensor or an array `(batch,)`.

    Attributes:
        db: Power of the pattern that has one phase all over the image, over what its surroundings
            in the spectrum have, in decibels: about 0 or below without a pattern.
        amplitude: Root mean square of that pattern, in the unit of the image, without what chance
            would give: near 0 if there is no pattern. In white noise it is right on the average,
            within 5 % where nearly all images are `detected`.
        band_db: As `db`, of patterns whose strength or sign changes across the image.
        p_value: How probable as much of either is by chance, between 1e-7 and 0.99. Patterns of an
            amplitude below 0.0005 of the range count as chance, such as JPEG and cameras leave.
        detected: Whether `p_value` is below 0.01, and the weighted mean of the pattern at least
            0.001 of the range: noise makes that smaller than `amplitude`.
    """

    db: Tensor
    amplitude: Tensor
    band_db: Tensor
    p_value: Tensor
    detected: Tensor


# Below this share of the range a pattern is not called one: photographs carry real lines at a
# tenth of it.
LEAST_AMPLITUDE = 1e-3
# And half of that on every bin counts as chance: what JPEG and cameras leave is real, but not what
# is looked for.
_FAINT = LEAST_AMPLITUDE / 2
_MOST_P, DETECTED_P = 0.99, 1e-2


def score_of(sums: Sums, table: Table, channels: int, data_range: float) -> CheckerboardScore:
    """Compare the power of the harmonics of every map with what is around them."""
    samples, harmonics_found = math.prod(table.pieces.used), ops.sum(table.multiplicity)
    nothing = NOTHING**2 * (sums.squares / samples)[:, None]
    # The power on each harmonic, of a pattern of amplitude 1.
    unit = sums.weights**2 / samples / harmonics_found
    pieces = table.pieces.number

    def of_channels(x: Tensor) -> Tensor:
        return ops.sum(ops.reshape(x, (-1, channels)), axis=1) / channels

    def over_surroundings(
        here: Tensor, beside: Tensor, by_chance: MeanRatio
    ) -> tuple[Tensor, Tensor, Tensor]:
        """How many times the power of what is around, how probable by chance, how much more."""
        around = ops.max(beside / pieces * table.applies, axis=-1)

        def mean_ratio(least: Tensor) -> Tensor:
            ratio = table.multiplicity * (here + nothing) / (around + nothing + least)
            return of_channels(ops.sum(ratio, axis=1) / harmonics_found)

        scaled = by_chance.scale * mean_ratio(_FAINT**2 * unit[:, None])
        chance = chance_of(scaled, by_chance.above, by_chance.below)
        return mean_ratio(0.0), chance, ops.sum(table.multiplicity * (here - around), axis=1)

    powers = sums.powers
    line, line_chance, more = over_surroundings(
        # Waves of one phase add up over the pieces.
        (ops.square(powers.real) + ops.square(powers.imaginary)) / pieces,
        powers.beside,
        table.by_chance[0],
    )
    band, band_chance, _ = over_surroundings(
        powers.band / pieces, powers.beside_band, table.by_chance[1]
    )
    square = more / harmonics_found / unit
    # Two chances to find something, so twice the smaller one: by Bonferroni.
    p_value = ops.clip(2 * ops.minimum(line_chance, band_chance), LEAST_P, _MOST_P)
    weighted = _root(of_channels(square))
    return CheckerboardScore(
        db=10 * ops.log10(line),
        amplitude=_root(of_channels(sums.gain**2 * square)) * data_range,
        band_db=10 * ops.log10(band),
        p_value=p_value,
        detected=ops.logical_and(p_value < DETECTED_P, weighted >= LEAST_AMPLITUDE),
    )


def _root(square: Tensor) -> Tensor:
    positive = square > 0
    # The root of zero has no gradient.
    return ops.where(positive, ops.sqrt(ops.where(positive, square, 1)), 0)
