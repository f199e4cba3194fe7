"""`Crop`: what a decoder of a known size ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_upsampling._arguments import spatial_axes
from keras_upsampling._types import Shape, Tensor
from keras_upsampling.ops.crop import keep_first


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Crop(keras.Layer):
    """Keeps the first `lengths` samples of the spatial axes; None keeps an axis as it is.

    `keras.layers.Cropping*D` says how much to take away instead, which is not known where the
    input's size is not.
    """

    def __init__(self, lengths: Sequence[int | None], data_format: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lengths = tuple(lengths)
        self.data_format = data_format

    def call(self, inputs: Tensor) -> Tensor:
        return keep_first(inputs, self.lengths, self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        axes = spatial_axes(len(self.lengths), self.data_format)
        for axis, length in zip(axes, self.lengths, strict=True):
            if length is not None:
                shape[axis] = length
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "lengths": self.lengths,
            "data_format": self.data_format,
        }
