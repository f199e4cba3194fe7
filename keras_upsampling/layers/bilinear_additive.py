"""`BilinearAdditiveUpsampling2D`."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_upsampling._shapes import channel_axis
from keras_upsampling._types import DataFormat, IntPerAxis, Shape, Tensor
from keras_upsampling.layers.upsampling import Upsample


@keras.saving.register_keras_serializable(package="keras_upsampling")
class BilinearAdditiveUpsampling2D(Upsample):
    """Enlarges feature maps linearly, and adds neighbouring channels up. No weights.

    The map is enlarged by linear interpolation, as by `Upsample2D(size, interpolation="linear")`;
    then every `prod(size)` consecutive channels make one, their sum. So as many numbers come out as
    go in. It is a sum and not a mean: where the channels are alike, what comes out is `prod(size)`
    times as large. Neither constants nor slopes get a checkerboard.

    Args:
        size: Factor for both axes, or `(height, width)`. Positive integers.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        **kwargs: `name`, `dtype` and the like, for `keras.Layer`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`. Channels are divisible by
        `prod(size)`.

    Output shape:
        The same, with `size[0] * height`, `size[1] * width` and `channels / prod(size)` channels.

    Raises:
        TypeError: a factor is not an integer.
        ValueError: unknown data format, a factor below 1, an input that has not four axes, or
            channels that are not divisible by `prod(size)`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import BilinearAdditiveUpsampling2D
        >>> features = np.ones((1, 7, 7, 64))
        >>> enlarged = BilinearAdditiveUpsampling2D(2)(features)
        >>> tuple(enlarged.shape), float(enlarged[0, 0, 0, 0])
        ((1, 14, 14, 16), 4.0)

    Reference:
        Wojna et al. 2017, arXiv:1707.05847, where as many channels are added as keep the count of
        numbers: four for a factor of two.
    """

    rank = 2

    def __init__(
        self, size: IntPerAxis = 2, *, data_format: DataFormat | None = None, **kwargs: Any
    ) -> None:
        super().__init__(size, interpolation="linear", data_format=data_format, **kwargs)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # refuses channels that cannot be added up

    def transform(self, inputs: Tensor) -> Tensor:
        self.compute_output_shape(inputs.shape)
        # To enlarge is linear, so the sums can be made first, of maps that are still small.
        axis, added = channel_axis(self.rank, self.data_format), math.prod(self.size)
        shape = ops.shape(inputs)
        groups = (*shape[:axis], shape[axis] // added, added, *shape[axis + 1 :])
        return super().transform(ops.sum(ops.reshape(inputs, groups), axis=axis + 1))

    def output_channels(self, channels: int | None) -> int | None:
        added = math.prod(self.size)
        if channels is None:
            return None
        if channels % added:
            raise ValueError(
                f"The input's channels must be divisible by the {added} of them that are added up "
                f"for size={self.size}. Received an input with {channels} channels."
            )
        return channels // added

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["interpolation"]  # which is no choice here
        return config
