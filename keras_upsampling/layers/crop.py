"""`Crop`: the layer that cuts the maps of a decoder to a known size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_upsampling._shapes import spatial_axes
from keras_upsampling._types import Shape, Tensor
from keras_upsampling.ops.crop import keep_first


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Crop(keras.Layer):
    """Removes samples from the end of the spatial axes.

    Keras's cropping layers cannot replace it: `keras.layers.Cropping1D` has no `data_format`.

    Args:
        cropping: Number of samples to remove from each spatial axis.
        data_format: `"channels_last"` or `"channels_first"`.
        **kwargs: Other arguments of `keras.Layer`, such as `name` and `dtype`.
    """

    def __init__(self, cropping: Sequence[int], data_format: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cropping = tuple(cropping)
        self.data_format = data_format

    def call(self, inputs: Tensor) -> Tensor:
        # Negative lengths count from the end, so the map's own lengths may be unknown.
        lengths = [-removed or None for removed in self.cropping]
        return keep_first(inputs, lengths, self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        axes = spatial_axes(len(self.cropping), self.data_format)
        for axis, removed in zip(axes, self.cropping, strict=True):
            length = shape[axis]
            shape[axis] = None if length is None else length - removed
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cropping": self.cropping,
            "data_format": self.data_format,
        }
