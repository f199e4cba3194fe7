"""How much of an image repeats every `size` samples, beyond what its content explains."""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_upsampling._arguments import (
    channel_axis,
    concrete_tensor,
    data_format_or_default,
    positive_int,
    positive_ints,
    spatial_axes,
    spatial_rank,
)
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.maths.harmonics import MeanRatio, harmonics, shortest_length
from keras_upsampling.ops.chance import LEAST_P, chance_of
from keras_upsampling.ops.tables import not_traced
from keras_upsampling.ops.whitening import (
    NOTHING,
    channel_maps,
    high_pass,
    local_weights,
    periodic,
    unexplained,
    whole_periods,
)


class CheckerboardScore(NamedTuple):
    """The checkerboard of every image of a batch, each a tensor or an array `(batch,)`.

    Attributes:
        db: Power of the pattern that has one phase all over the image, over what its surroundings
            in the spectrum have, in decibels: about 0 or below without a pattern.
        amplitude: Root mean square of that pattern, in the unit of the image, without what chance
            would give: near 0 if there is no pattern.
        band_db: As `db`, of patterns whose strength or sign changes across the image.
        p_value: How probable as much of either is by chance, between 1e-7 and 0.99. Patterns of an
            amplitude below 0.0005 of the range count as chance, such as JPEG and cameras leave.
        detected: Whether `p_value` is below 0.01 and `amplitude` at least 0.001 of the range.
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


def checkerboard(
    images: Tensor,
    size: IntPerAxis = 2,
    *,
    reference: Tensor | None = None,
    data_range: float = 1.0,
    data_format: str | None = None,
) -> CheckerboardScore:
    """Measure the pattern that upsampling by `size` leaves; tensors in, tensors out.

    It can be compiled, and differentiated (with the weights held fixed). `checkerboard_score`
    is the same for arrays, with checks of the values.

    Args:
        images: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`, of known shape; one, two or three spatial axes.
        size: Period of the pattern, for every axis or one per axis.
        reference: What the images should be, in the same shape; what a filter of 3 samples an
            axis makes of it is taken out of the images first. None to go without.
        data_range: Difference between the highest and the lowest value that images can have.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        `CheckerboardScore` of tensors `(batch,)`. Ratios of power are averaged over the channels;
        as those may be alike, the p-value is that of one channel, and on the safe side for more.

    Raises:
        TypeError: a factor is not an integer, or `images` is symbolic.
        ValueError: an axis is too short for a pattern of that size, or a `reference` of another
            shape; the message says the shortest length.

    Example:
        >>> from keras import ops, random
        >>> from keras_upsampling.ops import checkerboard
        >>> noise = random.normal((1, 32, 32, 1), stddev=0.1, seed=0)
        >>> pattern = ops.reshape(ops.array([0.02, -0.02]), (1, 1, 2, 1))
        >>> striped = noise + ops.tile(pattern, (1, 32, 16, 1))
        >>> clean, dirty = (checkerboard(x, data_format="channels_last") for x in (noise, striped))
        >>> bool(clean.detected[0]), bool(dirty.detected[0])
        (False, True)

    Reference:
        Dobie, Wilson 1996, JASA 100:2236 (a spectral line against its surroundings);
        Sugawara, Shiota, Kiya 2018, arXiv:1806.02658 (what makes an upsampler free of it).
    """
    images, size, data_format = _checked(images, size, data_format, reference is not None)
    x = channel_maps(images, data_format, data_range)
    r = high_pass(x, size)
    if reference is not None:
        reference = concrete_tensor(reference, "metrics.Checkerboard")
        pairs = zip(reference.shape, images.shape, strict=False)
        ranks = len(reference.shape), len(images.shape)
        if ranks[0] != ranks[1] or any(a != b for a, b in pairs if None not in (a, b)):
            raise ValueError(
                f"`reference` must have the shape of the images, {tuple(images.shape)}. "
                f"Received one of shape {tuple(reference.shape)}."
            )
        r = unexplained(r, high_pass(channel_maps(reference, data_format, data_range), size))
    channels = images.shape[channel_axis(len(size), data_format)]
    return _measure(whole_periods(r, size), size, channels, data_range)


def checkerboard_level(
    images: Tensor, level: int, *, data_range: float = 1.0, data_format: str | None = None
) -> tuple[CheckerboardScore, Tensor]:
    """Measure the patterns of period `level` alone, not those of its divisors.

    Arguments, where they are those of `checkerboard`, and errors are the same.

    Returns:
        The score, and the images less all that repeats every `level` samples.

    Example:
        >>> from keras import random
        >>> from keras_upsampling.ops.checkerboard import checkerboard_level
        >>> noise = random.normal((1, 32, 32, 1), seed=0)
        >>> score, rest = checkerboard_level(noise, 4, data_range=8, data_format="channels_last")
        >>> score.db.shape == (1,), rest.shape == noise.shape
        (True, True)
    """
    level = positive_int(level, "level")
    images, size, data_format = _checked(images, level, data_format, with_reference=False)
    channels = images.shape[channel_axis(len(size), data_format)]
    x = channel_maps(images, data_format, data_range)
    r = whole_periods(high_pass(x, size), size)
    score = _measure(r, size, channels, data_range, period=level)
    rest = (x - periodic(r, size, x.shape[1:])) * data_range
    rest = ops.reshape(rest, (-1, channels, *x.shape[1:]))
    return score, ops.moveaxis(rest, 1, -1) if data_format == "channels_last" else rest


def weighted_maps(
    images: Tensor,
    size: IntPerAxis = 2,
    *,
    data_range: float = 1.0,
    data_format: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what the score looks at, to draw it.

    Arguments, where they are those of `checkerboard`, and errors are the same.

    Returns:
        Every channel of every image after the high-pass, `(maps, *spatial)`, as shares of the
        range; and the weight of every sample. Axes are cut to whole periods, at their ends.

    Example:
        >>> from keras import random
        >>> from keras_upsampling.ops.checkerboard import weighted_maps
        >>> noise = random.normal((2, 32, 33, 3), seed=0)
        >>> maps, weights = weighted_maps(noise, 2, data_format="channels_last")
        >>> tuple(maps.shape), tuple(weights.shape)
        ((6, 32, 32), (6, 32, 32))
    """
    images, size, data_format = _checked(images, size, data_format, with_reference=False)
    r = whole_periods(high_pass(channel_maps(images, data_format, data_range), size), size)
    return r, local_weights(r, size)


def _checked(
    images: Tensor, size: IntPerAxis, data_format: str | None, with_reference: bool
) -> tuple[Tensor, tuple[int, ...], str]:
    """Return images, size and format if patterns of that size can be measured in the images."""
    images = concrete_tensor(images, "metrics.Checkerboard")
    data_format = data_format_or_default(data_format)
    rank = spatial_rank(images.shape)
    size = positive_ints(size, rank, "size")
    if max(size) == 1:
        raise ValueError(f"`size` must be 2 or more on some axis. Received: size={size}.")
    for axis, s in zip(spatial_axes(rank, data_format), size, strict=True):
        # The filter of the reference takes a sample from either end.
        shortest = shortest_length(s, rank) + 2 * with_reference
        length = images.shape[axis]
        if length is None or length < shortest:
            raise ValueError(
                f"A pattern of size {s} needs an axis of {shortest} samples or more"
                f"{' with a reference' if with_reference else ''}, of known length. Received "
                f"images of shape {tuple(images.shape)}, {data_format.replace('_', ' ')}; measure "
                "larger ones, or name their `data_format`."
            )
    if images.shape[channel_axis(rank, data_format)] is None:
        raise ValueError(
            f"The number of channels must be known. Received shape {tuple(images.shape)}."
        )
    return images, size, data_format


class _Table(NamedTuple):
    """`Harmonics`, as tensors."""

    transforms: tuple[tuple[Tensor, Tensor], ...]
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
def _table(
    lengths: tuple[int, ...], size: tuple[int, ...], period: int | None, dtype: str
) -> _Table:
    """Return the harmonics of patterns of period `size`, or only those of least period `period`."""
    known = harmonics(lengths, size)
    if period is not None:
        known = known.of_period(period)

    def constant(x: np.ndarray) -> Tensor:
        return ops.convert_to_tensor(x, dtype=dtype)

    rows = [transform.reshape(-1, transform.shape[-1]).T for transform in known.transforms]
    frequencies = [len(transform) for transform in known.transforms]
    return _Table(
        transforms=tuple((constant(row.real), constant(row.imag)) for row in rows),
        counts=tuple((len(transform), transform.shape[1]) for transform in known.transforms),
        chosen=ops.convert_to_tensor(
            np.ravel_multi_index(tuple(known.chosen.T), frequencies), dtype="int32"
        ),
        multiplicity=constant(known.multiplicity),
        centre=known.centre,
        band=constant(known.band),
        line_surroundings=constant(known.line_surroundings.T),
        band_surroundings=constant(known.band_surroundings.T),
        applies=constant(known.applies),
        by_chance=known.by_chance,
    )


def _power(x: Tensor, table: _Table) -> Tensor:
    """Return the power in the bins around every harmonic, `(maps, harmonics, bins)`."""
    rank = len(table.counts)
    real, imaginary = x, None  # the images themselves are real
    for cosine, sine in table.transforms[::-1]:
        turned = real @ cosine, real @ sine
        if imaginary is not None:
            turned = turned[0] - imaginary @ sine, turned[1] + imaginary @ cosine
        real, imaginary = (ops.moveaxis(part, -1, 1) for part in turned)
    power = ops.square(real) + ops.square(imaginary)
    power = ops.reshape(power, (-1, *(count for pair in table.counts for count in pair)))
    order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2))
    bins = math.prod([count for _, count in table.counts])
    frequencies = math.prod([count for count, _ in table.counts])
    power = ops.reshape(ops.transpose(power, order), (-1, frequencies, bins))
    return ops.take(power, table.chosen, axis=1)


def _measure(
    r: Tensor, size: tuple[int, ...], channels: int, data_range: float, period: int | None = None
) -> CheckerboardScore:
    """Compare the power of the harmonics of every map with what is around them."""
    table = _table(tuple(r.shape[1:]), size, period, keras.backend.standardize_dtype(r.dtype))
    weights = local_weights(r, size)
    axes = tuple(range(1, len(r.shape)))
    power = _power(weights * r, table)
    nothing = NOTHING**2 * ops.mean(weights * weights, axis=axes)[:, None]
    samples, harmonics_found = math.prod(r.shape[1:]), ops.sum(table.multiplicity)
    # The power on each harmonic, of a pattern of amplitude 1.
    unit = ops.sum(weights, axis=axes) ** 2 / samples / harmonics_found

    def of_channels(x: Tensor) -> Tensor:
        return ops.mean(ops.reshape(x, (-1, channels)), axis=1)

    def over_surroundings(
        here: Tensor, surroundings: Tensor, by_chance: MeanRatio
    ) -> tuple[Tensor, Tensor, Tensor]:
        """How many times the power of what is around, how probable by chance, how much more."""
        around = ops.max((power @ surroundings) * table.applies, axis=-1)

        def mean_ratio(least: Tensor) -> Tensor:
            ratio = table.multiplicity * (here + nothing) / (around + nothing + least)
            return of_channels(ops.sum(ratio, axis=1) / harmonics_found)

        scaled = by_chance.scale * mean_ratio(_FAINT**2 * unit[:, None])
        chance = chance_of(scaled, by_chance.above, by_chance.below)
        return mean_ratio(0.0), chance, ops.sum(table.multiplicity * (here - around), axis=1)

    line, line_chance, more = over_surroundings(
        power[..., table.centre], table.line_surroundings, table.by_chance[0]
    )
    band, band_chance, _ = over_surroundings(
        ops.sum(power * table.band, axis=-1), table.band_surroundings, table.by_chance[1]
    )
    square = of_channels(more / harmonics_found / unit)
    positive = square > 0
    # The root of zero has no gradient.
    amplitude = ops.where(positive, ops.sqrt(ops.where(positive, square, 1)), 0)
    # Two chances to find something, so twice the smaller one: by Bonferroni.
    p_value = ops.clip(2 * ops.minimum(line_chance, band_chance), LEAST_P, _MOST_P)
    return CheckerboardScore(
        db=10 * ops.log10(line),
        amplitude=amplitude * data_range,
        band_db=10 * ops.log10(band),
        p_value=p_value,
        detected=ops.logical_and(p_value < DETECTED_P, amplitude >= LEAST_AMPLITUDE),
    )
