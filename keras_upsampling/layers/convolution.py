"""`SpatialConv`: base class of the layers that upsample and convolve."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from keras import activations, constraints, initializers, regularizers

from keras_upsampling._arguments import one_of, positive_int, positive_ints
from keras_upsampling._types import DataFormat, IntPerAxis, PaddingName, Shape, Tensor
from keras_upsampling.layers.base import SpatialLayer
from keras_upsampling.maths.padding import PADDINGS


class SpatialConv(SpatialLayer):
    """A layer that upsamples and convolves, in any rank: its arguments and weights.

    Subclasses implement `kernel_shape`, `convolve` and `output_length`.
    """

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
        super().__init__(
            size, data_format=data_format, activity_regularizer=activity_regularizer, **kwargs
        )
        self.filters = positive_int(filters, "filters")
        self.kernel_size = positive_ints(kernel_size, self.rank, "kernel_size")
        self.padding = one_of(padding, PADDINGS, "padding")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    @abstractmethod
    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        """Return the shape of the kernel. Its last axis is also the length of the bias.

        Raises:
            ValueError: If no kernel fits this number of input channels.
        """

    @abstractmethod
    def convolve(self, inputs: Tensor) -> Tensor:
        """Return the output before the activation."""

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        kernel_shape = self.kernel_shape(channels)
        self.kernel = self.add_weight(
            name="kernel",
            shape=kernel_shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,  # a kernel is composed in the variable's dtype before it is cast
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
        self.require_channels(channels)

    def transform(self, inputs: Tensor) -> Tensor:
        return self.activation(self.convolve(inputs))

    def output_channels(self, channels: int | None) -> int:  # noqa: ARG002 (any number)
        return self.filters

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "padding": self.padding,
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
