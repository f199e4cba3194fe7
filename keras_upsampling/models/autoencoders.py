"""`autoencoder`: an encoder and a decoder for inputs of any size."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import keras

from keras_upsampling._shapes import data_format_or_default, spatial_axes, spatial_rank
from keras_upsampling._types import DataFormat, IntPerAxis, Shape, Tensor
from keras_upsampling.models.plan import MakesLayer, Plan
from keras_upsampling.ops.crop import keep_first


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Autoencoder(keras.Model):
    """An encoder and a decoder, the output cut to the input's size.

    `autoencoder` makes them to measure. Two models of your own serve as well, as long as the
    decoder's maps are not smaller than the encoder's inputs.

    Args:
        encoder: From inputs to codes: a functional or sequential model.
        decoder: From codes to maps, as large as the inputs or larger.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        **kwargs: `name` and the like, for `keras.Model`.

    Attributes:
        encoder: The first of the two models.
        decoder: The second.

    Raises:
        TypeError: one of the two is no built model with one input and one output.
        ValueError: the decoder does not take what the encoder gives, or its maps are known to be
            smaller than the inputs, or to have other axes.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.data_format = data_format_or_default(data_format)
        for name, model in {"encoder": encoder, "decoder": decoder}.items():
            ends = [getattr(model, end, None) for end in ("inputs", "outputs")]
            if not all(isinstance(end, list) and len(end) == 1 for end in ends):
                raise TypeError(
                    f"`{name}` must be a model with one input and one output, for example a "
                    f"`keras.Sequential` that begins with `keras.Input`. Received: {model!r}."
                )
        given, taken = self._code_shape(encoder.output_shape), tuple(decoder.input_shape)
        pairs = zip(given, taken, strict=False)
        if len(given) != len(taken) or any(a != b and None not in (a, b) for a, b in pairs):
            raise ValueError(
                "The decoder must take what the encoder gives. Received an encoder with outputs "
                f"of shape {given}, and a decoder with inputs of shape {taken}."
            )
        self.compute_output_shape(self.input_shape)  # an error if the maps cannot be the inputs'
        # Not by a call: the graph of a saved model counts the calls of each layer.
        self.build(self.input_shape)

    def _code_shape(self, outputs: Shape) -> Shape:
        """Return the shape of the codes in the encoder's outputs."""
        return tuple(outputs)

    def build(self, input_shape: Shape) -> None:  # noqa: ARG002 (both models are built already)
        """Do nothing: the encoder and the decoder have their weights."""
        self.built = True

    @property
    def input_shape(self) -> Shape:
        """The inputs' shape, None where it may differ from batch to batch."""
        return tuple(self.encoder.input_shape)

    @property
    def output_shape(self) -> Shape:
        """The outputs' shape, None where it may differ from batch to batch."""
        return self.compute_output_shape(self.input_shape)

    @property
    def input(self) -> keras.KerasTensor:
        """What the model was first called with; before any call, an input of its own."""
        self._ensure_called()
        return super().input

    @property
    def output(self) -> keras.KerasTensor:
        """What the first call of the model gave, so that `input` to `output` is the model."""
        self._ensure_called()
        return super().output

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Export the model, as in Keras; it need not have been called."""
        self._ensure_called()
        super().export(*args, **kwargs)

    def _ensure_called(self) -> None:
        try:
            _ = super().output
        except AttributeError:
            self(keras.Input(batch_shape=self.input_shape, dtype=self.compute_dtype))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the reconstructions of `inputs`, in their size."""
        codes = self.encoder(inputs, training=training)
        return self._like(inputs, self.decoder(codes, training=training))

    def encode(self, inputs: Tensor) -> Tensor:
        """Return the codes of `inputs`."""
        return self.encoder(keras.ops.convert_to_tensor(inputs))

    def decode(self, codes: Tensor) -> Tensor:
        """Return what the decoder makes of `codes`.

        Where the input's sizes are `None`, a code does not say them: the maps then come as the
        decoder makes them, up to a block larger than the inputs were.
        """
        return self.decoder(keras.ops.convert_to_tensor(codes))

    def _like(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        axes = self._axes_to_crop(tuple(inputs.shape), tuple(outputs.shape))
        lengths = keras.ops.shape(inputs)
        return keep_first(outputs, [lengths[axis] for axis in axes], self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        codes = self._code_shape(self.encoder.compute_output_shape(tuple(input_shape)))
        shape = list(self.decoder.compute_output_shape(codes))
        for axis in (0, *self._axes_to_crop(tuple(input_shape), tuple(shape))):
            shape[axis] = input_shape[axis]
        return tuple(shape)

    def _axes_to_crop(self, inputs: Shape, maps: Shape) -> tuple[int, ...]:
        """Return the spatial axes, on which the decoder's maps are cut to the inputs' lengths."""
        axes = spatial_axes(spatial_rank(inputs), self.data_format)
        if len(inputs) != len(maps):
            raise ValueError(
                "The decoder's maps must have as many axes as the inputs. Received inputs of shape "
                f"{inputs}, decoded to shape {maps}; end the decoder with a `keras.layers.Reshape`."
            )
        pairs = [(inputs[axis], maps[axis]) for axis in axes]
        if any(a is not None and b is not None and a > b for a, b in pairs):
            raise ValueError(
                "The decoder's maps are smaller than the inputs. Received inputs of shape "
                f"{inputs}, decoded to shape {maps}; every step that makes maps smaller needs one "
                "that makes them larger by the same factor."
            )
        return axes

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "data_format": self.data_format,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Autoencoder:
        config = copy.deepcopy(config)  # Keras takes pieces out of what it reads
        for name in ("encoder", "decoder"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        return cls(**config)


def autoencoder(
    input_shape: Sequence[int | None],
    *,
    filters: Sequence[int] = (32, 64),
    bottleneck: int | None = None,
    kernel_size: IntPerAxis = 3,
    upsampling: str | MakesLayer = "upsample_conv",
    downsampling: str | MakesLayer = "max_pool",
    activation: Any = "relu",
    normalization: str | None = None,
    output_activation: Any = "sigmoid",
    data_format: DataFormat | None = None,
    name: str = "autoencoder",
) -> Autoencoder:
    """Return an autoencoder for signals, images or volumes of any size.

    The encoder halves the map once for each of `filters`, and rounds odd lengths up; the decoder
    doubles it as often. So its maps are as long as the input or a few samples longer, and what is
    too much is cut off at the end of each axis: 28 is encoded to 14, 7, 4, decoded to 8, 16, 32
    and cut to 28. Every length from 1 comes back, and `None` lengths may differ from batch to
    batch. Nothing is padded to a rounder size, so no rim of zeros is compared with anything. The
    decoder's convolutions pad their maps by the edge, not by zeros, so that a constant code gives a
    constant (`"transposed"` has no such padding and is there to compare with); the encoder's pad
    zeros, as Keras's layers do.

    Args:
        input_shape: Without the batch: `(length, channels)`, `(height, width, channels)` or
            `(depth, height, width, channels)`; channels first with
            `data_format="channels_first"`. Lengths may be `None`. Channels are never left out:
            grey images are `(28, 28, 1)`, and `(28, 28)` is a signal of 28 channels.
        filters: Channels of each of the encoder's blocks; the decoder goes through them backwards.
            The last is the code's, if `bottleneck` is None.
        bottleneck: Length of a code without axes, made by a dense layer. `None` keeps the map: a
            code of `filters[-1]` channels, without activation.
        kernel_size: Of every convolution; for `"transposed"`, 2 or more.
        upsampling: `"upsample_conv"`, `"subpixel_conv"`, `"transposed"`, and for images
            `"bilinear_additive"`, `"carafe"`, `"dysample"`; or a function
            `(filters, size, name) -> keras.Layer` whose layer makes maps `size` times as long,
            with `filters` channels, in the `data_format` of the model. It is called for each block
            and gives a new layer each time; `normalization` and `activation` are put behind it.
        downsampling: `"max_pool"`, `"strided"`, `"blur_pool"`; or such a function whose layer
            makes maps of length `n` `ceil(n / size)` long.
        activation: Of every block, as in `keras.layers.Activation`, or None.
        normalization: `"batch"` or `"layer"`, before each activation, or None.
        output_activation: Of the last convolution; `"sigmoid"` for images from 0 to 1.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        name: The model's name.

    Returns:
        An `Autoencoder`: a `keras.Model` with `.encoder`, `.decoder`, `.encode(x)` and
        `.decode(z)`. Compile and fit it as any model; denoising is fitting it to clean targets.

    Raises:
        TypeError: a number that must be an integer is not; a function gave no layer.
        ValueError: `input_shape` has not one to three spatial axes, or unknown channels; sizes
            are `None` where `bottleneck` needs them; an unknown name, or one without a layer for
            as many axes; a function's layer makes maps of another size.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import autoencoder
        >>> model = autoencoder((37, 53, 3), filters=(8, 16))
        >>> model.output_shape
        (None, 37, 53, 3)
        >>> images = np.zeros((4, 37, 53, 3))
        >>> model.compile("adam", "mse")
        >>> history = model.fit(images, images, verbose=0)
        >>> tuple(model.encode(images).shape), tuple(model.predict(images, verbose=0).shape)
        ((4, 10, 14, 16), (4, 37, 53, 3))
    """
    plan = Plan(
        input_shape,
        filters=filters,
        bottleneck=bottleneck,
        kernel_size=kernel_size,
        upsampling=upsampling,
        downsampling=downsampling,
        activation=activation,
        normalization=normalization,
        data_format=data_format,
    )
    return Autoencoder(
        plan.encoder(),
        plan.decoder(output_activation),
        data_format=plan.data_format,
        name=name,
    )
