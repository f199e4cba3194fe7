"""`UpsampleConv1D`, `UpsampleConv2D`, `UpsampleConv3D`."""

from __future__ import annotations

from typing import Any

import keras

from keras_upsampling._arguments import interpolation_name, positive_int, positive_ints
from keras_upsampling._types import (
    DataFormat,
    InterpolationName,
    IntPerAxis,
    PaddingName,
    Tensor,
)
from keras_upsampling.layers.convolution import SpatialConv
from keras_upsampling.maths.padding import convolved_length, kernel_extent
from keras_upsampling.ops.upsample_convolution import upsample_conv


class UpsampleConv(SpatialConv):
    """Upsampling and convolving in `rank` dimensions; the subclasses fix the rank."""

    def __init__(
        self,
        filters: int,
        kernel_size: IntPerAxis,
        size: IntPerAxis = 2,
        *,
        interpolation: InterpolationName = "nearest",
        padding: PaddingName = "same",
        data_format: DataFormat | None = None,
        dilation_rate: IntPerAxis = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            size,
            padding=padding,
            data_format=data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.interpolation = interpolation_name(interpolation, self.rank)
        self.dilation_rate = positive_ints(dilation_rate, self.rank, "dilation_rate")
        self.groups = positive_int(groups, "groups")
        if self.filters % self.groups:
            raise ValueError(
                "`filters` must be divisible by `groups`. "
                f"Received: filters={self.filters}, groups={self.groups}."
            )

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        if channels % self.groups:
            raise ValueError(
                "The input's channels must be divisible by `groups`. Received an input of "
                f"{channels} channels, and groups={self.groups}."
            )
        return (*self.kernel_size, channels // self.groups, self.filters)

    def convolved(self, inputs: Tensor) -> Tensor:
        return upsample_conv(
            inputs,
            self.kernel,
            self.size,
            bias=self.bias,
            interpolation=self.interpolation,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )

    def output_length(self, length: int, i: int) -> int:
        extent = kernel_extent(self.kernel_size[i], self.dilation_rate[i])
        return convolved_length(length * self.size[i], extent, self.padding)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "interpolation": self.interpolation,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
        }


@keras.saving.register_keras_serializable(package="keras_upsampling")
class UpsampleConv2D(UpsampleConv):
    """Enlarges feature maps and convolves them: the decoder block without checkerboards.

    Equal to `Upsample2D(size, interpolation=interpolation)` followed by
    `keras.layers.Conv2D(filters, kernel_size, padding=padding)` with the same weights (mind that
    `Conv2D` is `"valid"` by default). `kernel` and `bias` have that layer's names, shapes and
    order, so `get_weights` and `set_weights` of the layer carry over both ways. (Those of a whole
    model go by the order of its layers, which may be another one with this layer in the place of
    two: go layer by layer, by name.) Where that should be quicker (on a CPU, in float32), both
    are done in one step, without the enlarged map in between.

    Args:
        filters: Number of output channels.
        kernel_size: Of the convolution on the enlarged map: one integer, or `(height, width)`.
        size: Factor for both axes, or `(height, width)`. Positive integers.
        interpolation: `"nearest"`, `"linear"`, `"cubic"`, `"lanczos3"` or `"lanczos5"`;
            `"bilinear"` and `"bicubic"` are understood, see `Upsample2D`. Nearest is the better
            start: the convolution learns to smooth its steps where the task asks for it.
        padding: Of the enlarged map. `"same"` (zeros) and `"valid"` (none) as in Keras;
            `"reflect"`, `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`, for borders
            without a rim of zeros. All but `"valid"` keep the enlarged map's size.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        dilation_rate: Step between the kernel's taps on the enlarged map.
        groups: Number of groups the channels are split into; divides them and `filters`.
        activation: As in `keras.layers.Conv2D`; likewise the arguments below.
        use_bias: Whether to add a bias.
        kernel_initializer: Of `kernel`, `(*kernel_size, channels // groups, filters)`.
        bias_initializer: Of `bias`, `(filters,)`.
        kernel_regularizer: Penalty on the kernel.
        bias_regularizer: Penalty on the bias.
        activity_regularizer: Penalty on the output.
        kernel_constraint: Projection of the kernel after each training step.
        bias_constraint: Projection of the bias after each training step.
        **kwargs: `name`, `dtype` and the like, for `keras.Layer`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`.

    Output shape:
        The same, with `filters` channels, `size[0] * height` and `size[1] * width`; under
        `"valid"` less `(kernel_size - 1) * dilation_rate`.

    Raises:
        TypeError: a number that must be an integer is not.
        ValueError: unknown interpolation, padding or data format; a number below 1; `filters`
            or channels not divisible by `groups`; channels unknown; an input that has not four
            axes; a map too small for the kernel (`"valid"`) or for its reflection.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import UpsampleConv2D
        >>> features = np.zeros((1, 7, 7, 64))
        >>> layer = UpsampleConv2D(32, 3, activation="relu")
        >>> tuple(layer(features).shape)
        (1, 14, 14, 32)

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill.
    """

    rank = 2


@keras.saving.register_keras_serializable(package="keras_upsampling")
class UpsampleConv1D(UpsampleConv):
    """Enlarges signals and convolves them; otherwise as `UpsampleConv2D`.

    Takes `(batch, length, channels)`, or `(batch, channels, length)` with
    `data_format="channels_first"`; gives `size * length` samples of `filters` channels.
    Equal to `Upsample1D` followed by `keras.layers.Conv1D`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import UpsampleConv1D
        >>> signal = np.zeros((1, 50, 16))
        >>> tuple(UpsampleConv1D(8, 5, size=4)(signal).shape)
        (1, 200, 8)
    """

    rank = 1


@keras.saving.register_keras_serializable(package="keras_upsampling")
class UpsampleConv3D(UpsampleConv):
    """Enlarges volumes and convolves them; otherwise as `UpsampleConv2D`.

    Takes `(batch, depth, height, width, channels)`, or `(batch, channels, depth, height,
    width)` with `data_format="channels_first"`; gives `filters` channels, every spatial axis
    `size` times as long. Equal to `Upsample3D` followed by `keras.layers.Conv3D`. `"trilinear"`
    is understood for `"linear"`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import UpsampleConv3D
        >>> volume = np.zeros((1, 4, 6, 6, 8))
        >>> tuple(UpsampleConv3D(4, 3, size=(1, 2, 2))(volume).shape)
        (1, 4, 12, 12, 4)
    """

    rank = 3
