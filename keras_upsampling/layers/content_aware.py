"""What the layers share whose way to enlarge depends on the map itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras

from keras_upsampling._arguments import (
    cast_inputs,
    channel_axis,
    check_rank,
    check_samples,
    data_format_or_default,
    positive_int,
    positive_ints,
    refuse_other_arguments,
    spatial_axes,
)
from keras_upsampling._types import DataFormat, IntPerAxis, Shape, Tensor


class ContentAware2D(keras.Layer):
    """Enlarging by what weights read from the map; the subclasses say how.

    Groups of channels are enlarged alike, and there are as many channels as before.
    """

    def __init__(
        self, size: IntPerAxis, groups: int, data_format: DataFormat | None, **kwargs: Any
    ) -> None:
        refuse_other_arguments(type(self), kwargs)
        super().__init__(**kwargs)
        self.size = positive_ints(size, 2, "size")
        self.groups = positive_int(groups, "groups")
        self.data_format = data_format_or_default(data_format)
        self.input_spec = keras.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        axis = channel_axis(2, self.data_format)
        channels = check_rank(input_shape, 2, self.data_format)[axis]
        if channels is None:
            raise ValueError(
                "The number of channels must be known to make the kernels. Received an input of "
                f"shape {tuple(input_shape)}, channels on axis {axis}; give "
                "`keras.Input` that size, or set `data_format` if the channels are elsewhere."
            )
        if channels % self.groups:
            raise ValueError(
                "The input's channels must be divisible by `groups`. Received an input of shape "
                f"{tuple(input_shape)} with {channels} channels, and groups={self.groups}."
            )
        self.make_weights(channels)
        self.input_spec = keras.InputSpec(ndim=4, axes={axis: channels})

    @abstractmethod
    def make_weights(self, channels: int) -> None:
        """Make the weights for so many channels."""

    def call(self, inputs: Tensor) -> Tensor:
        check_samples(inputs.shape, 2, self.data_format)
        inputs = cast_inputs(inputs, self.compute_dtype)
        return self.enlarge(inputs)

    @abstractmethod
    def enlarge(self, inputs: Tensor) -> Tensor:
        """Enlarge maps of floats."""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(check_rank(input_shape, 2, self.data_format))
        for axis, factor in zip(spatial_axes(2, self.data_format), self.size, strict=True):
            length = shape[axis]
            shape[axis] = None if length is None else length * factor
        return tuple(shape)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "groups": self.groups,
            "data_format": self.data_format,
        }
