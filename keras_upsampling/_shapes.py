"""Shapes of feature maps: positions of the axes, and checks of the rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast, get_args

import keras

from keras_upsampling._arguments import one_of, positive_ints
from keras_upsampling._types import DataFormat, Shape


def count_phases(shape: Sequence[int], size: int | tuple[int, ...]) -> int:
    """Return the number of phases in a weight of a sub-pixel convolution.

    Args:
        shape: Shape of the kernel, `(*kernel_size, channels, phases * filters)`, or of the bias,
            `(phases * filters,)`.
        size: Factor of the upsampling: one integer for all axes, or one per axis. A bias needs one
            per axis, since its shape does not tell the rank.

    Raises:
        ValueError: If the shape is neither a kernel's nor a bias's, if `size` is not of its rank,
            or if the last axis is not divisible by the number of phases.
    """
    shape, rank = tuple(shape), len(shape) - 2
    if len(shape) == 1:
        if not isinstance(size, tuple):
            raise ValueError(
                "For a bias, `size` must have one integer per axis. Received: "
                f"size={size}. Use size=({size}, {size}) for images."
            )
        rank = len(size)
    elif rank not in (1, 2, 3):
        raise ValueError(
            "Expected a kernel (*kernel_size, channels, phases * filters) with one to three "
            "spatial axes, or a bias (phases * filters,). "
            f"Received: a weight of shape {shape}. Use the kernel or the bias of a "
            "sub-pixel convolution."
        )
    phases = math.prod(positive_ints(size, rank, "size"))
    if shape[-1] % phases:
        raise ValueError(
            f"The channels must be divisible by the {phases} phases of size={size}. "
            f"Received: a weight of shape {shape}. Use {phases} * filters channels, or another "
            "`size`."
        )
    return phases


def data_format_or_default(value: Any) -> DataFormat:
    """Return the data format, or Keras's setting for None.

    Raises:
        ValueError: If `value` is not the name of a data format.
    """
    if value is None:
        return keras.config.image_data_format()
    return cast(DataFormat, one_of(value, get_args(DataFormat), "data_format"))


def spatial_axes(rank: int, data_format: str) -> tuple[int, ...]:
    """Return the positions of the spatial axes in a batched tensor."""
    first = 1 if data_format == "channels_last" else 2
    return tuple(range(first, first + rank))


def channel_axis(rank: int, data_format: str) -> int:
    """Return the position of the channel axis in a batched tensor."""
    return rank + 1 if data_format == "channels_last" else 1


def spatial_rank(shape: Sequence[int | None]) -> int:
    """Return the number of spatial axes: all axes except batch and channels.

    Raises:
        ValueError: If the number is not one, two or three.
    """
    rank = len(shape) - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            "Expected an input with one, two or three spatial axes besides batch and channels. "
            f"Received: an input of shape {tuple(shape)}. Reshape it, for example to (batch, "
            "height, width, channels)."
        )
    return rank


def check_rank(shape: Sequence[int | None], rank: int, data_format: str) -> Shape:
    """Return `shape` as a tuple, after checking that it has `rank` spatial axes.

    Raises:
        ValueError: If the number of axes is wrong. The message names the expected axes.
    """
    shape = tuple(shape)
    if len(shape) != rank + 2:
        spatial = ("depth", "height", "width")[-rank:] if rank > 1 else ("length",)
        names = (
            ("batch", *spatial, "channels")
            if data_format == "channels_last"
            else ("batch", "channels", *spatial)
        )
        raise ValueError(
            f"Expected an input with {rank + 2} axes ({', '.join(names)}). "
            f"Received: an input of shape {shape} with {len(shape)}. Use x[None] if the batch "
            "axis is missing; otherwise reshape it."
        )
    return shape


def check_samples(shape: Sequence[int | None], rank: int, data_format: str) -> None:
    """Check that a map has samples.

    Raises:
        ValueError: If a spatial axis has length 0.
    """
    if any(shape[axis] == 0 for axis in spatial_axes(rank, data_format)):
        raise ValueError(
            "Every spatial axis must have at least one sample. "
            f"Received: an input of shape {tuple(shape)}. Use a larger map."
        )
