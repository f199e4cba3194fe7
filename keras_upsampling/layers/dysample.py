"""`DySample2D`: upsampling by positions that depend on the content."""

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
    """Upsamples feature maps by reading them at positions that depend on the content (DySample).

    Use it where edges should stay sharp, with far fewer weights than `CARAFE2D`. It takes more time
    than an interpolation.

    Every output sample starts at a position on the input. A 1x1 convolution of the input computes
    an offset, in units of a quarter of a sample, and bilinear interpolation reads the input at the
    shifted position. Outside the map, the border samples are repeated. Before training the offsets
    are almost zero, so the layer is almost the interpolation that `start` names.

    A constant map stays the same constant. Offsets are computed in float32 or float64.

    Args:
        size: Upsampling factor, a positive integer, or one per axis, `(height, width)`.
        groups: Number of groups of consecutive channels. Each group has its own offsets. Must
            divide the input channels.
        start: Position without an offset: `"nearest"`, the centre of the input sample in which the
            output sample lies, or `"linear"`, the position of the output sample itself, which makes
            the layer start as linear interpolation. The final version in the paper uses `"linear"`.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        **kwargs: Other arguments of `keras.Layer`, such as `name` and `dtype`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`.

    Output shape:
        `(batch, size[0] * height, size[1] * width, channels)`, or the same with the channels first.

    Raises:
        TypeError: If an argument that must be an integer is not.
        ValueError: If `start` or `data_format` is unknown, a number is below 1, the number of input
            channels is unknown or not divisible by `groups`, the input does not have four axes, or
            its height or width is 0.

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

    def create_weights(self, channels: int) -> None:
        offset_count = 2 * self.groups * math.prod(self.size)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(1, 1, channels, offset_count),
            initializer=keras.initializers.RandomNormal(stddev=0.001),
        )
        self.bias = self.add_weight(name="bias", shape=(offset_count,), initializer="zeros")

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
