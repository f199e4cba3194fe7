"""`BlurPool1D`, `BlurPool2D`, `BlurPool3D`."""

from __future__ import annotations

from typing import Any

import keras

from keras_upsampling._arguments import positive_int
from keras_upsampling._types import DataFormat, IntPerAxis, Tensor
from keras_upsampling.layers.base import SpatialLayer
from keras_upsampling.maths.blur import pooled_length
from keras_upsampling.ops.blur_pooling import blur_pool


class BlurPool(SpatialLayer):
    """Blurring and striding in `rank` dimensions; the subclasses fix the rank."""

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
    """Makes feature maps smaller by a blur and a stride: the encoder's step with an even gradient.

    The gradient of a layer that makes maps smaller is enlarged, and so may have a checkerboard: a
    maximum hands it to one sample of each window, a strided convolution more of it to some samples
    than to others. Behind this layer, which has no weights, every sample gets as much as its
    neighbours. So, in the place of

    - `MaxPooling2D(2)`: `MaxPooling2D(2, strides=1, padding="same")`, then `BlurPool2D(2)`;
    - `Conv2D(..., strides=2)`: the same without strides, its activation, then `BlurPool2D(2)`;
    - `AveragePooling2D(2)`: `BlurPool2D(2)`.

    The filter is `order` boxes of `size` samples, convolved with each other along each axis. For
    a size of 2 that makes Zhang's filters, `1 1`, `1 2 1`, `1 3 3 1` and `1 4 6 4 1` for orders 1
    to 4. For other sizes his binomials would leave the gradient uneven, and boxes do not: their
    filters have `order * (size - 1) + 1` taps, and few other lengths are possible, which is why
    the argument is not a `kernel_size`.

    Each output stands for `size` samples, and the middle of its filter lies in their middle: where
    `Upsample2D` and `UpsampleConv2D` take it to be. With an even `order` and an even `size` it lies
    half a sample before that. Outside the map stands the map mirrored, its last sample repeated
    (`"symmetric"`), so a constant stays constant up to the border. If `size` also divides the
    lengths and the filter lies in the middle, the gradient of a constant is constant up to the
    border too, which other paddings do not give. By default, on even lengths, the layer is the
    transpose of `Upsample2D(2, interpolation="linear")`, over 4.

    Args:
        size: Factor for both axes, or `(height, width)`. Positive integers.
        order: How many boxes the filter is made of, 1 or more: 1 is the average of `size` samples,
            more of them smooth more and alias less. 3 is the least odd number above that, and at a
            size of 2 the filter that Zhang's own layer takes if nothing is said.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        **kwargs: `name`, `dtype` and the like, for `keras.Layer`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`.

    Output shape:
        The same, with `ceil(height / size[0])` and `ceil(width / size[1])`.

    Raises:
        TypeError: a factor or the order is not an integer.
        ValueError: unknown data format, a factor or an order below 1, or an input that has not
            four axes.

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
    """Makes signals shorter by a blur and a stride; otherwise as `BlurPool2D`.

    Takes `(batch, length, channels)`, or `(batch, channels, length)` with
    `data_format="channels_first"`; gives the same with `ceil(length / size)`.

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
    """Makes volumes and clips smaller by a blur and a stride; otherwise as `BlurPool2D`.

    Takes `(batch, depth, height, width, channels)`, or `(batch, channels, depth, height,
    width)` with `data_format="channels_first"`; gives the same with every spatial axis
    `ceil(length / size)`. `size` is one factor or `(depth, height, width)`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import BlurPool3D
        >>> clip = np.zeros((1, 4, 8, 9, 3))
        >>> tuple(BlurPool3D((1, 2, 2))(clip).shape)
        (1, 4, 4, 5, 3)
    """

    rank = 3
