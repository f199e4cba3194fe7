"""`Upsample1D`, `Upsample2D`, `Upsample3D`: upsampling by interpolation."""

from __future__ import annotations

from typing import Any

import keras

from keras_upsampling._arguments import interpolation_name
from keras_upsampling._types import DataFormat, InterpolationName, IntPerAxis, Tensor
from keras_upsampling.layers.base import SpatialLayer
from keras_upsampling.ops.resampling import resample


class Upsample(SpatialLayer):
    """Upsampling in `rank` dimensions. Subclasses set the rank."""

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
        # Nearest only copies, so label maps stay integers. The other interpolations average.
        if self.interpolation == "nearest" and not keras.backend.is_float_dtype(dtype):
            return dtype
        return self.compute_dtype

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "interpolation": self.interpolation}


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Upsample2D(Upsample):
    """Upsamples images and feature maps by integer factors.

    Use it to upsample without weights: a skip connection, a segmentation map or an image. To
    upsample and convolve, use `UpsampleConv2D`.

    It works like `keras.layers.UpSampling2D`, with three differences: all backends return the same
    values (those of Keras on JAX), every interpolation can be trained under `jit_compile=True`, and
    `Upsample1D` and `Upsample3D` have the same interpolations.

    Samples lie at half-pixel centres. At the borders, taps outside the map are dropped and the
    remaining taps are scaled to sum to one, so constants stay constant. Inputs must be finite:
    except with nearest, a NaN or an infinity may spread along its row and column.

    Args:
        size: Upsampling factor, a positive integer, or one per axis, `(height, width)`.
        interpolation: `"nearest"`, `"linear"`, `"cubic"` (Keys, a = -0.5), `"lanczos3"` or
            `"lanczos5"`. `"bilinear"` and `"bicubic"` are accepted for `"linear"` and `"cubic"`.
            Nearest keeps integer dtypes, but turns slopes into steps. Use `"linear"` for smooth
            content unless a trained convolution after the layer can smooth the steps.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        **kwargs: Other arguments of `keras.Layer`, such as `name` and `dtype`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`. Height and width may be `None`.

    Output shape:
        `(batch, size[0] * height, size[1] * width, channels)`, or the same with the channels first.

    Raises:
        TypeError: If a factor is not an integer.
        ValueError: If `interpolation` or `data_format` is unknown, a factor is below 1, or the
            input does not have four axes.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import Upsample2D
        >>> image = np.array([[0.0, 0.5], [1.0, 1.5]]).reshape(1, 2, 2, 1)
        >>> upsampled = Upsample2D(32, interpolation="linear")(image)
        >>> tuple(upsampled.shape)
        (1, 64, 64, 1)

    Reference:
        Keys 1981, "Cubic convolution interpolation for digital image processing";
        Duchon 1979, "Lanczos filtering in one and two dimensions".
    """

    rank = 2


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Upsample1D(Upsample):
    """Upsamples signals and sequences by an integer factor.

    `Upsample2D` describes the arguments, the borders and the errors. `size` is one factor.

    Input shape:
        `(batch, length, channels)`, or `(batch, channels, length)` with
        `data_format="channels_first"`. The length may be `None`.

    Output shape:
        `(batch, size * length, channels)`, or the same with the channels first.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import Upsample1D
        >>> signal = np.array([0.0, 4.0]).reshape(1, 2, 1)
        >>> upsampled = Upsample1D(2, interpolation="linear")(signal)
        >>> np.array(upsampled).ravel().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """

    rank = 1


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Upsample3D(Upsample):
    """Upsamples volumes and clips by integer factors.

    `Upsample2D` describes the arguments, the borders and the errors. `size` is one factor, or
    `(depth, height, width)`. `"trilinear"` is accepted for `"linear"`.

    Input shape:
        `(batch, depth, height, width, channels)`, or `(batch, channels, depth, height, width)` with
        `data_format="channels_first"`. Depth, height and width may be `None`.

    Output shape:
        The input shape with every spatial axis `size` times as long.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import Upsample3D
        >>> clip = np.zeros((1, 4, 8, 8, 3))
        >>> tuple(Upsample3D((1, 2, 2), interpolation="linear")(clip).shape)
        (1, 4, 16, 16, 3)
    """

    rank = 3
