"""`SpatialLayer`: base class of the layers that upsample or downsample feature maps."""

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
    """A layer on feature maps with `rank` spatial axes, in either data format.

    It checks and stores `size` and `data_format`, casts its inputs, and computes the shape and the
    dtype of its output. A subclass sets `rank` and implements `transform`. It overrides
    `output_length`, `output_channels` and `output_dtype` where the defaults do not apply.
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
        """Return the output for inputs that already have the dtype `output_dtype`."""

    def output_length(self, length: int, i: int) -> int:
        """Return the output's length on spatial axis `i` for an input axis of `length` samples.

        Raises:
            ValueError: If the layer cannot process an axis of this length.
        """
        return length * self.size[i]

    def output_channels(self, channels: int | None) -> int | None:
        """Return the number of output channels, or None if it is unknown.

        Raises:
            ValueError: If the layer cannot process this number of channels.
        """
        return channels

    def output_dtype(self, dtype: str) -> str:  # noqa: ARG002 (for subclasses)
        """Return the dtype of the output for inputs of `dtype`. Inputs are cast to it."""
        return self.compute_dtype

    def known_channels(self, input_shape: Shape) -> int:
        """Return the number of input channels, for which the weights are created.

        Raises:
            ValueError: If the layer cannot process this shape, or its channels are unknown.
        """
        self.compute_output_shape(input_shape)
        axis = channel_axis(self.rank, self.data_format)
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                "The number of channels must be known to create the weights. Received an input of "
                f"shape {tuple(input_shape)} with its channels on axis {axis}. Pass their number "
                "to `keras.Input`, or set `data_format` if they are on another axis."
            )
        return channels

    def require_channels(self, channels: int) -> None:
        """Accept only inputs with this number of channels from now on."""
        axis = channel_axis(self.rank, self.data_format)
        self.input_spec = keras.InputSpec(ndim=self.rank + 2, axes={axis: channels})

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
