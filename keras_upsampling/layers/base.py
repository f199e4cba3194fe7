"""`SpatialLayer`: what every layer that upsamples or downsamples maps has in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras

from keras_upsampling._arguments import check_argument_names, positive_ints
from keras_upsampling._shapes import (
    channel_axis,
    check_rank,
    data_format_or_default,
    spatial_axes,
)
from keras_upsampling._types import DataFormat, IntPerAxis, Shape, Tensor
from keras_upsampling.ops.inputs import cast_inputs


class SpatialLayer(keras.Layer):
    """A layer on maps of `rank` spatial axes, in either data format.

    It checks and stores `size` and `data_format`, casts its inputs, and derives the shape and the
    dtype of its output. A subclass sets `rank` and implements `transform`, and overrides
    `output_length`, `output_channels` and `output_dtype` where the defaults are not right.
    """

    rank: int

    def __init__(self, size: IntPerAxis, *, data_format: DataFormat | None, **kwargs: Any) -> None:
        check_argument_names(type(self), kwargs)
        super().__init__(**kwargs)
        self.size = positive_ints(size, self.rank, "size")
        self.data_format = data_format_or_default(data_format)
        self.input_spec = keras.InputSpec(ndim=self.rank + 2)

    @abstractmethod
    def transform(self, inputs: Tensor) -> Tensor:
        """Return the output for inputs of the right dtype."""

    def output_length(self, length: int, i: int) -> int:
        """Return the output's length on spatial axis `i`, from that of the input.

        Raises:
            ValueError: the layer does not take an axis of that length.
        """
        return length * self.size[i]

    def output_channels(self, channels: int | None) -> int | None:
        """Return the output's number of channels; None where it is unknown.

        Raises:
            ValueError: the layer does not take so many channels.
        """
        return channels

    def output_dtype(self, dtype: str) -> str:  # noqa: ARG002 (for subclasses)
        """Return the output's dtype for inputs of `dtype`; inputs are cast to it."""
        return self.compute_dtype

    def channels_to_build_for(self, input_shape: Shape) -> int:
        """Return the number of input channels, the only one that is taken once weights are made.

        Raises:
            ValueError: the layer does not take such a shape, or its channels are unknown.
        """
        self.compute_output_shape(input_shape)
        axis = channel_axis(self.rank, self.data_format)
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                "The number of channels must be known to make the kernel. Received an input of "
                f"shape {tuple(input_shape)}, channels on axis {axis}; give "
                "`keras.Input` that size, or set `data_format` if the channels are elsewhere."
            )
        self.input_spec = keras.InputSpec(ndim=self.rank + 2, axes={axis: channels})
        return channels

    def call(self, inputs: Tensor) -> Tensor:
        dtype = self.output_dtype(keras.backend.standardize_dtype(inputs.dtype))
        return self.transform(cast_inputs(inputs, dtype))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(check_rank(input_shape, self.rank, self.data_format))
        for i, axis in enumerate(spatial_axes(self.rank, self.data_format)):
            length = shape[axis]
            shape[axis] = None if length is None else self.output_length(length, i)
        axis = channel_axis(self.rank, self.data_format)
        shape[axis] = self.output_channels(shape[axis])
        return tuple(shape)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        dtype = self.output_dtype(keras.backend.standardize_dtype(inputs.dtype))
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "data_format": self.data_format}
