"""How bad the checkerboard of images is: `checkerboard_score` and `detect_stride`, for arrays."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_upsampling._arguments import data_format_or_default, spatial_axes, spatial_rank
from keras_upsampling._types import IntPerAxis
from keras_upsampling.maths.harmonics import shortest_length
from keras_upsampling.ops.checkerboard import (
    DETECTED_P,
    CheckerboardScore,
    checkerboard,
    checkerboard_level,
)
from keras_upsampling.ops.tables import compiled_on_jax

_checkerboard = compiled_on_jax(checkerboard, ("size", "data_range", "data_format"))
_level = compiled_on_jax(checkerboard_level, ("level", "data_range", "data_format"))


def checkerboard_score(
    images: Any,
    size: IntPerAxis = 2,
    *,
    reference: Any = None,
    data_range: float = 1.0,
    data_format: str | None = None,
) -> CheckerboardScore:
    """Say how strong a pattern every image has that repeats each `size` samples.

    That is the trace of an upsampling by `size`. A regular pattern that belongs to the picture,
    woven cloth for one, looks the same: only a `reference` tells them apart. JPEG compression
    hides weak patterns, and leaves weak ones of its own, of size 8 and what divides it.

    Args:
        images: Array `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. One picture alone needs
            a batch axis too, `image[None]`: three axes are a batch of signals. In two dimensions
            axes must have 10 samples or more for size 2, 22 for size 4; in one 26 and 54. Cut
            signals of more than some thousand samples into pieces: memory grows with the square
            of the length.
        size: Period of the pattern, for every axis or one per axis: the factor of the last
            upsampling, or the product of the last few.
        reference: The images without a pattern, in the same shape, such as what an autoencoder
            was given: what a small filter makes of them is taken out first. None to go without.
        data_range: Difference between the highest and the lowest value that images can have:
            255 for bytes.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        `CheckerboardScore` of NumPy arrays `(batch,)`: `db` (about 0 or below without a pattern),
        `amplitude` in the unit of the images, `band_db`, `p_value`, `detected`.

    Raises:
        TypeError: a factor is not an integer.
        ValueError: an axis is too short (the message says the shortest), the values span much
            more than `data_range`, an image has a NaN or an infinity, or the reference another
            shape.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import checkerboard_score
        >>> images = np.random.default_rng(0).normal(0.5, 0.01, (1, 64, 64, 1))
        >>> images[:, ::2] += 0.01  # stripes: every second row is lighter
        >>> score = checkerboard_score(images, 2, data_format="channels_last")
        >>> bool(score.detected[0]), f"{score.amplitude[0]:.3f}"
        (True, '0.005')

    Reference:
        Dobie, Wilson 1996, JASA 100:2236 (a spectral line against its surroundings);
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill.
    """
    images = _checked(images, "images", data_range)
    if reference is not None:
        reference = _checked(reference, "reference", data_range)
    return _arrays(
        _checkerboard(
            images,
            size=_hashable(size),
            reference=reference,
            data_range=data_range,
            data_format=data_format_or_default(data_format),
        )
    )


def mean_db(db: Any) -> float:
    """Return the mean of ratios in decibels, of the ratios themselves, as the metric takes it."""
    return float(10 * np.log10(np.mean(10 ** (np.asarray(db, dtype=float) / 10))))


class Stride(NamedTuple):
    """What `detect_stride` finds.

    Attributes:
        stride: Array `(batch,)`, the period of each image's pattern; 1 without a pattern. Of
            several patterns, the least common multiple of their periods: 6 for 2 and 3.
        levels: The score of every period alone, without the patterns of its divisors: 2 is the
            last upsampling by 2, 4 the one before it. A period is found where its score is
            `detected` with a p-value below 0.01 divided by the number of periods looked for.
    """

    stride: np.ndarray
    levels: dict[int, CheckerboardScore]


# The longest period that is looked for: three upsamplings by 2.
_MOST_LEVEL = 8


def detect_stride(
    images: Any, *, data_range: float = 1.0, data_format: str | None = None
) -> Stride:
    """Find the period of the pattern that every image has.

    Patterns of 2 to 8 samples are looked for, one period after the other.

    Args:
        images: As in `checkerboard_score`. Periods too long for the images are not looked for.
        data_range: As in `checkerboard_score`.
        data_format: As in `checkerboard_score`.

    Returns:
        `Stride`: the period of every image, and the scores that it was found by.

    Raises:
        ValueError: as in `checkerboard_score`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import detect_stride
        >>> images = np.random.default_rng(1).normal(0.5, 0.02, (2, 48, 48, 1))
        >>> images[1, ::3] += 0.02
        >>> detect_stride(images, data_format="channels_last").stride.tolist()
        [1, 3]
    """
    images = _checked(images, "images", data_range)
    data_format = data_format_or_default(data_format)
    rank = spatial_rank(images.shape)
    shortest = min(images.shape[axis] for axis in spatial_axes(rank, data_format))
    # Two are looked for in any case, so that what is too short is refused.
    periods = [
        period
        for period in range(2, _MOST_LEVEL + 1)
        if period == 2 or shortest_length(period, rank) <= shortest
    ]
    stride = np.ones(len(images), dtype=int)
    levels = {}
    for period in periods:
        score, rest = _level(images, level=period, data_range=data_range, data_format=data_format)
        levels[period] = _arrays(score)
        # So many tries have so many chances: by Bonferroni.
        found = levels[period].detected & (levels[period].p_value < DETECTED_P / len(periods))
        stride[found] = [math.lcm(int(one), period) for one in stride[found]]
        # A strong pattern would leak into the periods that come after.
        images[found] = ops.convert_to_numpy(rest)[found]
    return Stride(stride, levels)


def _hashable(size: IntPerAxis) -> IntPerAxis:
    return size if np.ndim(size) == 0 else tuple(np.asarray(size).tolist())


def _arrays(score: CheckerboardScore) -> CheckerboardScore:
    return CheckerboardScore(*map(ops.convert_to_numpy, score))


def _checked(values: Any, name: str, data_range: float) -> np.ndarray:
    """Return images as an array of floats of its own, if their values can be what they say."""
    images = np.array(ops.convert_to_numpy(values), dtype="float32")
    if not 0 < data_range < math.inf:
        raise ValueError(
            f"`data_range` must be positive and finite. Received: data_range={data_range!r}."
        )
    if images.ndim == 0 or images.size == 0:
        raise ValueError(f"`{name}` must hold something. Received shape {images.shape}.")
    finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"`{name}` must be finite. Received a NaN or an infinity in {name}"
            f"[{_some(np.flatnonzero(~finite))}]; leave those out or mend them."
        )
    span = float(images.max() - images.min())
    # Decoders overshoot; images in another unit do so by far.
    if span > 4 * data_range:
        raise ValueError(
            f"`{name}` spans {span:.3g}, far more than data_range={data_range:g}. Received values "
            f"from {images.min():.3g} to {images.max():.3g}; pass the difference between the "
            "highest and the lowest value that is possible, such as data_range=255 for bytes."
        )
    return images


def _some(indices: np.ndarray, most: int = 5) -> str:
    return ", ".join(map(str, indices[:most])) + (", ..." if len(indices) > most else "")
