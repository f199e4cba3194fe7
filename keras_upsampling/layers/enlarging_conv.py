"""`EnlargingConv`: what the layers that enlarge and convolve have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras
from keras import activations, constraints, initializers, regularizers

from keras_upsampling._arguments import (
    cast_inputs,
    channel_axis,
    data_format_or_default,
    one_of,
    positive_int,
    positive_ints,
    refuse_other_arguments,
)
from keras_upsampling._types import DataFormat, IntPerAxis, PaddingName, Shape, Tensor
from keras_upsampling.maths.padding import PADDINGS


class EnlargingConv(keras.Layer):
    """Enlarges and convolves: the arguments and the weights of a layer that does, in any rank.

    Subclasses fix the rank, and say in `enlarged_and_convolved`, `kernel_shape` and
    `compute_output_shape` how it is done.
    """

    rank: int

    def __init__(
        self,
        filters: int,
        kernel_size: IntPerAxis,
        size: IntPerAxis,
        *,
        padding: PaddingName,
        data_format: DataFormat | None,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        activity_regularizer: Any,
        kernel_constraint: Any,
        bias_constraint: Any,
        **kwargs: Any,
    ) -> None:
        refuse_other_arguments(type(self), kwargs)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive_int(filters, "filters")
        self.kernel_size = positive_ints(kernel_size, self.rank, "kernel_size")
        self.size = positive_ints(size, self.rank, "size")
        self.padding = one_of(padding, PADDINGS, "padding")
        self.data_format = data_format_or_default(data_format)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = keras.InputSpec(ndim=self.rank + 2)

    @abstractmethod
    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        """Return the kernel's shape, `(*kernel_size, channels, outputs)`; one bias per output.

        Raises:
            ValueError: there can be no kernel for so many channels.
        """

    @abstractmethod
    def enlarged_and_convolved(self, inputs: Tensor) -> Tensor:
        """Return what the activation is applied to."""

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # refuses shapes that cannot work
        axis = channel_axis(self.rank, self.data_format)
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                "The number of channels must be known to make the kernel. Received an input of "
                f"shape {tuple(input_shape)}, channels on axis {axis}; give "
                "`keras.Input` that size, or set `data_format` if the channels are elsewhere."
            )
        kernel_shape = self.kernel_shape(channels)
        self.kernel = self.add_weight(
            name="kernel",
            shape=kernel_shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,  # composed kernels are made in the variable's dtype, then cast
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=kernel_shape[-1:],
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.input_spec = keras.InputSpec(ndim=self.rank + 2, axes={axis: channels})

    def call(self, inputs: Tensor) -> Tensor:
        inputs = cast_inputs(inputs, self.compute_dtype)
        return self.activation(self.enlarged_and_convolved(inputs))

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "size": self.size,
            "padding": self.padding,
            "data_format": self.data_format,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }
