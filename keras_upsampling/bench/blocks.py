"""Three ways to upsample a map and convolve it, from which an architecture can be built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from keras import layers

import keras_upsampling
from keras_upsampling._types import Tensor

LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


# Upsamples a map by a factor and convolves it: `(x, filters, kernel_size, size, **options)`.
Block: TypeAlias = Callable[..., Tensor]


class GapsError(ValueError):
    """A transposed convolution whose kernel is shorter than its stride would leave gaps."""


def upsampling_conv(
    x: Tensor,
    filters: int,
    kernel_size: int,
    size: int = 2,
    *,
    interpolation: str = "nearest",
    **options: Any,
) -> Tensor:
    """Upsample and convolve with Keras's two layers."""
    rank = len(x.shape) - 2
    # Keras has an interpolation in two dimensions alone, and no data format in one.
    mode = {"linear": "bilinear"}.get(interpolation, interpolation)
    by_rank = {1: {}, 2: {"interpolation": mode, **LAST}, 3: LAST}[rank]
    y = getattr(layers, f"UpSampling{rank}D")(size, **by_rank)(x)
    return conv(y, filters, kernel_size, **options)


def upsample_conv(
    x: Tensor,
    filters: int,
    kernel_size: int,
    size: int = 2,
    *,
    interpolation: str = "nearest",
    **options: Any,
) -> Tensor:
    """Upsample and convolve with this library's layer."""
    layer = getattr(keras_upsampling, f"UpsampleConv{len(x.shape) - 2}D")
    return layer(filters, kernel_size, size, interpolation=interpolation, **SAME, **options)(x)


def transposed_conv(
    x: Tensor,
    filters: int,
    kernel_size: int,
    size: int = 2,
    *,
    interpolation: str = "nearest",  # noqa: ARG001 - a transposed convolution has none
    **options: Any,
) -> Tensor:
    """Upsample with Keras's transposed convolution.

    Raises:
        GapsError: If the kernel is shorter than the stride. On TensorFlow, its gradient can crash
            the process.
    """
    if kernel_size < size:
        raise GapsError
    layer = getattr(layers, f"Conv{len(x.shape) - 2}DTranspose")
    return layer(filters, kernel_size, strides=size, **SAME, **options)(x)


def conv(x: Tensor, filters: int, kernel_size: int = 3, **options: Any) -> Tensor:
    """Convolve a map, whatever its rank."""
    layer = getattr(layers, f"Conv{len(x.shape) - 2}D")
    return layer(filters, kernel_size, **{**SAME, **options})(x)
