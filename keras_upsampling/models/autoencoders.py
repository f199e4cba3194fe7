"""`autoencoder` and `Autoencoder`: an encoder and a decoder for inputs of any size."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import keras

from keras_upsampling._shapes import data_format_or_default, spatial_axes, spatial_rank
from keras_upsampling._types import DataFormat, IntPerAxis, Shape, Tensor
from keras_upsampling.models.plan import LayerFactory, Plan
from keras_upsampling.ops.crop import keep_first


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Autoencoder(keras.Model):
    """An encoder and a decoder, whose output is cropped to the size of the input.

    `autoencoder` builds both. Two models of your own can be used as well, if the maps of the
    decoder are at least as large as the inputs of the encoder.

    Args:
        encoder: Functional or sequential model from inputs to codes.
        decoder: Functional or sequential model from codes to maps, at least as large as the inputs.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        **kwargs: Other arguments of `keras.Model`, such as `name`.

    Attributes:
        encoder: The encoder.
        decoder: The decoder.

    Raises:
        TypeError: If `encoder` or `decoder` is not a built model with one input and one output.
        ValueError: If the decoder's input does not have the shape of the encoder's output, or if
            its maps have other axes than the inputs, or are known to be smaller.

    Example:
        >>> import keras
        >>> from keras_upsampling.models import Autoencoder
        >>> encoder = keras.Sequential([keras.Input((5, 1)), keras.layers.AveragePooling1D(2)])
        >>> decoder = keras.Sequential([keras.Input((2, 1)), keras.layers.UpSampling1D(3)])
        >>> Autoencoder(encoder, decoder).output_shape  # 5 -> 2 -> 6 -> 5
        (None, 5, 1)
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
                    f"`{name}` must be a model with one input and one output. Received: {model!r}. "
                    "Use, for example, a `keras.Sequential` that begins with `keras.Input`."
                )
        code_shape = self._code_shape(encoder.output_shape)
        decoder_input_shape = tuple(decoder.input_shape)
        pairs = zip(code_shape, decoder_input_shape, strict=False)
        if len(code_shape) != len(decoder_input_shape) or any(
            a != b and None not in (a, b) for a, b in pairs
        ):
            raise ValueError(
                "The decoder's input must have the shape of the encoder's output. Received: an "
                f"encoder with outputs of shape {code_shape}, and a decoder with inputs of shape "
                f"{decoder_input_shape}. Use keras.Input({code_shape[1:]}) in the decoder."
            )
        self.compute_output_shape(self.input_shape)  # raises if the decoder's maps do not fit
        # Built without a call: the graph of a saved model counts the calls of each layer.
        self.build(self.input_shape)

    def _code_shape(self, outputs: Shape) -> Shape:
        """Return the shape of the codes for encoder outputs of shape `outputs`."""
        return tuple(outputs)

    def build(self, input_shape: Shape) -> None:  # noqa: ARG002 (both models are already built)
        """Mark the model as built: the encoder and the decoder already have weights."""
        self.built = True

    @property
    def input_shape(self) -> Shape:
        """Shape of the inputs. Lengths that may differ between batches are None."""
        return tuple(self.encoder.input_shape)

    @property
    def output_shape(self) -> Shape:
        """Shape of the outputs. Lengths that may differ between batches are None."""
        return self.compute_output_shape(self.input_shape)

    @property
    def input(self) -> keras.KerasTensor:
        """Symbolic input of the first call. Before any call, the model calls itself once."""
        self._ensure_called()
        return super().input

    @property
    def output(self) -> keras.KerasTensor:
        """Symbolic output of the first call: `keras.Model(model.input, model.output)` works."""
        self._ensure_called()
        return super().output

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Export the model, as in Keras. The model need not have been called before."""
        self._ensure_called()
        super().export(*args, **kwargs)

    def _ensure_called(self) -> None:
        """Call the model on a symbolic input unless it has been called before."""
        try:
            _ = super().output
        except AttributeError:
            self(keras.Input(batch_shape=self.input_shape, dtype=self.compute_dtype))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the reconstructions of `inputs`, with the same size."""
        codes = self.encoder(inputs, training=training)
        return self._crop_to_inputs(inputs, self.decoder(codes, training=training))

    def encode(self, inputs: Tensor) -> Tensor:
        """Return the codes of `inputs`."""
        return self.encoder(keras.ops.convert_to_tensor(inputs))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the output of the decoder for `codes`.

        Where the lengths of the input are None, the output is not cropped: a code does not contain
        the size of its input. The maps may then be a few samples longer than the inputs.
        """
        return self.decoder(keras.ops.convert_to_tensor(codes))

    def _crop_to_inputs(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Return the decoder's maps, cropped to the lengths of the inputs."""
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
        """Return the spatial axes, or raise if the decoder's maps cannot be cropped to `inputs`."""
        axes = spatial_axes(spatial_rank(inputs), self.data_format)
        if len(inputs) != len(maps):
            raise ValueError(
                "The decoder's maps must have as many axes as the inputs. Received inputs of shape "
                f"{inputs}, decoded to shape {maps}. Use a `keras.layers.Reshape` at the end of "
                "the decoder."
            )
        pairs = [(inputs[axis], maps[axis]) for axis in axes]
        if any(a is not None and b is not None and a > b for a, b in pairs):
            raise ValueError(
                "The decoder's maps must not be smaller than the inputs. Received inputs of shape "
                f"{inputs}, decoded to shape {maps}. Use one upsampling in the decoder for every "
                "downsampling in the encoder, by the same factor."
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
        config = copy.deepcopy(config)  # deserialization changes the dictionary
        for name in ("encoder", "decoder"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        return cls(**config)


def autoencoder(
    input_shape: Sequence[int | None],
    *,
    filters: Sequence[int] = (32, 64),
    bottleneck: int | None = None,
    kernel_size: IntPerAxis = 3,
    upsampling: str | LayerFactory = "upsample_conv",
    downsampling: str | LayerFactory = "max_pool",
    activation: Any = "relu",
    normalization: str | None = None,
    output_activation: Any = "sigmoid",
    data_format: DataFormat | None = None,
    name: str = "autoencoder",
) -> Autoencoder:
    """Return an autoencoder for signals, images or volumes of any size.

    The encoder has one stage for each number in `filters`. Each stage halves the map and rounds odd
    lengths up. The decoder has as many stages, and each doubles the map. Its maps are as long as
    the input or a few samples longer, and are cropped at the end of each axis. With three stages,
    28 is encoded to 14, 7 and 4, decoded to 8, 16 and 32, and cropped to 28. Every length from 1 is
    possible, and lengths of `None` may differ between batches. Inputs are never padded to a rounder
    size, so the loss contains no padding.

    The decoder pads its maps by the edge, so a constant code is decoded to a constant (except with
    `"transposed"`, which has no such padding and is there for comparison). The encoder pads with
    zeros, like the layers of Keras.

    Args:
        input_shape: Shape of an input without the batch: `(length, channels)`,
            `(height, width, channels)` or `(depth, height, width, channels)`; channels first with
            `data_format="channels_first"`. Lengths may be `None`. The channels are required: use
            `(28, 28, 1)` for grey images, because `(28, 28)` is a signal with 28 channels.
        filters: Output channels of each encoder stage. The decoder stages use them in reverse
            order. The last number is also the number of channels of the code if `bottleneck` is
            None.
        bottleneck: Length of the code, which a dense layer computes. `None` for a code that is a
            map of `filters[-1]` channels, without activation.
        kernel_size: Kernel size of every convolution. 2 or more for `"transposed"`.
        upsampling: Block of each decoder stage: `"upsample_conv"`, `"subpixel_conv"`,
            `"transposed"`, or, for images, `"bilinear_additive"`, `"carafe"` or `"dysample"`. Or a
            function `(filters, size, name) -> keras.Layer`, called once for each stage. It must
            return a new layer that upsamples maps by `size` to `filters` channels, in the
            `data_format` of the model. `normalization` and `activation` come after the layer.
        downsampling: Downsampling of each encoder stage: `"max_pool"`, `"strided"` or
            `"blur_pool"`. Or a function as above, whose layer turns a length `n` into `ceil(n /
            size)`.
        activation: Activation of every stage, as in `keras.layers.Activation`, or None.
        normalization: `"batch"` or `"layer"` for a normalization before each activation, or None.
        output_activation: Activation of the last convolution. The default suits images from 0 to 1.
        data_format: `"channels_last"` or `"channels_first"`. Default: Keras's setting.
        name: Name of the model.

    Returns:
        An `Autoencoder`: a `keras.Model` with `.encoder`, `.decoder`, `.encode(x)` and
        `.decode(z)`. Compile and fit it like any other model. For denoising, fit it to clean
        targets.

    Raises:
        TypeError: If an argument that must be an integer is not, or a function does not return a
            layer.
        ValueError: If `input_shape` does not have one to three spatial axes, or its channels are
            unknown; if a length is `None` and `bottleneck` is not; if a name is unknown, or has no
            layer for this number of spatial axes; if the layer of a function returns maps of
            another shape.

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
