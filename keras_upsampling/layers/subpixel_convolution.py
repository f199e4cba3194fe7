"""`SubpixelConv1D`, `SubpixelConv2D`, `SubpixelConv3D`."""

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
    """Sub-pixel convolution in `rank` dimensions; the subclasses fix the rank."""

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
        """Refuse an `ICNR` of other phases, which could start a checkerboard unseen."""
        if not isinstance(initializer, ICNR):
            return
        if positive_ints(initializer.size, self.rank, f"{name}.size") != self.size:
            raise ValueError(
                f"`{name}` must tie the phases that the layer has. Received: size={self.size} "
                f"and {name}=ICNR(..., size={initializer.size}); give ICNR size={self.size}."
            )

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel_size, channels, math.prod(self.size) * self.filters)

    def convolved(self, inputs: Tensor) -> Tensor:
        return subpixel_conv(
            inputs,
            self.kernel,
            self.size,
            bias=self.bias,
            padding=self.padding,
            data_format=self.data_format,
        )

    def output_length(self, length: int, i: int) -> int:
        convolved = convolved_length(length, self.kernel_size[i], self.padding, map_name="input")
        return convolved * self.size[i]


@keras.saving.register_keras_serializable(package="keras_upsampling")
class SubpixelConv2D(SubpixelConv):
    """Convolves feature maps to all phases of an enlarged map, and puts them together.

    A convolution to `prod(size) * filters` channels, then depth to space: every output sample of a
    block of `size` has a kernel of its own on the same patch of the input. It starts without a
    checkerboard (`ICNR`), and may learn one: while it trains, the phases come apart. With
    `constraints.CheckerboardFree(size, subpixel=True)` as `kernel_constraint` and, with one size
    per axis, as `bias_constraint`, constants stay constant. In a new model, `UpsampleConv2D` has
    that to begin with, and fewer weights.

    Args:
        filters: Number of output channels.
        kernel_size: Of the convolution on the small map: one integer, or `(height, width)`.
        size: Factor for both axes, or `(height, width)`. Positive integers.
        padding: Of the small map. `"same"` (zeros) and `"valid"` (none) as in Keras; `"reflect"`,
            `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`, for borders without a rim of
            zeros.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        activation: Of the enlarged map, as in `keras.layers.Conv2D`; likewise the arguments below.
        use_bias: Whether to add a bias, one number for each phase of each filter.
        kernel_initializer: Of `kernel`, `(*kernel_size, channels, prod(size) * filters)`; None for
            `initializers.ICNR("glorot_uniform", size)`. The channels are phases, each of all
            filters, in both data formats.
        bias_initializer: Of `bias`, `(prod(size) * filters,)`.
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
        `"valid"` height and width are less by `kernel_size - 1` first.

    Raises:
        TypeError: a number that must be an integer is not.
        ValueError: unknown padding or data format; a number below 1; an `ICNR` of another size;
            channels unknown; an input that has not four axes; a map too small for the kernel
            (`"valid"`) or for its reflection.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import SubpixelConv2D, audit_kernel
        >>> layer = SubpixelConv2D(32, 3, activation="relu")
        >>> tuple(layer(np.zeros((1, 7, 7, 64))).shape)
        (1, 14, 14, 32)
        >>> audit_kernel(layer).gain < 1e-6  # before it is trained
        True

    Reference:
        Shi et al. 2016, arXiv:1609.05158 (the convolution);
        Aitken et al. 2017, arXiv:1707.02937 (how it starts).
    """

    rank = 2


@keras.saving.register_keras_serializable(package="keras_upsampling")
class SubpixelConv1D(SubpixelConv):
    """Convolves signals to all phases of longer ones; otherwise as `SubpixelConv2D`.

    Takes `(batch, length, channels)`, or `(batch, channels, length)` with
    `data_format="channels_first"`; gives `size * length` samples of `filters` channels.

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
    """Convolves volumes to all phases of larger ones; otherwise as `SubpixelConv2D`.

    Takes `(batch, depth, height, width, channels)`, or `(batch, channels, depth, height,
    width)` with `data_format="channels_first"`; gives `filters` channels, every spatial axis
    `size` times as long.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import SubpixelConv3D
        >>> volume = np.zeros((1, 4, 6, 6, 8))
        >>> tuple(SubpixelConv3D(4, 3, size=(1, 2, 2))(volume).shape)
        (1, 4, 12, 12, 4)
    """

    rank = 3
