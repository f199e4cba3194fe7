"""The score of a checkerboard, computed from the sums over the spectrum."""

from __future__ import annotations

import math
from typing import NamedTuple

from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.harmonics import MeanRatio
from keras_upsampling.ops._checkerboard.chance import MIN_P, f_survival
from keras_upsampling.ops._checkerboard.powers import Sums, Table
from keras_upsampling.ops._checkerboard.whitening import NEGLIGIBLE


class CheckerboardScore(NamedTuple):
    """The checkerboard of every image of a batch. Each field is a tensor or array `(batch,)`.

    Attributes:
        db: Power at the harmonics of the pattern over the power around them, in decibels. It
            measures patterns that are the same across the whole image. About 0 or below without a
            pattern.
        amplitude: Root mean square of that pattern, in the unit of the image. The amplitude
            expected from noise is subtracted: near 0 without a pattern. In white noise it is
            right on average, within 5 % where nearly all images are `detected`.
        band_db: As `db`, for patterns whose strength or sign changes across the image.
        p_value: Probability that noise alone has a `db` or `band_db` as high, between 1e-7 and
            0.99. Patterns with an amplitude below 0.0005 of the range count as noise: JPEG and
            cameras leave such patterns.
        detected: Whether `p_value` is below 0.01 and the weighted mean of the pattern is at least
            0.001 of the range. Noise makes that mean smaller than `amplitude`.
    """

    db: Tensor
    amplitude: Tensor
    band_db: Tensor
    p_value: Tensor
    detected: Tensor


# The smallest amplitude of a detected pattern, as a fraction of the range. Photographs contain real
# spectral lines at a tenth of it.
MIN_AMPLITUDE = 1e-3
# The amplitude that counts as noise on every harmonic: JPEG and cameras leave such patterns.
_FAINT_AMPLITUDE = MIN_AMPLITUDE / 2
_MAX_P, DETECTED_P = 0.99, 1e-2


def score_from_sums(
    sums: Sums, table: Table, channels: int, data_range: float
) -> CheckerboardScore:
    """Compare the power at the harmonics of every map with the power around them."""
    samples, harmonics_count = math.prod(table.pieces.used), ops.sum(table.multiplicity)
    negligible = NEGLIGIBLE**2 * (sums.squares / samples)[:, None]
    # Power of a pattern of amplitude 1 on each harmonic.
    unit = sums.weights**2 / samples / harmonics_count
    pieces = table.pieces.number

    def channel_mean(x: Tensor) -> Tensor:
        return ops.sum(ops.reshape(x, (-1, channels)), axis=1) / channels

    def compare(
        power: Tensor, surroundings: Tensor, null_distribution: MeanRatio
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ratio to the surroundings, its probability by chance, and the excess power."""
        around = ops.max(surroundings / pieces * table.applies, axis=-1)

        def mean_ratio(noise: Tensor) -> Tensor:
            ratio = table.multiplicity * (power + negligible) / (around + negligible + noise)
            return channel_mean(ops.sum(ratio, axis=1) / harmonics_count)

        scaled = null_distribution.scale * mean_ratio(_FAINT_AMPLITUDE**2 * unit[:, None])
        chance = f_survival(
            scaled, null_distribution.numerator_dof, null_distribution.denominator_dof
        )
        return mean_ratio(0.0), chance, ops.sum(table.multiplicity * (power - around), axis=1)

    powers = sums.powers
    line, line_chance, excess = compare(
        # The waves of a uniform pattern add up over the pieces.
        (ops.square(powers.real) + ops.square(powers.imaginary)) / pieces,
        powers.line_surroundings,
        table.null_distributions[0],
    )
    band, band_chance, _ = compare(
        powers.band / pieces, powers.band_surroundings, table.null_distributions[1]
    )
    square = excess / harmonics_count / unit
    # Two tests: the smaller probability counts twice (Bonferroni).
    p_value = ops.clip(2 * ops.minimum(line_chance, band_chance), MIN_P, _MAX_P)
    weighted_amplitude = _root(channel_mean(square))
    return CheckerboardScore(
        db=10 * ops.log10(line),
        amplitude=_root(channel_mean(sums.gain**2 * square)) * data_range,
        band_db=10 * ops.log10(band),
        p_value=p_value,
        detected=ops.logical_and(p_value < DETECTED_P, weighted_amplitude >= MIN_AMPLITUDE),
    )


def _root(square: Tensor) -> Tensor:
    positive = square > 0
    # The root has no finite gradient at zero.
    return ops.where(positive, ops.sqrt(ops.where(positive, square, 1)), 0)
