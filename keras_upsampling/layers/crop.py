"""`Crop`: what a decoder of a known size ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_upsampling._shapes import spatial_axes
from keras_upsampling._types import Shape, Tensor
from keras_upsampling.ops.crop import keep_first


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Crop(keras.Layer):
    """Takes samples off the end of the spatial axes, as many of each as `cropping` says.

    `keras.layers.Cropping1D` knows channels last only, and the others would have to be told of
    both ends.
    """

    def __init__(self, cropping: Sequence[int], data_format: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cropping = tuple(cropping)
        self.data_format = data_format

    def call(self, inputs: Tensor) -> Tensor:
        # Counted from the end: lengths need not be known.
        return keep_first(inputs, [-n or None for n in self.cropping], self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        axes = spatial_axes(len(self.cropping), self.data_format)
        for axis, n in zip(axes, self.cropping, strict=True):
            length = shape[axis]
            shape[axis] = None if length is None else length - n
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cropping": self.cropping,
            "data_format": self.data_format,
        }
