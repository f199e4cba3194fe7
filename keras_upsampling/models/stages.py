"""The ways to make maps larger and smaller that the factory knows by name.

A block is the layers from a map to one of `filters` channels and `size` times the length (or a
`size`-th of it, rounded up), normalised and activated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from keras_upsampling._types import DataFormat
from keras_upsampling.layers.bilinear_additive import BilinearAdditiveUpsampling2D
from keras_upsampling.layers.blur_pooling import BlurPool1D, BlurPool2D, BlurPool3D
from keras_upsampling.layers.carafe import CARAFE2D
from keras_upsampling.layers.dysample import DySample2D
from keras_upsampling.layers.subpixel_convolution import (
    SubpixelConv1D,
    SubpixelConv2D,
    SubpixelConv3D,
)
from keras_upsampling.layers.upsample_convolution import (
    UpsampleConv1D,
    UpsampleConv2D,
    UpsampleConv3D,
)

# By rank.
CONV = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}
CONV_TRANSPOSE = {
    1: layers.Conv1DTranspose,
    2: layers.Conv2DTranspose,
    3: layers.Conv3DTranspose,
}
MAX_POOL = {1: layers.MaxPooling1D, 2: layers.MaxPooling2D, 3: layers.MaxPooling3D}
BLUR_POOL = {1: BlurPool1D, 2: BlurPool2D, 3: BlurPool3D}
SUBPIXEL_CONV = {1: SubpixelConv1D, 2: SubpixelConv2D, 3: SubpixelConv3D}
UPSAMPLE_CONV = {1: UpsampleConv1D, 2: UpsampleConv2D, 3: UpsampleConv3D}

NORMALIZATIONS = {
    "batch": layers.BatchNormalization,
    "layer": layers.LayerNormalization,
}


@dataclass(frozen=True)
class Block:
    """What a block is to be like.

    Attributes:
        rank: How many spatial axes the map has.
        filters: How many channels come out.
        kernel_size: Of its convolution.
        size: How many times longer, or shorter, it makes the spatial axes.
        data_format: As in Keras.
        name: What its layers' names begin with.
        normalization: A key of `NORMALIZATIONS`, or None.
        activation: What Keras knows as an activation, or None.
    """

    rank: int
    filters: int
    kernel_size: tuple[int, ...]
    size: int
    data_format: DataFormat
    name: str
    normalization: str | None
    activation: Any

    def convolution(self, strides: int = 1) -> list[keras.Layer]:
        """Return a convolution that keeps the map's size, or divides it by `strides`."""
        return self._keras(CONV, strides)

    def transposed(self) -> list[keras.Layer]:
        """Return a transposed convolution."""
        return self._keras(CONV_TRANSPOSE, self.size)

    def _keras(self, kinds: Mapping[int, type[keras.Layer]], strides: int) -> list[keras.Layer]:
        layer = kinds[self.rank](
            self.filters,
            self.kernel_size,
            strides=strides,
            padding="same",
            data_format="channels_last",
            name=f"{self.name}_conv",
        )
        if self.data_format == "channels_last":
            return [layer]
        # On a CPU, TensorFlow convolves maps with channels last only, and Keras leaves it at that.
        axes = range(1, self.rank + 2)
        return [
            layers.Permute((*axes[1:], axes[0]), name=f"{self.name}_channels_last"),
            layer,
            layers.Permute((axes[-1], *axes[:-1]), name=f"{self.name}_channels_first"),
        ]

    def upsample_conv(self, size: int, filters: int | None = None) -> keras.Layer:
        """Return a convolution of the map `size` times enlarged, padded by its own edge.

        Zeros would leave a rim in the output, which the network pays for with its weights.
        """
        return UPSAMPLE_CONV[self.rank](
            filters or self.filters,
            self.kernel_size,
            size,
            padding="edge",
            data_format=self.data_format,
            name=f"{self.name}_conv",
        )

    def finished(self) -> list[keras.Layer]:
        """Return the layers that normalise and activate."""
        made: list[keras.Layer] = []
        if self.normalization is not None:
            axis = -1 if self.data_format == "channels_last" else 1
            made += [NORMALIZATIONS[self.normalization](axis=axis, name=f"{self.name}_norm")]
        if self.activation is not None:
            made += [layers.Activation(self.activation, name=f"{self.name}_activation")]
        return made


@dataclass(frozen=True)
class Way:
    """A way to make maps larger or smaller: its layers, and in which ranks there is such a way."""

    layers: Callable[[Block], list[keras.Layer]]
    ranks: Sequence[int] = (1, 2, 3)


UPSAMPLINGS = {
    "upsample_conv": Way(lambda b: [b.upsample_conv(b.size), *b.finished()]),
    "subpixel_conv": Way(
        lambda b: [
            SUBPIXEL_CONV[b.rank](
                b.filters,
                b.kernel_size,
                b.size,
                padding="edge",
                data_format=b.data_format,
                name=f"{b.name}_conv",
            ),
            *b.finished(),
        ]
    ),
    # The next three mix no channels: a convolution does so before them, on the small map.
    "bilinear_additive": Way(
        lambda b: [
            b.upsample_conv(1, b.filters * b.size**b.rank),
            BilinearAdditiveUpsampling2D(b.size, data_format=b.data_format, name=f"{b.name}_up"),
            *b.finished(),
        ],
        ranks=(2,),
    ),
    "carafe": Way(
        lambda b: [
            b.upsample_conv(1),
            CARAFE2D(
                b.size,
                compressed_channels=math.ceil(b.filters / 4),  # the share that the paper takes
                data_format=b.data_format,
                name=f"{b.name}_up",
            ),
            *b.finished(),
        ],
        ranks=(2,),
    ),
    "dysample": Way(
        lambda b: [
            b.upsample_conv(1),
            DySample2D(
                b.size,
                groups=math.gcd(b.filters, 4),
                data_format=b.data_format,
                name=f"{b.name}_up",
            ),
            *b.finished(),
        ],
        ranks=(2,),
    ),
    "transposed": Way(lambda b: [*b.transposed(), *b.finished()]),
}

DOWNSAMPLINGS = {
    "max_pool": Way(
        lambda b: [
            *b.convolution(),
            *b.finished(),
            MAX_POOL[b.rank](
                b.size, padding="same", data_format=b.data_format, name=f"{b.name}_pool"
            ),
        ]
    ),
    "strided": Way(lambda b: [*b.convolution(strides=b.size), *b.finished()]),
    "blur_pool": Way(
        lambda b: [
            *b.convolution(),
            *b.finished(),
            BLUR_POOL[b.rank](b.size, data_format=b.data_format, name=f"{b.name}_pool"),
        ]
    ),
}
