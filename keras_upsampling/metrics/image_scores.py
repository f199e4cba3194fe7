"""How bad the checkerboard of images is: `checkerboard_score` and `detect_stride`, for arrays."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_upsampling._arguments import positive_number
from keras_upsampling._shapes import (
    channel_axis,
    data_format_or_default,
    spatial_axes,
    spatial_rank,
)
from keras_upsampling._types import IntPerAxis
from keras_upsampling.maths.harmonics import shortest_length
from keras_upsampling.metrics.blocks_of_maps import Shares
from keras_upsampling.metrics.blockwise import score_and_pattern
from keras_upsampling.ops._checkerboard.score import DETECTED_P, CheckerboardScore
from keras_upsampling.ops.checkerboards import check_reference, check_shape
from keras_upsampling.ops.inputs import refuse_complex


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
            a batch axis too, `image[None]`. In two dimensions axes must have 10 samples or more for
            size 2, 22 for size 4; in one 26 and 54. There is no upper limit: memory is a part of
            what the images take themselves, and 2 GB at most for the rest.
        size: Period of the pattern, for every axis or one per axis: the factor of the last
            upsampling, or the product of the last few. One entry, `(2,)`, says that three axes
            are a batch of signals, where they could be a picture or grey pictures as well.
        reference: The images without a pattern, in the same shape, such as what an autoencoder
            was given: what a small filter makes of them is taken out first. None to go without.
        data_range: Difference between the highest and the lowest value that images can have:
            255 for bytes.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        `CheckerboardScore` of NumPy arrays `(batch,)`: `db` (about 0 or below without a pattern),
        `amplitude` in the unit of the images, `band_db`, `p_value`, `detected`.

    Raises:
        TypeError: a factor is not an integer, `data_range` no number, or the images are complex.
        ValueError: an axis is too short (the message says the shortest), the values span much
            more than `data_range`, an image has a NaN or an infinity, the reference has another
            shape, or three axes could be one picture, or grey pictures, without an axis: the first
            two (of channels 1, 3 or 4) or the last two are long enough for a picture, and, but for
            3 or 4 channels, neither is more than four times the other.

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
    data_range = positive_number(data_range, "data_range")
    data_format = data_format_or_default(data_format)
    images = _checked(images, "images", data_range)
    if np.ndim(size) == 0:
        _refuse_pictures(images.shape, data_format, "`size=(2,)`, with one entry")
    sizes = check_shape(images.shape, size, data_format, with_reference=reference is not None)
    shares = _shares(images, data_format, data_range)
    compared = None
    if reference is not None:
        reference = _checked(reference, "reference", data_range)
        check_reference(reference.shape, images.shape)
        compared = _shares(reference, data_format, data_range)
    score, _ = score_and_pattern(shares, compared, sizes)
    return _in_units(score, data_range)


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
    images: Any,
    *,
    data_range: float = 1.0,
    data_format: str | None = None,
    rank: int | None = None,
) -> Stride:
    """Find the period of the pattern that every image has.

    Patterns of 2 to 8 samples are looked for, one period after the other.

    Args:
        images: As in `checkerboard_score`. Periods too long for the images are not looked for.
        data_range: As in `checkerboard_score`.
        data_format: As in `checkerboard_score`.
        rank: How many spatial axes there are. As many as are left by default; 1 says that three
            axes are a batch of signals, where they could be a picture or grey pictures as well.

    Returns:
        `Stride`: the period of every image, and the scores that it was found by.

    Raises:
        TypeError: as in `checkerboard_score`.
        ValueError: as in `checkerboard_score`, or the images have not so many spatial axes.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import detect_stride
        >>> images = np.random.default_rng(1).normal(0.5, 0.02, (2, 48, 48, 1))
        >>> images[1, ::3] += 0.02
        >>> detect_stride(images, data_format="channels_last").stride.tolist()
        [1, 3]
    """
    data_range = positive_number(data_range, "data_range")
    data_format = data_format_or_default(data_format)
    images = _checked(images, "images", data_range)
    if rank is None:
        _refuse_pictures(images.shape, data_format, "`rank=1`")
        rank = spatial_rank(images.shape)
    elif rank != spatial_rank(images.shape):
        raise ValueError(
            f"Images of {rank} spatial axes have {rank} axes besides batch and channels. Received: "
            f"rank={rank} and images of shape {images.shape}."
        )
    shortest = min(images.shape[axis] for axis in spatial_axes(rank, data_format))
    # Two are looked for in any case, so that what is too short is refused.
    periods = [
        period
        for period in range(2, _MOST_LEVEL + 1)
        if period == 2 or shortest_length(period, rank) <= shortest
    ]
    check_shape(images.shape, periods[0], data_format, with_reference=False)
    # Found patterns are taken out of a copy.
    rest = _shares(images, data_format, data_range).copied()
    stride = np.ones(len(images), dtype=int)
    levels = {}
    for period in periods:
        size = (period,) * rank
        score, pattern = score_and_pattern(Shares(rest, 1.0), None, size, period=period)
        levels[period] = _in_units(score, data_range)
        # So many tries have so many chances: by Bonferroni.
        found = levels[period].detected & (levels[period].p_value < DETECTED_P / len(periods))
        stride[found] = np.lcm(stride[found], period)
        # A strong pattern would leak into the periods that come after.
        for phase in itertools.product(range(period), repeat=rank) if found.any() else ():
            places = (slice(None), *(slice(k, None, period) for k in phase))
            mean = np.moveaxis(pattern, (0, 1), (-2, -1))[phase]
            for i in np.flatnonzero(found).tolist():
                rest[i][places] -= mean[i].reshape(-1, *(1,) * rank)
    return Stride(stride, levels)


def _shares(images: np.ndarray, data_format: str, data_range: float) -> Shares:
    axis = channel_axis(images.ndim - 2, data_format)
    return Shares(np.moveaxis(images, axis, 1), data_range)


def _in_units(score: CheckerboardScore, data_range: float) -> CheckerboardScore:
    """Return the score with its amplitude in the unit of the images."""
    # In double precision, which holds any range.
    return score._replace(amplitude=score.amplitude.astype(float) * data_range)


def _refuse_pictures(shape: tuple[int, ...], data_format: str, signals: str) -> None:
    """Refuse three axes that could be one picture, or grey pictures, as well as signals."""
    if len(shape) != 3:
        return
    channels = shape[-1] if data_format == "channels_last" else shape[0]
    could_be = {
        "one picture without a batch axis: pass images[None]": _like_a_picture(
            shape[:2] if data_format == "channels_last" else shape[1:],
            # Signals are rarely of so many channels; of one they often are, and long.
            stretched={1: 4, 3: math.inf, 4: math.inf}.get(channels, 0),
        ),
        "grey pictures without a channel axis: pass "
        + ("images[..., None]" if data_format == "channels_last" else "images[:, None]"): (
            _like_a_picture(shape[1:], stretched=4)
        ),
    }
    likely = [words for words, true in could_be.items() if true]
    if likely:
        raise ValueError(
            f"Images of shape {shape}, {data_format.replace('_', ' ')}, could be {likely[0]}. If "
            f"they are a batch of signals, say so by {signals}."
        )


# Real numbers of which NumPy itself knows nothing.
_HALF = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


def _like_a_picture(sides: tuple[int, ...], stretched: float) -> bool:
    """Return whether sides are long enough to be measured, and not more stretched than that."""
    short, long = sorted(sides)
    return short >= shortest_length(2, 2) and long <= stretched * short


def _checked(values: Any, name: str, data_range: float) -> np.ndarray:
    """Return images as an array of real numbers, if their values can be what they say."""
    images = values if isinstance(values, np.ndarray) else ops.convert_to_numpy(values)
    refuse_complex(images.dtype.name, name)
    if images.dtype.kind not in "biuf":
        if images.dtype.name not in _HALF:
            raise TypeError(f"`{name}` must be an array of numbers. Received dtype {images.dtype}.")
        images = images.astype("float32")
    if images.ndim == 0 or images.size == 0:
        raise ValueError(f"`{name}` must hold something. Received shape {images.shape}.")
    low, high = float(images.min()), float(images.max())
    if not math.isfinite(low + high):
        finite = np.array([np.isfinite(image).all() for image in images])
        if not finite.all():
            raise ValueError(
                f"`{name}` must be finite. Received a NaN or an infinity in {name}"
                f"[{_some(np.flatnonzero(~finite))}]; leave those out or mend them."
            )
    if images.ndim < 3:
        raise ValueError(
            f"`{name}` must have a batch axis and one of channels. Received shape {images.shape}; "
            "one grey picture is image[None, ..., None], one signal signal[None, :, None], and "
            "with channels first both are x[None, None]."
        )
    # Decoders overshoot; images in another unit do so by far.
    if high - low > 4 * data_range:
        raise ValueError(
            f"`{name}` spans {high - low:.3g}, far more than data_range={data_range:g}. Received "
            f"values from {low:.3g} to {high:.3g}; pass the difference between the highest and "
            "the lowest value that is possible, such as data_range=255 for bytes."
        )
    return images


def _some(indices: np.ndarray, most: int = 5) -> str:
    return ", ".join(map(str, indices[:most])) + (", ..." if len(indices) > most else "")
