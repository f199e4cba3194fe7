"""`checkerboard_score` and `detect_stride`: the checkerboards of arrays of images."""

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
from keras_upsampling.metrics.map_regions import ChannelMaps
from keras_upsampling.metrics.regionwise import score_and_pattern
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
    """Measure in every image the strength of the pattern of period `size`.

    Such a pattern is the trace of an upsampling by `size`. A regular pattern of the subject, such
    as woven cloth, has the same score: only a `reference` separates the two. JPEG compression hides
    weak patterns, and adds weak patterns of size 8, 4 and 2.

    Args:
        images: Array `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. A single image needs a
            batch axis, too: `image[None]`. In two dimensions, axes must have at least 10 samples
            for size 2 and 22 for size 4; in one dimension, 26 and 54. There is no upper limit: the
            function needs a fraction of the memory of the images, plus 2 GB at most.
        size: Period of the pattern, for every axis or one per axis: the factor of the last
            upsampling, or the product of the last few. A tuple with one entry, `(2,)`, says that
            an array of three axes is a batch of signals, if it could also be an image or a batch
            of grey images.
        reference: The images without a pattern, in the same shape, such as the inputs of an
            autoencoder. The part of the images that a small filter predicts from them is
            subtracted first. None: no reference.
        data_range: Difference between the highest and the lowest value that images can have:
            255 for bytes.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        `CheckerboardScore` of NumPy arrays `(batch,)`: `db` (about 0 or below without a pattern),
        `amplitude` in the unit of the images, `band_db`, `p_value`, `detected`.

    Raises:
        TypeError: If a factor is not an integer, `data_range` is not a number, or the images are
            complex.
        ValueError: If an axis is too short (the message names the minimal length), the values span
            much more than `data_range`, an image contains a NaN or an infinity, or the reference
            has another shape. Also if an array of three axes could be one image without a batch
            axis, or grey images without a channel axis. Both sides of such an image have at least
            10 samples, and neither is more than four times as long as the other. One image has 1,
            3 or 4 channels; with 3 or 4, its sides may have any ratio.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import checkerboard_score
        >>> images = np.random.default_rng(0).normal(0.5, 0.01, (1, 64, 64, 1))
        >>> images[:, ::2] += 0.01  # stripes: every second row is brighter
        >>> score = checkerboard_score(images, 2, data_format="channels_last")
        >>> bool(score.detected[0]), f"{score.amplitude[0]:.3f}"
        (True, '0.005')

    Reference:
        Dobie, Wilson 1996, JASA 100:2236 (a spectral line against its surroundings);
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill.
    """
    data_range = positive_number(data_range, "data_range")
    data_format = data_format_or_default(data_format)
    images = _check_images(images, "images", data_range)
    if np.ndim(size) == 0:
        _refuse_ambiguous_images(images.shape, data_format, "`size=(2,)`, with one entry")
    sizes = check_shape(images.shape, size, data_format, with_reference=reference is not None)
    maps = _channel_maps(images, data_format, data_range)
    reference_maps = None
    if reference is not None:
        reference = _check_images(reference, "reference", data_range)
        check_reference(reference.shape, images.shape)
        reference_maps = _channel_maps(reference, data_format, data_range)
    score, _ = score_and_pattern(maps, reference_maps, sizes)
    return _in_image_units(score, data_range)


def mean_db(db: Any) -> float:
    """Average decibels as power ratios; return the mean in decibels."""
    return float(10 * np.log10(np.mean(10 ** (np.asarray(db, dtype=float) / 10))))


class Stride(NamedTuple):
    """The result of `detect_stride`.

    Attributes:
        stride: Array `(batch,)`, the period of each image's pattern; 1 without a pattern. For
            several patterns, the least common multiple of their periods: 6 for 2 and 3.
        levels: The score of every period, without the patterns of its divisors: 2 is the last
            upsampling by 2, 4 the upsampling before it. An image has a period if its score is
            `detected` with a p-value below 0.01 divided by the number of tested periods.
    """

    stride: np.ndarray
    levels: dict[int, CheckerboardScore]


# The longest period that is tested: three upsamplings by 2.
_MAX_PERIOD = 8


def detect_stride(
    images: Any,
    *,
    data_range: float = 1.0,
    data_format: str | None = None,
    rank: int | None = None,
) -> Stride:
    """Find the period of the pattern in every image.

    The periods from 2 to 8 samples are tested one after another.

    Args:
        images: As in `checkerboard_score`. Periods that are too long for the images are not tested.
        data_range: As in `checkerboard_score`.
        data_format: As in `checkerboard_score`.
        rank: Number of spatial axes; by default, all axes except batch and channels. 1 says that
            an array of three axes is a batch of signals, if it could also be an image or a batch
            of grey images.

    Returns:
        `Stride`: the period of every image, and the score of every tested period.

    Raises:
        TypeError: As in `checkerboard_score`.
        ValueError: As in `checkerboard_score`, or if the images do not have `rank` spatial axes.

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
    images = _check_images(images, "images", data_range)
    if rank is None:
        _refuse_ambiguous_images(images.shape, data_format, "`rank=1`")
        rank = spatial_rank(images.shape)
    elif rank != spatial_rank(images.shape):
        raise ValueError(
            f"With rank={rank}, images must have {rank + 2} axes: batch, spatial and channels. "
            f"Received: rank={rank} and images of shape {images.shape}. Use another `rank`, or "
            "reshape the images."
        )
    shortest = min(images.shape[axis] for axis in spatial_axes(rank, data_format))
    # Period 2 is always tested, so that `check_shape` raises for images that are too short.
    periods = [
        period
        for period in range(2, _MAX_PERIOD + 1)
        if period == 2 or shortest_length(period, rank) <= shortest
    ]
    check_shape(images.shape, periods[0], data_format, with_reference=False)
    # A copy, because detected patterns are subtracted from it.
    rest = _channel_maps(images, data_format, data_range).to_array()
    stride = np.ones(len(images), dtype=int)
    levels = {}
    for period in periods:
        size = (period,) * rank
        score, pattern = score_and_pattern(ChannelMaps(rest, 1.0), None, size, period=period)
        levels[period] = _in_image_units(score, data_range)
        # One test per period: the limit is divided by their number (Bonferroni).
        detected = levels[period].detected & (levels[period].p_value < DETECTED_P / len(periods))
        stride[detected] = np.lcm(stride[detected], period)
        # A strong pattern would leak into the periods that are tested later.
        for phase in itertools.product(range(period), repeat=rank) if detected.any() else ():
            places = (slice(None), *(slice(k, None, period) for k in phase))
            mean = np.moveaxis(pattern, (0, 1), (-2, -1))[phase]
            for i in np.flatnonzero(detected).tolist():
                rest[i][places] -= mean[i].reshape(-1, *(1,) * rank)
    return Stride(stride, levels)


def _channel_maps(images: np.ndarray, data_format: str, data_range: float) -> ChannelMaps:
    axis = channel_axis(images.ndim - 2, data_format)
    return ChannelMaps(np.moveaxis(images, axis, 1), data_range)


def _in_image_units(score: CheckerboardScore, data_range: float) -> CheckerboardScore:
    """Return the score with its amplitude in the unit of the images."""
    # float64: `data_range` may exceed the limits of float32.
    return score._replace(amplitude=score.amplitude.astype(float) * data_range)


def _refuse_ambiguous_images(shape: tuple[int, ...], data_format: str, remedy: str) -> None:
    """Raise for a shape of three axes that could be one image or grey images instead of signals."""
    if len(shape) != 3:
        return
    channels = shape[-1] if data_format == "channels_last" else shape[0]
    interpretations = {
        "one image without a batch axis: pass images[None]": _could_be_image(
            shape[:2] if data_format == "channels_last" else shape[1:],
            # Signals rarely have 3 or 4 channels. They often have one channel, but are long.
            max_aspect={1: 4, 3: math.inf, 4: math.inf}.get(channels, 0),
        ),
        "grey images without a channel axis: pass "
        + ("images[..., None]" if data_format == "channels_last" else "images[:, None]"): (
            _could_be_image(shape[1:], max_aspect=4)
        ),
    }
    likely = [words for words, possible in interpretations.items() if possible]
    if likely:
        raise ValueError(
            f"Images of shape {shape}, {data_format.replace('_', ' ')}, could be {likely[0]}. If "
            f"they are a batch of signals, pass {remedy}."
        )


# Real dtypes that are not NumPy's own.
_EXTENSION_FLOATS = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


def _could_be_image(sides: tuple[int, ...], max_aspect: float) -> bool:
    """Return whether both sides are long enough to be measured, and the aspect ratio is small."""
    short, long = sorted(sides)
    return short >= shortest_length(2, 2) and long <= max_aspect * short


def _check_images(values: Any, name: str, data_range: float) -> np.ndarray:
    """Return images as a real array; raise if their shape or their values are implausible."""
    images = values if isinstance(values, np.ndarray) else ops.convert_to_numpy(values)
    refuse_complex(images.dtype.name, name)
    if images.dtype.kind not in "biuf":
        if images.dtype.name not in _EXTENSION_FLOATS:
            raise TypeError(
                f"`{name}` must be an array of numbers. Received: dtype {images.dtype}. Convert "
                "it, for example to float32."
            )
        images = images.astype("float32")
    if images.ndim == 0 or images.size == 0:
        raise ValueError(
            f"`{name}` must not be empty. Received: shape {images.shape}. Pass at least one image."
        )
    low, high = float(images.min()), float(images.max())
    if not math.isfinite(low + high):
        finite = np.array([np.isfinite(image).all() for image in images])
        if not finite.all():
            raise ValueError(
                f"`{name}` must be finite. Received: a NaN or an infinity in {name}"
                f"[{_some(np.flatnonzero(~finite))}]. Remove or repair these."
            )
    if images.ndim < 3:
        raise ValueError(
            f"`{name}` must have a batch axis and a channel axis. Received: shape {images.shape}. "
            "Use image[None, ..., None] for one grey image and signal[None, :, None] for one "
            "signal; with channels first, use x[None, None] for both."
        )
    # Decoders overshoot the range a little; images in another unit exceed it many times.
    if high - low > 4 * data_range:
        raise ValueError(
            f"`{name}` spans {high - low:.3g}, far more than data_range={data_range:g}. Received: "
            f"values from {low:.3g} to {high:.3g}. Pass the difference between the highest and "
            "the lowest possible value, such as data_range=255 for bytes."
        )
    return images


def _some(indices: np.ndarray, limit: int = 5) -> str:
    return ", ".join(map(str, indices[:limit])) + (", ..." if len(indices) > limit else "")
