"""`Upsample1D`, `Upsample2D`, `Upsample3D`."""

from __future__ import annotations

from typing import Any

import keras

from keras_upsampling._arguments import interpolation_name
from keras_upsampling._types import DataFormat, InterpolationName, IntPerAxis, Tensor
from keras_upsampling.layers.base import SpatialLayer
from keras_upsampling.ops.resampling import resample


class Upsample(SpatialLayer):
    """Upsampling in `rank` dimensions; the subclasses fix the rank."""

    def __init__(
        self,
        size: IntPerAxis = 2,
        *,
        interpolation: InterpolationName = "nearest",
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, data_format=data_format, **kwargs)
        self.interpolation = interpolation_name(interpolation, self.rank)

    def transform(self, inputs: Tensor) -> Tensor:
        return resample(
            inputs, self.size, interpolation=self.interpolation, data_format=self.data_format
        )

    def output_dtype(self, dtype: str) -> str:
        # Nearest only copies, so label maps stay integers; the others average.
        if self.interpolation == "nearest" and not keras.backend.is_float_dtype(dtype):
            return dtype
        return self.compute_dtype

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "interpolation": self.interpolation}


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Upsample2D(Upsample):
    """Enlarges images and feature maps by whole factors.

    `keras.layers.UpSampling2D` with the same numbers on every backend (those it gives on
    JAX), every interpolation trainable under `jit_compile=True`, and `Upsample1D` and
    `Upsample3D` beside it that know the same interpolations.

    Sampling positions are half-pixel centres. At the borders, taps outside the map are
    dropped and the others scaled to sum to one, so constants stay constant. Numbers must be
    finite: but for nearest, a NaN or an infinity may spread along its row and column.

    Args:
        size: Factor for both axes, or `(height, width)`. Positive integers.
        interpolation: `"nearest"` (keeps integer dtypes), `"linear"`, `"cubic"` (Keys,
            a = -0.5), `"lanczos3"` or `"lanczos5"`; `"bilinear"` and `"bicubic"` are
            understood as the two-dimensional names of two of them, and so is `"trilinear"` in
            three. Nearest makes steps of slopes, which stay where no trained convolution comes
            after it: take linear there.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        **kwargs: `name`, `dtype` and the like, for `keras.Layer`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`.

    Output shape:
        The same, with `size[0] * height` and `size[1] * width`.

    Raises:
        TypeError: a factor is not an integer.
        ValueError: unknown interpolation or data format, a factor below 1, or an input
            that has not four axes.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import Upsample2D
        >>> image = np.array([[0.0, 0.5], [1.0, 1.5]]).reshape(1, 2, 2, 1)
        >>> enlarged = Upsample2D(32, interpolation="linear")(image)
        >>> tuple(enlarged.shape)
        (1, 64, 64, 1)

    Reference:
        Keys 1981, "Cubic convolution interpolation for digital image processing";
        Duchon 1979, "Lanczos filtering in one and two dimensions".
    """

    rank = 2


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Upsample1D(Upsample):
    """Enlarges signals and sequences by a whole factor; otherwise as `Upsample2D`.

    Takes `(batch, length, channels)`, or `(batch, channels, length)` with
    `data_format="channels_first"`; gives the same with `size * length`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import Upsample1D
        >>> signal = np.array([0.0, 4.0]).reshape(1, 2, 1)
        >>> enlarged = Upsample1D(2, interpolation="linear")(signal)
        >>> np.array(enlarged).ravel().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """

    rank = 1


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Upsample3D(Upsample):
    """Enlarges volumes and clips by whole factors; otherwise as `Upsample2D`.

    Takes `(batch, depth, height, width, channels)`, or `(batch, channels, depth, height,
    width)` with `data_format="channels_first"`; gives the same with every spatial axis
    `size` times as long. `size` is one factor or `(depth, height, width)`; `"trilinear"` is
    understood for `"linear"`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import Upsample3D
        >>> clip = np.zeros((1, 4, 8, 8, 3))
        >>> tuple(Upsample3D((1, 2, 2), interpolation="linear")(clip).shape)
        (1, 4, 16, 16, 3)
    """

    rank = 3
