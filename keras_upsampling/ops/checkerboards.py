"""The strength of patterns of period `size` in images, relative to the other image content."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_upsampling._arguments import positive_int, positive_ints, positive_number
from keras_upsampling._shapes import (
    channel_axis,
    data_format_or_default,
    spatial_axes,
    spatial_rank,
)
from keras_upsampling._types import IntPerAxis, Shape, Tensor
from keras_upsampling.maths.harmonics import shortest_length
from keras_upsampling.ops._checkerboard.powers import measure_maps
from keras_upsampling.ops._checkerboard.score import CheckerboardScore, score_from_sums
from keras_upsampling.ops._checkerboard.whitening import (
    channel_maps,
    first_samples,
    high_pass,
    local_weights,
    tiled,
)
from keras_upsampling.ops.inputs import concrete_tensor, refuse_complex
from keras_upsampling.ops.tables import compiled_on_jax, pad_with_zeros


def checkerboard(
    images: Tensor,
    size: IntPerAxis = 2,
    *,
    reference: Tensor | None = None,
    data_range: float = 1.0,
    data_format: str | None = None,
) -> CheckerboardScore:
    """Measure the pattern that an upsampling by `size` leaves in images, as tensors.

    The function can be compiled and differentiated; the weights are constants for the gradient.
    `checkerboard_score` does the same for arrays and checks their values.

    Args:
        images: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`. The shape must be known, with one, two or three
            spatial axes. float64 is measured in float64, every other dtype in float32.
        size: Period of the pattern, for every axis or one per axis.
        reference: What the images should be, in the same shape. The part of the images that a
            filter of 3 samples per axis predicts from it is subtracted first. None: no reference.
        data_range: Difference between the highest and the lowest value that images can have.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        `CheckerboardScore` of tensors `(batch,)`. Ratios of power are averaged over the channels.
        Channels may be equal, so the p-value is computed as for one channel: for several
        independent channels it is too high, never too low.

    Raises:
        TypeError: If a factor is not an integer, `data_range` is not a number, or `images` or
            `reference` is symbolic or complex.
        ValueError: If an axis is too short for a pattern of that size (the message names the
            minimal length), `data_range` is not positive, or `reference` has another shape than
            the images.

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
        Sugawara, Shiota, Kiya 2018, arXiv:1806.02658 (conditions for upsampling without it).
    """
    images, size, data_range, data_format = _check_arguments(images, size, data_range, data_format)
    if reference is not None:
        reference = real_tensor(reference, "reference")
        check_shape(images.shape, size, data_format, with_reference=True)
        check_reference(reference.shape, images.shape)
    score, _ = _measure(
        images, reference, size=size, data_range=data_range, data_format=data_format
    )
    return score


def checkerboard_level(
    images: Tensor, level: int, *, data_range: float = 1.0, data_format: str | None = None
) -> tuple[CheckerboardScore, Tensor]:
    """Measure the patterns of period `level` without the patterns of its divisors.

    Args:
        images: As in `checkerboard`.
        level: Period of the patterns, for every axis.
        data_range: As in `checkerboard`.
        data_format: As in `checkerboard`.

    Returns:
        The score, and the images minus every pattern of period `level`.

    Raises:
        TypeError: As in `checkerboard`.
        ValueError: As in `checkerboard`.

    Example:
        >>> from keras import random
        >>> from keras_upsampling.ops.checkerboards import checkerboard_level
        >>> noise = random.normal((1, 32, 32, 1), seed=0)
        >>> score, rest = checkerboard_level(noise, 4, data_range=8, data_format="channels_last")
        >>> score.db.shape == (1,), rest.shape == noise.shape
        (True, True)
    """
    level = positive_int(level, "level")
    images, size, data_range, data_format = _check_arguments(images, level, data_range, data_format)
    score, pattern = _measure(
        images, None, size=size, data_range=data_range, data_format=data_format, period=level
    )
    x = channel_maps(images, data_format, data_range)
    rest = (x - tiled(pattern, x.shape[1:])) * data_range
    channels = images.shape[channel_axis(len(size), data_format)]
    rest = ops.reshape(rest, (-1, channels, *x.shape[1:]))
    return score, ops.moveaxis(rest, 1, -1) if data_format == "channels_last" else rest


def _measure(
    images: Tensor,
    reference: Tensor | None,
    size: tuple[int, ...],
    data_range: float,
    data_format: str,
    period: int | None = None,
) -> tuple[CheckerboardScore, Tensor]:
    """Return the score of checked images, and their pattern as a fraction of the range."""
    if images.shape[0] == 0:
        # Backends refuse transforms and maxima of nothing: an image is added, then its results cut.
        added = [(0, 1), *[(0, 0)] * (len(images.shape) - 1)]
        images = pad_with_zeros(images, added)
        reference = None if reference is None else pad_with_zeros(reference, added)
        score, pattern = _measure(images, reference, size, data_range, data_format, period)
        return CheckerboardScore(*(values[:0] for values in score)), pattern[:0]
    maps = channel_maps(images, data_format, data_range)
    if reference is not None:
        reference = channel_maps(reference, data_format, data_range)
    sums, table, pattern = measure_maps(maps, reference, size, period=period)
    channels = images.shape[channel_axis(len(size), data_format)]
    return score_from_sums(sums, table, channels, data_range), pattern


# Operation by operation, JAX would compile some hundred small programs for every shape.
_measure = compiled_on_jax(_measure, ("size", "data_range", "data_format", "period"))


def weighted_maps(
    images: Tensor,
    size: IntPerAxis = 2,
    *,
    data_range: float = 1.0,
    data_format: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the high-passed maps and the weights from which the score is computed.

    The arguments are those of `checkerboard`.

    Returns:
        Every channel of every image after the high-pass, `(maps, *spatial)`, divided by
        `data_range`; and the weight of every sample. The ends of axes are cut to whole periods.

    Raises:
        TypeError: As in `checkerboard`.
        ValueError: As in `checkerboard`.

    Example:
        >>> from keras import random
        >>> from keras_upsampling.ops.checkerboards import weighted_maps
        >>> noise = random.normal((2, 32, 33, 3), seed=0)
        >>> maps, weights = weighted_maps(noise, 2, data_format="channels_last")
        >>> tuple(maps.shape), tuple(weights.shape)
        ((6, 32, 32), (6, 32, 32))
    """
    images, size, data_range, data_format = _check_arguments(images, size, data_range, data_format)
    r = high_pass(channel_maps(images, data_format, data_range), size)
    r = first_samples(r, [n // s * s for n, s in zip(r.shape[1:], size, strict=True)])
    return r, local_weights(r, size)


def _check_arguments(
    images: Tensor, size: IntPerAxis, data_range: float, data_format: str | None
) -> tuple[Tensor, tuple[int, ...], float, str]:
    """Return the checked arguments: images as a tensor, one size per axis, range and format."""
    images = real_tensor(images, "images")
    data_range = positive_number(data_range, "data_range")
    data_format = data_format_or_default(data_format)
    size = check_shape(images.shape, size, data_format, with_reference=False)
    return images, size, data_range, data_format


def check_shape(
    shape: Shape, size: IntPerAxis, data_format: str, with_reference: bool
) -> tuple[int, ...]:
    """Return the size for every axis; raise if images of that shape cannot be measured."""
    rank = spatial_rank(shape)
    size = positive_ints(size, rank, "size")
    if max(size) == 1:
        raise ValueError(
            f"`size` must be 2 or more on some axis. Received: size={size}. Use the factor of the "
            "upsampling."
        )
    for axis, s in zip(spatial_axes(rank, data_format), size, strict=True):
        # The filter of the reference needs one sample more at both ends.
        shortest = shortest_length(s, rank) + 2 * with_reference
        length = shape[axis]
        if length is None or length < shortest:
            raise ValueError(
                f"A pattern of size {s} needs an axis of {shortest} samples or more"
                f"{' with a reference' if with_reference else ''}, of known length. "
                f"Received: images of shape {tuple(shape)}, {data_format.replace('_', ' ')}. Use "
                "larger images, or pass their `data_format`."
            )
    if shape[channel_axis(rank, data_format)] is None:
        raise ValueError(
            f"The number of channels must be known. Received: images of shape {tuple(shape)}. Set "
            "the number in the shape of `keras.Input`."
        )
    return size


def check_reference(shape: Shape, images: Shape) -> None:
    """Raise for a reference whose shape differs from the shape of the images."""
    shape, images = tuple(shape), tuple(images)
    pairs = zip(shape, images, strict=False)
    if len(shape) != len(images) or any(a != b for a, b in pairs if None not in (a, b)):
        raise ValueError(
            f"`reference` must have the shape of the images, {images}. "
            f"Received: a reference of shape {shape}. Reshape, crop or resize it."
        )


def real_tensor(value: Any, name: str) -> Tensor:
    """Return `value` as a tensor; raise if it is symbolic or complex."""
    tensor = concrete_tensor(value, "metrics.Checkerboard")
    refuse_complex(keras.backend.standardize_dtype(tensor.dtype), name)
    return tensor
