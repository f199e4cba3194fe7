"""`SubpixelConv1D`, `SubpixelConv2D`, `SubpixelConv3D`: sub-pixel convolutions."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_upsampling._arguments import positive_ints
from keras_upsampling._types import DataFormat, IntPerAxis, PaddingName, Tensor
from keras_upsampling.initializers import ICNR
from keras_upsampling.layers.convolution import SpatialConv
from keras_upsampling.maths.padding import convolved_length
from keras_upsampling.ops.subpixel_convolution import subpixel_conv


class SubpixelConv(SpatialConv):
    """Sub-pixel convolution in `rank` dimensions. Subclasses set the rank."""

    def __init__(
        self,
        filters: int,
        kernel_size: IntPerAxis,
        size: IntPerAxis = 2,
        *,
        padding: PaddingName = "same",
        data_format: DataFormat | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        size = positive_ints(size, self.rank, "size")
        if kernel_initializer is None:
            kernel_initializer = ICNR("glorot_uniform", size)
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
        for name in ("kernel_initializer", "bias_initializer"):
            self._check_phases(getattr(self, name), name)

    def _check_phases(self, initializer: Any, name: str) -> None:
        """Raise for an `ICNR` of another `size`: the layer would start with a checkerboard."""
        if not isinstance(initializer, ICNR):
            return
        if positive_ints(initializer.size, self.rank, f"{name}.size") != self.size:
            raise ValueError(
                f"`{name}` must be an ICNR with the `size` of the layer. Received: "
                f"size={self.size}, {name}=ICNR(..., size={initializer.size}). Pass "
                f"size={self.size} to ICNR."
            )

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel_size, channels, math.prod(self.size) * self.filters)

    def convolve(self, inputs: Tensor) -> Tensor:
        return subpixel_conv(
            inputs,
            self.kernel,
            self.size,
            bias=self.bias,
            padding=self.padding,
            data_format=self.data_format,
        )

    def output_length(self, length: int, i: int) -> int:
        phase_length = convolved_length(length, self.kernel_size[i], self.padding, map_name="input")
        return phase_length * self.size[i]


@keras.saving.register_keras_serializable(package="keras_upsampling")
class SubpixelConv2D(SubpixelConv):
    """Convolves feature maps to all phases of an upsampled map, and interleaves the phases.

    A convolution to `prod(size) * filters` channels, followed by depth to space: each phase of the
    output has its own kernel, and all phases read the same patch of the input. Use it where a
    design asks for a sub-pixel convolution. In a new model prefer `UpsampleConv2D`: it has fewer
    weights and keeps constants constant.

    The layer starts without a checkerboard (`initializers.ICNR`). Training may introduce one,
    because the kernels of the phases are trained separately. To keep constants constant, pass
    `constraints.CheckerboardFree(size, subpixel=True)` as `kernel_constraint` and, with one size
    per axis, as `bias_constraint`.

    Args:
        filters: Number of output channels.
        kernel_size: Size of the kernel, applied to the input: one integer, or `(height, width)`.
        size: Upsampling factor, a positive integer, or one per axis, `(height, width)`.
        padding: Boundary padding of the input. `"same"` (zeros) and `"valid"` (none) as in Keras,
            or `"reflect"`, `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`, which leave no
            rim of zeros at the borders.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        activation: Activation of the output. This argument and those below are as in
            `keras.layers.Conv2D`.
        use_bias: Whether to add a bias, one number for each phase of each filter.
        kernel_initializer: Initializer of `kernel`, `(*kernel_size, channels, prod(size) *
            filters)`. The last axis is ordered by phase, then by filter, in both data formats.
            Default: `initializers.ICNR("glorot_uniform", size)`.
        bias_initializer: Initializer of `bias`, `(prod(size) * filters,)`.
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
        With `padding="valid"`, height and width are shorter by `kernel_size - 1` before they are
        multiplied.

    Raises:
        TypeError: If an argument that must be an integer is not.
        ValueError: If `padding` or `data_format` is unknown, a number is below 1, an initializer is
            an `ICNR` of another `size`, the number of input channels is unknown, the input does not
            have four axes, or the map is too small for the kernel (`"valid"`) or for its reflection
            (`"reflect"`).

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import SubpixelConv2D, audit_kernel
        >>> layer = SubpixelConv2D(32, 3, activation="relu")
        >>> tuple(layer(np.zeros((1, 7, 7, 64))).shape)
        (1, 14, 14, 32)
        >>> audit_kernel(layer).gain < 1e-6  # before training
        True

    Reference:
        Shi et al. 2016, arXiv:1609.05158 (sub-pixel convolution);
        Aitken et al. 2017, arXiv:1707.02937 (its initialization).
    """

    rank = 2


@keras.saving.register_keras_serializable(package="keras_upsampling")
class SubpixelConv1D(SubpixelConv):
    """Convolves signals to all phases of an upsampled signal, and interleaves the phases.

    `SubpixelConv2D` describes the arguments and the errors.

    Input shape:
        `(batch, length, channels)`, or `(batch, channels, length)` with
        `data_format="channels_first"`. The length may be `None`.

    Output shape:
        `(batch, size * length, filters)`, or the same with the channels first. Shorter with
        `padding="valid"`, as in `SubpixelConv2D`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import SubpixelConv1D
        >>> signal = np.zeros((1, 50, 16))
        >>> tuple(SubpixelConv1D(8, 5, size=4)(signal).shape)
        (1, 200, 8)
    """

    rank = 1


@keras.saving.register_keras_serializable(package="keras_upsampling")
class SubpixelConv3D(SubpixelConv):
    """Convolves volumes to all phases of an upsampled volume, and interleaves the phases.

    `SubpixelConv2D` describes the arguments and the errors.

    Input shape:
        `(batch, depth, height, width, channels)`, or `(batch, channels, depth, height, width)` with
        `data_format="channels_first"`. Depth, height and width may be `None`.

    Output shape:
        The input shape with `filters` channels and every spatial axis `size` times as long. Shorter
        with `padding="valid"`, as in `SubpixelConv2D`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import SubpixelConv3D
        >>> volume = np.zeros((1, 4, 6, 6, 8))
        >>> tuple(SubpixelConv3D(4, 3, size=(1, 2, 2))(volume).shape)
        (1, 4, 12, 12, 4)
    """

    rank = 3
