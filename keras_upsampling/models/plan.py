"""What an autoencoder is to be like, checked, and the two models made from it."""

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
from keras_upsampling.models.stages import DOWNSAMPLINGS, NORMALIZATIONS, UPSAMPLINGS, Block, Way

# Every block of the encoder halves the map, every block of the decoder doubles it.
SIZE = 2

# `(filters, size, name) -> layer`: a way of the user's own to make maps larger or smaller.
MakesLayer = Callable[[int, int, str], keras.Layer]


class Plan:
    """An encoder of blocks that halve, and a decoder of blocks that double, as many."""

    def __init__(
        self,
        input_shape: Sequence[int | None],
        *,
        filters: Sequence[int],
        bottleneck: int | None,
        kernel_size: IntPerAxis,
        upsampling: str | MakesLayer,
        downsampling: str | MakesLayer,
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
                "`activation` must be a name or a function: a layer would be shared by all blocks. "
                f"Received: {activation!r}; for LeakyReLU, for example, write 'leaky_relu'."
            )
        self.activation = activation if activation is None else keras.activations.get(activation)
        self.normalization = (
            None
            if normalization is None
            else one_of(normalization, tuple(NORMALIZATIONS), "normalization")
        )
        self.upsampling = _way(upsampling, UPSAMPLINGS, self.rank, "upsampling")
        self.downsampling = _way(downsampling, DOWNSAMPLINGS, self.rank, "downsampling")
        if self.upsampling is UPSAMPLINGS["transposed"] and min(self.kernel_size) < SIZE:
            raise ValueError(
                "A transposed convolution whose kernel is smaller than its stride leaves samples "
                "that nothing reaches, and on TensorFlow its gradient can end the process. "
                f"Received: upsampling='transposed', kernel_size={self.kernel_size}; use "
                f"kernel_size={SIZE} or more, or another upsampling."
            )
        if self.bottleneck is not None and None in self.input_shape:
            raise ValueError(
                f"A code of {self.bottleneck} numbers needs maps of one size. Received: "
                f"input_shape={self.input_shape}, bottleneck={self.bottleneck}; give the sizes, or "
                "bottleneck=None for a code that is a map."
            )

    def encoder(self, statistics: int = 1) -> keras.Model:
        """Return the model from inputs to codes, of `statistics` numbers for each of the code."""
        filters = list(self.filters)
        if self.bottleneck is None:
            filters[-1] *= statistics
        inputs = keras.Input(self.input_shape)
        outputs = inputs
        for number, count in enumerate(filters, start=1):
            # A code is not activated: half of it would be lost.
            is_code = self.bottleneck is None and number == len(filters)
            block = self._block(f"down_{number}", count, activated=not is_code)
            lengths = [n and -(-n // SIZE) for n in self._lengths(outputs.shape)]
            outputs = self._apply(self.downsampling, block, outputs, lengths)
        if self.bottleneck is not None:
            outputs = layers.Flatten(data_format="channels_last", name="flat")(outputs)
            outputs = layers.Dense(statistics * self.bottleneck, name="code")(outputs)
        return keras.Model(inputs, outputs, name="encoder")

    def decoder(self, output_activation: Any) -> keras.Model:
        """Return the model from codes to maps, cut to the input's size where that is known."""
        if self.bottleneck is None:
            inputs = outputs = keras.Input(self.code_map)
        else:
            inputs = keras.Input((self.bottleneck,))
            numbers = math.prod(n for n in self.code_map if n is not None)  # and none is
            outputs = layers.Dense(numbers, self.activation, name="map")(inputs)
            outputs = layers.Reshape(self.code_map, name="folded")(outputs)
        # The encoder's blocks backwards: where one came from 32 channels, this one goes to 32.
        # The first came from the input's, which are too few to end with.
        for number, count in enumerate([*self.filters[-2::-1], self.filters[0]], start=1):
            lengths = [n and n * SIZE for n in self._lengths(outputs.shape)]
            outputs = self._apply(
                self.upsampling, self._block(f"up_{number}", count), outputs, lengths
            )
        outputs = self._block("output", self.channels).upsample_conv(1)(outputs)
        wanted, made = self._lengths((None, *self.input_shape)), self._lengths(outputs.shape)
        if wanted != made:
            too_much = [(m or 0) - (n or 0) for n, m in zip(wanted, made, strict=True)]
            outputs = Crop(too_much, self.data_format, name="output_crop")(outputs)
        outputs = layers.Activation(output_activation, name="output_activation")(outputs)
        return keras.Model(inputs, outputs, name="decoder")

    @property
    def code_map(self) -> tuple[int | None, ...]:
        """The shape of the map between encoder and decoder, without the batch."""
        factor = SIZE ** len(self.filters)
        lengths = [n and -(-n // factor) for n in self._lengths((None, *self.input_shape))]
        if self.data_format == "channels_last":
            return (*lengths, self.filters[-1])
        return (self.filters[-1], *lengths)

    def _block(self, name: str, filters: int, activated: bool = True) -> Block:
        return Block(
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
        self, way: Way, block: Block, inputs: keras.KerasTensor, lengths: list[int | None]
    ) -> keras.KerasTensor:
        outputs = inputs
        for layer in way.layers(block):
            outputs = layer(outputs)
        axis = channel_axis(self.rank, self.data_format)
        expected = [None, *lengths]
        expected.insert(axis, block.filters)
        found = tuple(outputs.shape)
        if len(found) != len(expected) or any(
            None not in pair and pair[0] != pair[1] for pair in zip(found, expected, strict=True)
        ):
            raise ValueError(
                f"The layers of {block.name!r} must turn maps of shape {tuple(inputs.shape)} into "
                f"maps of shape {tuple(expected)}. Received layers that give {found}."
            )
        return outputs

    def _lengths(self, shape: Shape) -> tuple[int | None, ...]:
        return tuple(shape[axis] for axis in spatial_axes(self.rank, self.data_format))


def _checked_shape(input_shape: Any, data_format: str) -> tuple[Shape, int]:
    """Return the shape, and its number of channels."""
    if not isinstance(input_shape, (list, tuple)):
        raise TypeError(
            "`input_shape` must be a tuple such as (28, 28, 1), without the batch. Received: "
            f"input_shape={input_shape!r}."
        )
    shape = tuple(
        n if n is None else positive_int(n, f"input_shape[{i}]") for i, n in enumerate(input_shape)
    )
    rank = spatial_rank((None, *shape))
    channels = shape[channel_axis(rank, data_format) - 1]
    if channels is None:
        raise ValueError(
            "The number of channels must be known. Received: "
            f"input_shape={shape}, data_format={data_format!r}."
        )
    return shape, channels


def _checked_filters(filters: Any) -> tuple[int, ...]:
    if not isinstance(filters, (list, tuple)) or not filters:
        raise ValueError(
            "`filters` must hold one positive integer for each block, for example (32, 64). "
            f"Received: filters={filters!r}."
        )
    return tuple(positive_int(count, f"filters[{i}]") for i, count in enumerate(filters))


def _way(wanted: str | MakesLayer, known: Mapping[str, Way], rank: int, argument: str) -> Way:
    if isinstance(wanted, (keras.Layer, type)):
        raise TypeError(
            f"`{argument}` must be a name, or a function that makes a layer for each block. "
            f"Received: {wanted!r}; write lambda filters, size, name: ..."
        )
    if not callable(wanted):
        way = known[one_of(wanted, tuple(known), argument)]
        if rank not in way.ranks:
            here = [key for key in known if rank in known[key].ranks]
            raise ValueError(
                f"{argument}={wanted!r} is for images only. Received an input of {rank} spatial "
                f"axes; take one of: {', '.join(map(repr, here))}."
            )
        return way

    given: list[keras.Layer] = []

    def made(block: Block) -> list[keras.Layer]:
        layer = wanted(block.filters, block.size, block.name)
        if not isinstance(layer, keras.Layer):
            raise TypeError(
                f"`{argument}` must return a Keras layer. Received: {layer!r} from {wanted!r}."
            )
        if any(layer is other for other in given):
            raise ValueError(
                f"`{argument}` must return a new layer for each block, or blocks would share their "
                f"weights. Received {layer!r} twice from {wanted!r}."
            )
        given.append(layer)
        return [layer, *block.finished()]

    return Way(made, ranks=(rank,))
