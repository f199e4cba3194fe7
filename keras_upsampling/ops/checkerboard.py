"""How much of an image repeats every `size` samples, beyond what its content explains."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_upsampling._arguments import (
    channel_axis,
    concrete_tensor,
    data_format_or_default,
    positive_int,
    positive_ints,
    positive_number,
    refuse_complex,
    spatial_axes,
    spatial_rank,
)
from keras_upsampling._types import IntPerAxis, Shape, Tensor
from keras_upsampling.maths.harmonics import MeanRatio, shortest_length
from keras_upsampling.ops.chance import LEAST_P, chance_of
from keras_upsampling.ops.powers import Sums, Table, sums_of
from keras_upsampling.ops.whitening import (
    NOTHING,
    channel_maps,
    cut,
    high_pass,
    local_weights,
    repeated,
)


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
            `data_format="channels_first"`, of known shape; one, two or three spatial axes. Those
            in float64 are measured in float64, all others in float32.
        size: Period of the pattern, for every axis or one per axis.
        reference: What the images should be, in the same shape; what a filter of 3 samples an
            axis makes of it is taken out of the images first. None to go without.
        data_range: Difference between the highest and the lowest value that images can have.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        `CheckerboardScore` of tensors `(batch,)`. Ratios of power are averaged over the channels;
        as those may be alike, the p-value is that of one channel, and on the safe side for more.

    Raises:
        TypeError: a factor is not an integer, `data_range` no number, or `images` or `reference`
            is symbolic or complex.
        ValueError: an axis is too short for a pattern of that size (the message says the shortest
            length), `data_range` is not positive, or a `reference` of another shape.

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
    images, size, data_range, data_format = _checked(images, size, data_range, data_format)
    if reference is not None:
        reference = real_tensor(reference, "reference")
        check_shape(images.shape, size, data_format, with_reference=True)
        check_reference(reference.shape, images.shape)
        reference = channel_maps(reference, data_format, data_range)
    sums, table, _ = sums_of(channel_maps(images, data_format, data_range), reference, size)
    channels = images.shape[channel_axis(len(size), data_format)]
    return score_of(sums, table, channels, data_range)


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
    images, size, data_range, data_format = _checked(images, level, data_range, data_format)
    channels = images.shape[channel_axis(len(size), data_format)]
    x = channel_maps(images, data_format, data_range)
    sums, table, first = sums_of(x, None, size, period=level)
    rest = (x - repeated(first, x.shape[1:])) * data_range
    rest = ops.reshape(rest, (-1, channels, *x.shape[1:]))
    rest = ops.moveaxis(rest, 1, -1) if data_format == "channels_last" else rest
    return score_of(sums, table, channels, data_range), rest


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
    images, size, data_range, data_format = _checked(images, size, data_range, data_format)
    r = high_pass(channel_maps(images, data_format, data_range), size)
    r = cut(r, [n // s * s for n, s in zip(r.shape[1:], size, strict=True)])
    return r, local_weights(r, size)


def _checked(
    images: Tensor, size: IntPerAxis, data_range: float, data_format: str | None
) -> tuple[Tensor, tuple[int, ...], float, str]:
    """Return the arguments if patterns of that size can be measured in the images."""
    images = real_tensor(images, "images")
    data_range = positive_number(data_range, "data_range")
    data_format = data_format_or_default(data_format)
    size = check_shape(images.shape, size, data_format, with_reference=False)
    return images, size, data_range, data_format


def check_shape(
    shape: Shape, size: IntPerAxis, data_format: str, with_reference: bool
) -> tuple[int, ...]:
    """Return the size of every axis if patterns of that size can be measured in such images."""
    rank = spatial_rank(shape)
    size = positive_ints(size, rank, "size")
    if max(size) == 1:
        raise ValueError(f"`size` must be 2 or more on some axis. Received: size={size}.")
    for axis, s in zip(spatial_axes(rank, data_format), size, strict=True):
        # The filter of the reference takes a sample from either end.
        shortest = shortest_length(s, rank) + 2 * with_reference
        length = shape[axis]
        if length is None or length < shortest:
            raise ValueError(
                f"A pattern of size {s} needs an axis of {shortest} samples or more"
                f"{' with a reference' if with_reference else ''}, of known length. Received "
                f"images of shape {tuple(shape)}, {data_format.replace('_', ' ')}; measure "
                "larger ones, or name their `data_format`."
            )
    if shape[channel_axis(rank, data_format)] is None:
        raise ValueError(f"The number of channels must be known. Received shape {tuple(shape)}.")
    return size


def check_reference(shape: Shape, images: Shape) -> None:
    """Refuse a reference whose shape cannot be that of the images."""
    shape, images = tuple(shape), tuple(images)
    pairs = zip(shape, images, strict=False)
    if len(shape) != len(images) or any(a != b for a, b in pairs if None not in (a, b)):
        raise ValueError(
            f"`reference` must have the shape of the images, {images}. "
            f"Received one of shape {shape}."
        )


def real_tensor(value: Any, name: str) -> Tensor:
    """Return `value` as a tensor if it is not complex."""
    tensor = concrete_tensor(value, "metrics.Checkerboard")
    refuse_complex(keras.backend.standardize_dtype(tensor.dtype), name)
    return tensor


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
