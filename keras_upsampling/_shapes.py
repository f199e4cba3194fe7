"""Shapes of batches of maps: which axes are spatial, which has the channels, what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast, get_args

import keras

from keras_upsampling._arguments import one_of, positive_ints
from keras_upsampling._types import DataFormat, Shape


def count_phases(shape: Sequence[int], size: int | tuple[int, ...]) -> int:
    """Return how many phases the outputs of a sub-pixel convolution's kernel or bias are.

    Args:
        shape: `(*taps, channels, phases * filters)`, or `(phases * filters,)`.
        size: How many phases each axis has, or one number for every axis. A kernel tells how many
            axes those are; a bias does not, so it takes one number per axis.

    Raises:
        ValueError: it is neither a kernel nor a bias, the size is not of its rank, or its outputs
            are not divisible by the phases.
    """
    shape, rank = tuple(shape), len(shape) - 2
    if len(shape) == 1:
        if not isinstance(size, tuple):
            raise ValueError(
                "For a bias, `size` must be one integer per axis. Received: "
                f"size={size}; for images, write size=({size}, {size})."
            )
        rank = len(size)
    elif rank not in (1, 2, 3):
        raise ValueError(
            "Expected a kernel (*taps, channels, phases * filters) with one to three axes of taps, "
            f"or a bias (phases * filters,). Received a weight of shape {shape}."
        )
    phases = math.prod(positive_ints(size, rank, "size"))
    if shape[-1] % phases:
        raise ValueError(
            f"The channels must be divisible by the {phases} phases of size={size}. "
            f"Received a weight of shape {shape}."
        )
    return phases


def data_format_or_default(value: Any) -> DataFormat:
    """Return `value` checked, or Keras's setting for None."""
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
    """Return how many axes there are besides batch and channels.

    Raises:
        ValueError: not one, two or three.
    """
    rank = len(shape) - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            "Expected an input with one, two or three spatial axes besides batch and channels. "
            f"Received an input of shape {tuple(shape)}."
        )
    return rank


def check_rank(shape: Sequence[int | None], rank: int, data_format: str) -> Shape:
    """Return `shape` as a tuple if it has batch, channels and `rank` spatial axes.

    Raises:
        ValueError: it has not; the message spells out the shape that is expected.
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
            f"Received an input of shape {shape} with {len(shape)}."
        )
    return shape


def check_samples(shape: Sequence[int | None], rank: int, data_format: str) -> None:
    """Refuse a map without samples.

    Raises:
        ValueError: a spatial axis is empty.
    """
    if any(shape[axis] == 0 for axis in spatial_axes(rank, data_format)):
        raise ValueError(
            "Every spatial axis must have at least one sample. "
            f"Received an input of shape {tuple(shape)}."
        )
