"""`CARAFE2D`: upsampling by weights that depend on the content."""

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
    """Upsamples feature maps by weighted means whose weights depend on the content (CARAFE).

    Use it where edges should stay sharp. It takes more time and memory than an interpolation.

    Every output sample is a weighted mean of the neighbourhood of the input sample in which it
    lies. Two convolutions compute the weights from the map: a 1x1 convolution compresses the
    channels, and a second convolution computes one logit per output sample and neighbour. A softmax
    turns the logits into weights that sum to one. So the layer can keep edges sharp and smooth the
    rest.

    A constant map stays the same constant, at the borders too: only neighbours inside the map have
    weights. (The authors' code also weights zeros outside, which darkens the border.) The
    convolution that computes the logits pads with zeros, as in the paper.

    Weights are computed in float32 or float64. The layer holds `prod(kernel_size)` shifted copies
    of its input in memory, each of the size of the input, not of the output.

    Args:
        size: Upsampling factor, a positive integer, or one per axis, `(height, width)`.
        kernel_size: Size of the neighbourhood in input samples: one odd integer, or
            `(height, width)`.
        encoder_kernel_size: Kernel size of the convolution that computes the logits: one integer,
            or `(height, width)`. May be even. The paper uses `kernel_size - 2`.
        compressed_channels: Number of input channels of that convolution.
        groups: Number of groups of consecutive channels. Each group has its own weights. Must
            divide the input channels.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        **kwargs: Other arguments of `keras.Layer`, such as `name` and `dtype`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`.

    Output shape:
        `(batch, size[0] * height, size[1] * width, channels)`, or the same with the channels first.

    Raises:
        TypeError: If an argument that must be an integer is not.
        ValueError: If `kernel_size` is even, a number is below 1, `data_format` is unknown, the
            number of input channels is unknown or not divisible by `groups`, the input does not
            have four axes, or its height or width is 0.

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
                "`kernel_size` must be odd: a neighbourhood is centred on a sample. Received: "
                f"kernel_size={self.kernel_size}. Use an odd number, such as 3 or 5."
            )

    def create_weights(self, channels: int) -> None:
        logits = math.prod(self.size) * self.groups * math.prod(self.kernel_size)
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
            shape=(*self.encoder_kernel_size, self.compressed_channels, logits),
            # Near zero, so that the layer starts with almost equal weights.
            initializer=keras.initializers.RandomNormal(stddev=0.001),
        )
        self.encoder_bias = self.add_weight(
            name="encoder_bias", shape=(logits,), initializer="zeros"
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
