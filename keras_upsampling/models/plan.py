"""`Plan`: the checked arguments of an autoencoder, and the encoder and decoder built from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from keras_upsampling._arguments import one_of, positive_int, positive_ints
from keras_upsampling._shapes import (
    channel_axis,
    data_format_or_default,
    spatial_axes,
    spatial_rank,
)
from keras_upsampling._types import DataFormat, IntPerAxis, Shape
from keras_upsampling.layers.crop import Crop
from keras_upsampling.models.stages import (
    DOWNSAMPLINGS,
    NORMALIZATIONS,
    UPSAMPLINGS,
    Resampling,
    Stage,
)

# Every encoder stage halves the map, and every decoder stage doubles it.
SIZE = 2

# `(filters, size, name) -> layer`: a function of the user that resamples the map of a stage.
LayerFactory = Callable[[int, int, str], keras.Layer]


class Plan:
    """An encoder whose stages halve the map, and a decoder with as many stages that double it.

    The arguments are those of `autoencoder`.
    """

    def __init__(
        self,
        input_shape: Sequence[int | None],
        *,
        filters: Sequence[int],
        bottleneck: int | None,
        kernel_size: IntPerAxis,
        upsampling: str | LayerFactory,
        downsampling: str | LayerFactory,
        activation: Any,
        normalization: str | None,
        data_format: DataFormat | None,
    ) -> None:
        self.data_format = data_format_or_default(data_format)
        self.input_shape, self.channels = _checked_shape(input_shape, self.data_format)
        self.rank = len(self.input_shape) - 1
        self.filters = _checked_filters(filters)
        self.bottleneck = None if bottleneck is None else positive_int(bottleneck, "bottleneck")
        self.kernel_size = positive_ints(kernel_size, self.rank, "kernel_size")
        if isinstance(activation, keras.Layer):
            raise TypeError(
                "`activation` must be a name or a function: a layer would be shared by all stages. "
                f"Received: {activation!r}. Use a name, such as 'leaky_relu' for LeakyReLU."
            )
        self.activation = activation if activation is None else keras.activations.get(activation)
        self.normalization = (
            None
            if normalization is None
            else one_of(normalization, tuple(NORMALIZATIONS), "normalization")
        )
        self.upsampling = _resampling(upsampling, UPSAMPLINGS, self.rank, "upsampling")
        self.downsampling = _resampling(downsampling, DOWNSAMPLINGS, self.rank, "downsampling")
        if self.upsampling is UPSAMPLINGS["transposed"] and min(self.kernel_size) < SIZE:
            raise ValueError(
                "The kernel of a transposed convolution must not be smaller than its stride: some "
                "samples would have no input, and on TensorFlow the gradient can end the process. "
                f"Received: upsampling='transposed', kernel_size={self.kernel_size}. Use "
                f"kernel_size={SIZE} or more, or another upsampling."
            )
        if self.bottleneck is not None and None in self.input_shape:
            raise ValueError(
                f"A code of {self.bottleneck} numbers needs inputs of a known size. Received: "
                f"input_shape={self.input_shape}, bottleneck={self.bottleneck}. Pass the lengths "
                "in `input_shape`, or use bottleneck=None for a code that is a map."
            )

    def encoder(self, statistics: int = 1) -> keras.Model:
        """Return the model from inputs to codes.

        Args:
            statistics: Number of outputs for each number of the code: 2 for a mean and a variance.
        """
        filters = list(self.filters)
        if self.bottleneck is None:
            filters[-1] *= statistics
        inputs = keras.Input(self.input_shape)
        outputs = inputs
        for number, count in enumerate(filters, start=1):
            # No activation of the code: ReLU, for example, would drop its negative half.
            is_code = self.bottleneck is None and number == len(filters)
            stage = self._stage(f"down_{number}", count, activated=not is_code)
            lengths = [length and -(-length // SIZE) for length in self._lengths(outputs.shape)]
            outputs = self._apply(self.downsampling, stage, outputs, lengths)
        if self.bottleneck is not None:
            outputs = layers.Flatten(data_format="channels_last", name="flat")(outputs)
            outputs = layers.Dense(statistics * self.bottleneck, name="code")(outputs)
        return keras.Model(inputs, outputs, name="encoder")

    def decoder(self, output_activation: Any) -> keras.Model:
        """Return the model from codes to maps, cropped to the size of the input if it is known."""
        if self.bottleneck is None:
            inputs = outputs = keras.Input(self.code_map_shape)
        else:
            inputs = keras.Input((self.bottleneck,))
            # With a bottleneck, no length is None.
            values = math.prod(length for length in self.code_map_shape if length is not None)
            outputs = layers.Dense(values, self.activation, name="map")(inputs)
            outputs = layers.Reshape(self.code_map_shape, name="folded")(outputs)
        # Each stage returns to the channels before the encoder stage that it mirrors. The last one
        # keeps `filters[0]`: the channels of the input would be too few.
        for number, count in enumerate([*self.filters[-2::-1], self.filters[0]], start=1):
            stage = self._stage(f"up_{number}", count)
            lengths = [length and length * SIZE for length in self._lengths(outputs.shape)]
            outputs = self._apply(self.upsampling, stage, outputs, lengths)
        outputs = self._stage("output", self.channels).upsample_conv(1)(outputs)
        input_lengths = self._lengths((None, *self.input_shape))
        output_lengths = self._lengths(outputs.shape)
        if input_lengths != output_lengths:
            cropping = [
                (output_length or 0) - (input_length or 0)
                for input_length, output_length in zip(input_lengths, output_lengths, strict=True)
            ]
            outputs = Crop(cropping, self.data_format, name="output_crop")(outputs)
        outputs = layers.Activation(output_activation, name="output_activation")(outputs)
        return keras.Model(inputs, outputs, name="decoder")

    @property
    def code_map_shape(self) -> tuple[int | None, ...]:
        """The shape of the map between encoder and decoder, without the batch."""
        factor = SIZE ** len(self.filters)
        input_lengths = self._lengths((None, *self.input_shape))
        lengths = [length and -(-length // factor) for length in input_lengths]
        if self.data_format == "channels_last":
            return (*lengths, self.filters[-1])
        return (self.filters[-1], *lengths)

    def _stage(self, name: str, filters: int, activated: bool = True) -> Stage:
        return Stage(
            rank=self.rank,
            filters=filters,
            kernel_size=self.kernel_size,
            size=SIZE,
            data_format=self.data_format,
            name=name,
            normalization=self.normalization if activated else None,
            activation=self.activation if activated else None,
        )

    def _apply(
        self,
        resampling: Resampling,
        stage: Stage,
        inputs: keras.KerasTensor,
        lengths: list[int | None],
    ) -> keras.KerasTensor:
        """Return the output of a stage, whose spatial axes must have these lengths."""
        outputs = inputs
        for layer in resampling.layers(stage):
            outputs = layer(outputs)
        axis = channel_axis(self.rank, self.data_format)
        expected_shape = [None, *lengths]
        expected_shape.insert(axis, stage.filters)
        shape = tuple(outputs.shape)
        if len(shape) != len(expected_shape) or any(
            None not in pair and pair[0] != pair[1]
            for pair in zip(shape, expected_shape, strict=True)
        ):
            raise ValueError(
                f"The layers of {stage.name!r} must turn maps of shape {tuple(inputs.shape)} into "
                f"maps of shape {tuple(expected_shape)}. Received layers that return shape "
                f"{shape}. Use a layer with the `filters` and `size` that the function receives."
            )
        return outputs

    def _lengths(self, shape: Shape) -> tuple[int | None, ...]:
        return tuple(shape[axis] for axis in spatial_axes(self.rank, self.data_format))


def _checked_shape(input_shape: Any, data_format: str) -> tuple[Shape, int]:
    """Return the shape as a tuple, and its number of channels."""
    if not isinstance(input_shape, (list, tuple)):
        raise TypeError(
            "`input_shape` must be a tuple such as (28, 28, 1), without the batch. Received: "
            f"input_shape={input_shape!r}. Use (28, 28, 1) for grey images of 28x28."
        )
    shape = tuple(
        length if length is None else positive_int(length, f"input_shape[{i}]")
        for i, length in enumerate(input_shape)
    )
    rank = spatial_rank((None, *shape))
    channels = shape[channel_axis(rank, data_format) - 1]
    if channels is None:
        raise ValueError(
            "The number of channels must be known. Received: "
            f"input_shape={shape}, data_format={data_format!r}. Pass their number in `input_shape`."
        )
    return shape, channels


def _checked_filters(filters: Any) -> tuple[int, ...]:
    if not isinstance(filters, (list, tuple)) or not filters:
        raise ValueError(
            "`filters` must contain one positive integer for each encoder stage. "
            f"Received: filters={filters!r}. Use (32, 64), for example."
        )
    return tuple(positive_int(count, f"filters[{i}]") for i, count in enumerate(filters))


def _resampling(
    option: str | LayerFactory, named: Mapping[str, Resampling], rank: int, argument: str
) -> Resampling:
    """Return the resampling for a name, or for a function of the user."""
    if isinstance(option, (keras.Layer, type)):
        raise TypeError(
            f"`{argument}` must be a name, or a function that returns a layer for each stage. "
            f"Received: {option!r}. Use a function: lambda filters, size, name: ..."
        )
    if not callable(option):
        resampling = named[one_of(option, tuple(named), argument)]
        if rank not in resampling.ranks:
            supported = [name for name in named if rank in named[name].ranks]
            raise ValueError(
                f"{argument}={option!r} is for images only. Received an input with {rank} spatial "
                f"axes. Use one of: {', '.join(map(repr, supported))}."
            )
        return resampling

    created: list[keras.Layer] = []

    def create_layers(stage: Stage) -> list[keras.Layer]:
        layer = option(stage.filters, stage.size, stage.name)
        if not isinstance(layer, keras.Layer):
            raise TypeError(
                f"`{argument}` must return a Keras layer. Received: {layer!r} from {option!r}. "
                "Return the layer that the function creates."
            )
        if any(layer is earlier_layer for earlier_layer in created):
            raise ValueError(
                f"`{argument}` must return a new layer for each stage: stages would share its "
                f"weights. Received {layer!r} twice from {option!r}. Create the layer inside the "
                "function."
            )
        created.append(layer)
        return [layer, *stage.normalization_and_activation()]

    return Resampling(create_layers, ranks=(rank,))
