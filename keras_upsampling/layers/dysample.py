"""`DySample2D`."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras

from keras_upsampling._arguments import one_of
from keras_upsampling._types import DataFormat, IntPerAxis, Tensor
from keras_upsampling.layers.content_aware import ContentAware2D
from keras_upsampling.ops.dysample import STARTS, dysample


@keras.saving.register_keras_serializable(package="keras_upsampling")
class DySample2D(ContentAware2D):
    """Enlarges feature maps by reading them at positions that depend on what is in them.

    Every output pixel starts at a position on the input, and a 1x1 convolution of the input moves
    it: by a quarter of a pixel for each unit of its output. There the input is read by bilinear
    interpolation; past the border, the edge goes on. Untrained, the offsets are almost zero, and
    the layer is nearly the interpolation that `start` names.

    All phases of a constant map are that constant. Offsets are reckoned in float32 at least.

    Args:
        size: Factor for both axes, or `(height, width)`. Positive integers.
        groups: Number of contiguous groups of channels with offsets of their own; divides the
            channels.
        start: Where the offsets start from: `"nearest"`, the middle of the input pixel that an
            output pixel lies in, or `"linear"`, the position of the output pixel itself, which
            gives linear interpolation where no offset moves it. The paper's final version starts
            from the latter.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        **kwargs: `name`, `dtype` and the like, for `keras.Layer`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`.

    Output shape:
        The same, with `size[0] * height` and `size[1] * width`.

    Raises:
        TypeError: a number that must be an integer is not.
        ValueError: unknown start or data format, a number below 1; channels that are unknown or
            not divisible by `groups`; an input that has not four axes, or no
            samples on one of height and width.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import DySample2D
        >>> features = np.zeros((1, 7, 7, 16))
        >>> tuple(DySample2D(2)(features).shape)
        (1, 14, 14, 16)

    Reference:
        Liu, Lu, Fu, Cao 2023, "Learning to Upsample by Learning to Sample", arXiv:2308.15085.
    """

    def __init__(
        self,
        size: IntPerAxis = 2,
        groups: int = 4,
        *,
        start: Literal["nearest", "linear"] = "nearest",
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, groups, data_format, **kwargs)
        self.start = one_of(start, tuple(STARTS), "start")

    def make_weights(self, channels: int) -> None:
        offsets = 2 * self.groups * math.prod(self.size)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(1, 1, channels, offsets),
            initializer=keras.initializers.RandomNormal(stddev=0.001),
        )
        self.bias = self.add_weight(name="bias", shape=(offsets,), initializer="zeros")

    def transform(self, inputs: Tensor) -> Tensor:
        return dysample(
            inputs,
            self.kernel,
            self.bias,
            self.size,
            self.groups,
            self.start,
            self.data_format,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}
