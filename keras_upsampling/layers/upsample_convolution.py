"""`UpsampleConv1D`, `UpsampleConv2D`, `UpsampleConv3D`: upsampling and convolution in one."""

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
    """Upsampling and convolution in `rank` dimensions. Subclasses set the rank."""

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
                f"Received: filters={self.filters}, groups={self.groups}. Use a `groups` that "
                f"divides {self.filters}."
            )

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        if channels % self.groups:
            raise ValueError(
                "The input's channels must be divisible by `groups`. Received an input of "
                f"{channels} channels, and groups={self.groups}. Use a `groups` that divides "
                f"{channels}."
            )
        return (*self.kernel_size, channels // self.groups, self.filters)

    def convolve(self, inputs: Tensor) -> Tensor:
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
    """Upsamples feature maps and convolves them: a decoder block without checkerboards.

    Use it in a decoder in place of `keras.layers.Conv2DTranspose`.

    It equals `Upsample2D(size, interpolation=interpolation)` followed by
    `keras.layers.Conv2D(filters, kernel_size, padding=padding)` with the same weights. (The default
    `padding` of `Conv2D` is `"valid"`.) Where one step is expected to be faster (on a CPU, in
    float32), the layer never computes the upsampled map. How it is computed is chosen when a
    function is traced, and stays so: call `config.set_rates` and `config.set_preference` before a
    model is first called.

    `kernel` and `bias` have the names, shapes and order of the weights of `Conv2D`, so
    `get_weights` and `set_weights` copy them in either direction. Copy a whole model layer by
    layer, by name: the order of a model's weights may change when one layer replaces two.

    Args:
        filters: Number of output channels.
        kernel_size: Size of the kernel, applied to the upsampled map: one integer, or
            `(height, width)`.
        size: Upsampling factor, a positive integer, or one per axis, `(height, width)`.
        interpolation: `"nearest"`, `"linear"`, `"cubic"`, `"lanczos3"` or `"lanczos5"`, as in
            `Upsample2D`. Start with nearest: the convolution learns to smooth its steps where the
            task needs it.
        padding: Boundary padding of the upsampled map. `"same"` (zeros) and `"valid"` (none) as in
            Keras, or `"reflect"`, `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`, which
            leave no rim of zeros at the borders. All but `"valid"` keep the size of the upsampled
            map.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        dilation_rate: Distance between the taps of the kernel on the upsampled map: one integer, or
            `(height, width)`.
        groups: Number of groups of channels that are convolved separately. Must divide the input
            channels and `filters`.
        activation: Activation of the output. This argument and those below are as in
            `keras.layers.Conv2D`.
        use_bias: Whether to add a bias.
        kernel_initializer: Initializer of `kernel`, `(*kernel_size, channels // groups, filters)`.
        bias_initializer: Initializer of `bias`, `(filters,)`.
        kernel_regularizer: Penalty on the kernel.
        bias_regularizer: Penalty on the bias.
        activity_regularizer: Penalty on the output.
        kernel_constraint: Projection of the kernel after each training step.
        bias_constraint: Projection of the bias after each training step.
        **kwargs: Other arguments of `keras.Layer`, such as `name` and `dtype`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`.

    Output shape:
        `(batch, size[0] * height, size[1] * width, filters)`, or the same with the channels first.
        With `padding="valid"`, height and width are shorter by `(kernel_size - 1) * dilation_rate`.

    Raises:
        TypeError: If an argument that must be an integer is not.
        ValueError: If `interpolation`, `padding` or `data_format` is unknown, a number is below 1,
            `groups` does not divide `filters` or the input channels, the number of input channels
            is unknown, the input does not have four axes, or the map is too small for the kernel
            (`"valid"`) or for its reflection (`"reflect"`).

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
    """Upsamples signals and convolves them: a decoder block without checkerboards.

    It equals `Upsample1D` followed by `keras.layers.Conv1D` with the same weights. `UpsampleConv2D`
    describes the arguments and the errors.

    Input shape:
        `(batch, length, channels)`, or `(batch, channels, length)` with
        `data_format="channels_first"`. The length may be `None`.

    Output shape:
        `(batch, size * length, filters)`, or the same with the channels first. Shorter with
        `padding="valid"`, as in `UpsampleConv2D`.

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
    """Upsamples volumes and convolves them: a decoder block without checkerboards.

    It equals `Upsample3D` followed by `keras.layers.Conv3D` with the same weights. `UpsampleConv2D`
    describes the arguments and the errors. `"trilinear"` is accepted for `"linear"`.

    Input shape:
        `(batch, depth, height, width, channels)`, or `(batch, channels, depth, height, width)` with
        `data_format="channels_first"`. Depth, height and width may be `None`.

    Output shape:
        The input shape with `filters` channels and every spatial axis `size` times as long. Shorter
        with `padding="valid"`, as in `UpsampleConv2D`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import UpsampleConv3D
        >>> volume = np.zeros((1, 4, 6, 6, 8))
        >>> tuple(UpsampleConv3D(4, 3, size=(1, 2, 2))(volume).shape)
        (1, 4, 12, 12, 4)
    """

    rank = 3
