"""`CARAFE2D`."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_upsampling._arguments import positive_int, positive_ints
from keras_upsampling._types import DataFormat, IntPerAxis, Tensor
from keras_upsampling.layers.content_aware import ContentAware2D
from keras_upsampling.ops.carafe import carafe


@keras.saving.register_keras_serializable(package="keras_upsampling")
class CARAFE2D(ContentAware2D):
    """Enlarges feature maps by means whose weights depend on what is in them.

    Every output pixel is a weighted mean of the neighbourhood of the input pixel that it lies in.
    Two convolutions read the weights from the map: one of 1x1 makes fewer channels of it, the
    other logits for each output pixel, and a softmax turns these into weights that sum to one. So
    edges may stay sharp where there are some, and the rest be smoothed.

    A constant map stays the same constant, at the borders too: of a neighbourhood that reaches
    past the map, only the part inside gets weights. (The paper's own code gives weights to zeros
    outside, which darkens the border.) The convolution that predicts the logits pads by zeros, as
    in the paper.

    Weights are made in float32 at least. In between, the layer holds `prod(kernel_size)` shifted
    copies of its input, of the input's size, not the output's.

    Args:
        size: Factor for both axes, or `(height, width)`. Positive integers.
        kernel_size: Of the neighbourhood, in input pixels: one odd integer, or `(height, width)`.
        encoder_kernel_size: Of the convolution that predicts the logits, likewise, but it may be
            even. The paper takes two less than `kernel_size`.
        compressed_channels: How many channels that convolution sees.
        groups: Number of contiguous groups of channels with weights of their own; divides the
            channels.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        **kwargs: `name`, `dtype` and the like, for `keras.Layer`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`.

    Output shape:
        The same, with `size[0] * height` and `size[1] * width`.

    Raises:
        TypeError: a number that must be an integer is not.
        ValueError: an even `kernel_size`, a number below 1, an unknown data format; channels that
            are unknown or not divisible by `groups`; an input that has not four axes, or no
            samples on one of height and width.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import CARAFE2D
        >>> features = np.zeros((1, 7, 7, 16))
        >>> tuple(CARAFE2D(2)(features).shape)
        (1, 14, 14, 16)

    Reference:
        Wang, Chen, Xu, Liu, Loy, Lin 2019, "CARAFE: Content-Aware ReAssembly of FEatures",
        arXiv:1905.02188.
    """

    def __init__(
        self,
        size: IntPerAxis = 2,
        kernel_size: IntPerAxis = 5,
        encoder_kernel_size: IntPerAxis = 3,
        compressed_channels: int = 64,
        groups: int = 1,
        *,
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, groups, data_format, **kwargs)
        self.kernel_size = positive_ints(kernel_size, 2, "kernel_size")
        self.encoder_kernel_size = positive_ints(encoder_kernel_size, 2, "encoder_kernel_size")
        self.compressed_channels = positive_int(compressed_channels, "compressed_channels")
        if not all(taps % 2 for taps in self.kernel_size):
            raise ValueError(
                "`kernel_size` must be odd, for the neighbourhood of a pixel has that pixel in its "
                f"middle. Received: kernel_size={self.kernel_size}; use 3 or 5, for example."
            )

    def make_weights(self, channels: int) -> None:
        weights = math.prod(self.size) * self.groups * math.prod(self.kernel_size)
        self.compressor_kernel = self.add_weight(
            name="compressor_kernel",
            shape=(1, 1, channels, self.compressed_channels),
            initializer="glorot_uniform",
        )
        self.compressor_bias = self.add_weight(
            name="compressor_bias", shape=(self.compressed_channels,), initializer="zeros"
        )
        self.encoder_kernel = self.add_weight(
            name="encoder_kernel",
            shape=(*self.encoder_kernel_size, self.compressed_channels, weights),
            # All weights begin nearly equal.
            initializer=keras.initializers.RandomNormal(stddev=0.001),
        )
        self.encoder_bias = self.add_weight(
            name="encoder_bias", shape=(weights,), initializer="zeros"
        )

    def transform(self, inputs: Tensor) -> Tensor:
        return carafe(
            inputs,
            (self.compressor_kernel, self.compressor_bias),
            (self.encoder_kernel, self.encoder_bias),
            self.size,
            self.kernel_size,
            self.groups,
            self.data_format,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "encoder_kernel_size": self.encoder_kernel_size,
            "compressed_channels": self.compressed_channels,
        }
