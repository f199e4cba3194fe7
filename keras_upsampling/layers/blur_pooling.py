"""`BlurPool1D`, `BlurPool2D`, `BlurPool3D`: anti-aliased downsampling."""

from __future__ import annotations

from typing import Any

import keras

from keras_upsampling._arguments import positive_int
from keras_upsampling._types import DataFormat, IntPerAxis, Tensor
from keras_upsampling.layers.base import SpatialLayer
from keras_upsampling.maths.blur import pooled_length
from keras_upsampling.ops.blur_pooling import blur_pool


class BlurPool(SpatialLayer):
    """Blur and stride in `rank` dimensions. Subclasses set the rank."""

    def __init__(
        self,
        size: IntPerAxis = 2,
        *,
        order: int = 3,
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, data_format=data_format, **kwargs)
        self.order = positive_int(order, "order")

    def transform(self, inputs: Tensor) -> Tensor:
        return blur_pool(inputs, self.size, order=self.order, data_format=self.data_format)

    def output_length(self, length: int, i: int) -> int:
        return pooled_length(length, self.size[i])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "order": self.order}


@keras.saving.register_keras_serializable(package="keras_upsampling")
class BlurPool2D(BlurPool):
    """Downsamples feature maps by a blur and a stride, with an even gradient.

    Use it in an encoder, after a layer without strides. The gradient of a downsampling layer can
    have a checkerboard: a maximum passes the gradient to one sample of each window, and a strided
    convolution passes more of it to some samples than to others. This layer passes the same amount
    to each sample, and has no weights. Replace

    - `MaxPooling2D(2)` by `MaxPooling2D(2, strides=1, padding="same")`, then `BlurPool2D(2)`;
    - `Conv2D(..., strides=2)` by the same without strides, its activation, then `BlurPool2D(2)`;
    - `AveragePooling2D(2)` by `BlurPool2D(2)`.

    Along each axis, the filter is the convolution of `order` boxes of `size` samples, with
    `order * (size - 1) + 1` taps. For `size=2` these are Zhang's filters: `1 1`, `1 2 1`, `1 3 3 1`
    and `1 4 6 4 1` for orders 1 to 4. For other sizes, boxes keep the gradient even, and Zhang's
    binomial filters do not.

    Each output sample represents `size` input samples. Its filter is centred on them, as
    `Upsample2D` and `UpsampleConv2D` expect, or half a sample before if `order` and `size` are both
    even. The boundary padding is `"symmetric"`, so a constant stays constant up to the border. If
    the filter is centred and `size` divides the lengths, the gradient of a constant is constant up
    to the border too, which other paddings do not achieve. With the default arguments and even
    lengths, the layer is the transpose of `Upsample2D(2, interpolation="linear")`, divided by 4.

    Args:
        size: Downsampling factor, a positive integer, or one per axis, `(height, width)`.
        order: Number of boxes in the filter, 1 or more. 1 averages `size` samples; higher orders
            smooth more and alias less. The default is Zhang's default for `size=2`, and the lowest
            odd order above 1.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        **kwargs: Other arguments of `keras.Layer`, such as `name` and `dtype`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`.

    Output shape:
        `(batch, ceil(height / size[0]), ceil(width / size[1]), channels)`, or the same with the
        channels first.

    Raises:
        TypeError: If a factor or `order` is not an integer.
        ValueError: If `data_format` is unknown, a factor or `order` is below 1, or the input does
            not have four axes.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import BlurPool2D
        >>> features = np.ones((1, 28, 7, 16))
        >>> pooled = BlurPool2D(2)(features)
        >>> tuple(pooled.shape), float(pooled[0, 0, 0, 0])
        ((1, 14, 4, 16), 1.0)

    Reference:
        Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", arXiv:1904.11486;
        Kinoshita, Kiya 2020, "Fixed smooth convolutional layer for avoiding checkerboard artifacts
        in CNNs", arXiv:2002.02117 (boxes before strides; their order counts from 0).
    """

    rank = 2


@keras.saving.register_keras_serializable(package="keras_upsampling")
class BlurPool1D(BlurPool):
    """Downsamples signals by a blur and a stride, with an even gradient.

    `BlurPool2D` describes the filter, the arguments and the errors. `size` is one factor.

    Input shape:
        `(batch, length, channels)`, or `(batch, channels, length)` with
        `data_format="channels_first"`. The length may be `None`.

    Output shape:
        `(batch, ceil(length / size), channels)`, or the same with the channels first.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import BlurPool1D
        >>> signal = np.array([0.0, 0.0, 0.0, 8.0, 0.0]).reshape(1, 5, 1)
        >>> np.array(BlurPool1D(2)(signal)).ravel().tolist()
        [0.0, 3.0, 2.0]
    """

    rank = 1


@keras.saving.register_keras_serializable(package="keras_upsampling")
class BlurPool3D(BlurPool):
    """Downsamples volumes and clips by a blur and a stride, with an even gradient.

    `BlurPool2D` describes the filter, the arguments and the errors. `size` is one factor, or
    `(depth, height, width)`.

    Input shape:
        `(batch, depth, height, width, channels)`, or `(batch, channels, depth, height, width)` with
        `data_format="channels_first"`. Depth, height and width may be `None`.

    Output shape:
        The input shape with every spatial axis of length `ceil(length / size)`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import BlurPool3D
        >>> clip = np.zeros((1, 4, 8, 9, 3))
        >>> tuple(BlurPool3D((1, 2, 2))(clip).shape)
        (1, 4, 4, 5, 3)
    """

    rank = 3
