"""`BilinearAdditiveUpsampling2D`: linear upsampling that sums channels."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_upsampling._shapes import channel_axis, check_rank
from keras_upsampling._types import DataFormat, IntPerAxis, Shape, Tensor
from keras_upsampling.layers.upsampling import Upsample


@keras.saving.register_keras_serializable(package="keras_upsampling")
class BilinearAdditiveUpsampling2D(Upsample):
    """Upsamples feature maps linearly and sums neighbouring channels, without weights.

    Use it after a convolution, to upsample without more weights and without a checkerboard:
    constants stay constant and slopes stay slopes.

    The map is upsampled as by `Upsample2D(size, interpolation="linear")`. Then every `prod(size)`
    consecutive channels are replaced by their sum, so the output has as many values as the input.
    The sum is not a mean: if the channels are alike, the output is `prod(size)` times as large.

    Args:
        size: Upsampling factor, a positive integer, or one per axis, `(height, width)`.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        **kwargs: Other arguments of `keras.Layer`, such as `name` and `dtype`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`. The channels must be
        divisible by `prod(size)`.

    Output shape:
        `(batch, size[0] * height, size[1] * width, channels / prod(size))`, or the same with the
        channels first.

    Raises:
        TypeError: If a factor is not an integer.
        ValueError: If `data_format` is unknown, a factor is below 1, the input does not have four
            axes, or its channels are not divisible by `prod(size)`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import BilinearAdditiveUpsampling2D
        >>> features = np.ones((1, 7, 7, 64))
        >>> upsampled = BilinearAdditiveUpsampling2D(2)(features)
        >>> tuple(upsampled.shape), float(upsampled[0, 0, 0, 0])
        ((1, 14, 14, 16), 4.0)

    Reference:
        Wojna et al. 2017, arXiv:1707.05847. It also sums as many channels as keep the number of
        values: four for a factor of two.
    """

    rank = 2

    def __init__(
        self, size: IntPerAxis = 2, *, data_format: DataFormat | None = None, **kwargs: Any
    ) -> None:
        super().__init__(size, interpolation="linear", data_format=data_format, **kwargs)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # raises for channels that cannot be summed

    def transform(self, inputs: Tensor) -> Tensor:
        self.compute_output_shape(inputs.shape)
        # Sums and upsampling are both linear: summing the small map first is faster.
        axis, summands = channel_axis(self.rank, self.data_format), math.prod(self.size)
        shape = ops.shape(inputs)
        grouped_shape = (*shape[:axis], shape[axis] // summands, summands, *shape[axis + 1 :])
        return super().transform(ops.sum(ops.reshape(inputs, grouped_shape), axis=axis + 1))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = check_rank(input_shape, self.rank, self.data_format)
        channels, summands = shape[channel_axis(self.rank, self.data_format)], math.prod(self.size)
        if channels is not None and channels % summands:
            raise ValueError(
                f"The input's channels must be divisible by the {summands} channels of each sum "
                f"(size={self.size}). Received an input of shape {shape} with {channels} channels. "
                f"Use a multiple of {summands}, for example by a 1x1 convolution before the layer."
            )
        return super().compute_output_shape(shape)

    def output_channels(self, channels: int | None) -> int | None:
        return None if channels is None else channels // math.prod(self.size)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["interpolation"]  # always linear, not an argument
        return config
