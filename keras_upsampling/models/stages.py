"""The stages of an autoencoder, and the upsamplings and downsamplings that have a name.

A stage multiplies the lengths of a map by `size`, or divides them by `size` and rounds up. Its
output has `filters` channels and is normalised and activated.
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

# The keys are ranks.
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
class Stage:
    """The properties of one stage, and the layers that can be built from them.

    Attributes:
        rank: Number of spatial axes of the map.
        filters: Number of output channels.
        kernel_size: Kernel size of the convolution, one integer per axis.
        size: Factor by which the stage upsamples or downsamples.
        data_format: `"channels_last"` or `"channels_first"`.
        name: Prefix of the names of the layers.
        normalization: Key of `NORMALIZATIONS`, or None.
        activation: Activation, as in `keras.layers.Activation`, or None.
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
        """Return a convolution that divides the size of the map by `strides`."""
        return self._keras_convolution(CONV, strides)

    def transposed_convolution(self) -> list[keras.Layer]:
        """Return a transposed convolution that multiplies the size of the map by `size`."""
        return self._keras_convolution(CONV_TRANSPOSE, self.size)

    def _keras_convolution(
        self, layer_types: Mapping[int, type[keras.Layer]], strides: int
    ) -> list[keras.Layer]:
        layer = layer_types[self.rank](
            self.filters,
            self.kernel_size,
            strides=strides,
            padding="same",
            data_format="channels_last",
            name=f"{self.name}_conv",
        )
        if self.data_format == "channels_last":
            return [layer]
        # TensorFlow has no convolution with channels first on a CPU, and Keras does not transpose.
        axes = range(1, self.rank + 2)
        return [
            layers.Permute((*axes[1:], axes[0]), name=f"{self.name}_channels_last"),
            layer,
            layers.Permute((axes[-1], *axes[:-1]), name=f"{self.name}_channels_first"),
        ]

    def upsample_conv(self, size: int, filters: int | None = None) -> keras.Layer:
        """Return a layer that upsamples the map by `size` and convolves it.

        It pads by the edge: zeros would leave a rim in the output.
        """
        return UPSAMPLE_CONV[self.rank](
            filters or self.filters,
            self.kernel_size,
            size,
            padding="edge",
            data_format=self.data_format,
            name=f"{self.name}_conv",
        )

    def normalization_and_activation(self) -> list[keras.Layer]:
        """Return the layers that normalise and activate the map. There may be none."""
        result: list[keras.Layer] = []
        if self.normalization is not None:
            axis = -1 if self.data_format == "channels_last" else 1
            result += [NORMALIZATIONS[self.normalization](axis=axis, name=f"{self.name}_norm")]
        if self.activation is not None:
            result += [layers.Activation(self.activation, name=f"{self.name}_activation")]
        return result


@dataclass(frozen=True)
class Resampling:
    """How a stage changes the size of a map.

    Attributes:
        layers: Function that returns the layers of a stage, in order.
        ranks: Ranks in which these layers exist.
    """

    layers: Callable[[Stage], list[keras.Layer]]
    ranks: Sequence[int] = (1, 2, 3)


UPSAMPLINGS = {
    "upsample_conv": Resampling(
        lambda stage: [stage.upsample_conv(stage.size), *stage.normalization_and_activation()]
    ),
    "subpixel_conv": Resampling(
        lambda stage: [
            SUBPIXEL_CONV[stage.rank](
                stage.filters,
                stage.kernel_size,
                stage.size,
                padding="edge",
                data_format=stage.data_format,
                name=f"{stage.name}_conv",
            ),
            *stage.normalization_and_activation(),
        ]
    ),
    # The next three learn no mixing of channels, so a convolution on the small map comes first.
    "bilinear_additive": Resampling(
        lambda stage: [
            stage.upsample_conv(1, stage.filters * stage.size**stage.rank),
            BilinearAdditiveUpsampling2D(
                stage.size, data_format=stage.data_format, name=f"{stage.name}_up"
            ),
            *stage.normalization_and_activation(),
        ],
        ranks=(2,),
    ),
    "carafe": Resampling(
        lambda stage: [
            stage.upsample_conv(1),
            CARAFE2D(
                stage.size,
                compressed_channels=math.ceil(stage.filters / 4),  # the ratio of the paper
                data_format=stage.data_format,
                name=f"{stage.name}_up",
            ),
            *stage.normalization_and_activation(),
        ],
        ranks=(2,),
    ),
    "dysample": Resampling(
        lambda stage: [
            stage.upsample_conv(1),
            DySample2D(
                stage.size,
                groups=math.gcd(stage.filters, 4),
                data_format=stage.data_format,
                name=f"{stage.name}_up",
            ),
            *stage.normalization_and_activation(),
        ],
        ranks=(2,),
    ),
    "transposed": Resampling(
        lambda stage: [*stage.transposed_convolution(), *stage.normalization_and_activation()]
    ),
}

DOWNSAMPLINGS = {
    "max_pool": Resampling(
        lambda stage: [
            *stage.convolution(),
            *stage.normalization_and_activation(),
            MAX_POOL[stage.rank](
                stage.size, padding="same", data_format=stage.data_format, name=f"{stage.name}_pool"
            ),
        ]
    ),
    "strided": Resampling(
        lambda stage: [
            *stage.convolution(strides=stage.size),
            *stage.normalization_and_activation(),
        ]
    ),
    "blur_pool": Resampling(
        lambda stage: [
            *stage.convolution(),
            *stage.normalization_and_activation(),
            BLUR_POOL[stage.rank](
                stage.size, data_format=stage.data_format, name=f"{stage.name}_pool"
            ),
        ]
    ),
}
