"""Published programs that upsample and then convolve, built from one block at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import layers

import keras_upsampling
from keras_upsampling._types import Tensor

LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


# Upsamples a map by a factor and convolves it: `(x, filters, kernel_size, size, **options)`.
Block: TypeAlias = Callable[..., Tensor]


class GapsError(ValueError):
    """A transposed convolution whose kernel is shorter than its stride would leave gaps."""


def upsampling_conv(
    x: Tensor,
    filters: int,
    kernel_size: int,
    size: int = 2,
    *,
    interpolation: str = "nearest",
    **options: Any,
) -> Tensor:
    """Upsample and convolve with Keras's two layers."""
    rank = len(x.shape) - 2
    # Keras has an interpolation in two dimensions alone, and no data format in one.
    mode = {"linear": "bilinear"}.get(interpolation, interpolation)
    by_rank = {1: {}, 2: {"interpolation": mode, **LAST}, 3: LAST}[rank]
    y = getattr(layers, f"UpSampling{rank}D")(size, **by_rank)(x)
    return _conv(y, filters, kernel_size, **options)


def upsample_conv(
    x: Tensor,
    filters: int,
    kernel_size: int,
    size: int = 2,
    *,
    interpolation: str = "nearest",
    **options: Any,
) -> Tensor:
    """Upsample and convolve with this library's layer."""
    layer = getattr(keras_upsampling, f"UpsampleConv{len(x.shape) - 2}D")
    return layer(filters, kernel_size, size, interpolation=interpolation, **SAME, **options)(x)


def transposed_conv(
    x: Tensor,
    filters: int,
    kernel_size: int,
    size: int = 2,
    *,
    interpolation: str = "nearest",  # noqa: ARG001 - a transposed convolution has none
    **options: Any,
) -> Tensor:
    """Upsample with Keras's transposed convolution.

    Raises:
        GapsError: If the kernel is shorter than the stride. On TensorFlow, its gradient can crash
            the process.
    """
    if kernel_size < size:
        raise GapsError
    layer = getattr(layers, f"Conv{len(x.shape) - 2}DTranspose")
    return layer(filters, kernel_size, strides=size, **SAME, **options)(x)


def _conv(x: Tensor, filters: int, kernel_size: int = 3, **options: Any) -> Tensor:
    layer = getattr(layers, f"Conv{len(x.shape) - 2}D")
    return layer(filters, kernel_size, **{**SAME, **options})(x)


def _norm_relu(x: Tensor) -> Tensor:
    return layers.ReLU()(layers.BatchNormalization(axis=-1)(x))


def _leaky(x: Tensor) -> Tensor:
    return layers.LeakyReLU(0.2)(x)


def _first_map(code: Tensor, length: int, channels: int) -> Tensor:
    """Return a square map computed from a code."""
    y = layers.Dense(length * length * channels)(code)
    return layers.Reshape((length, length, channels))(y)


def _dcgan(block: Block, width: int, length: int) -> keras.Model:
    code = keras.Input((100,))
    y = _norm_relu(_first_map(code, length, 8 * width))
    for filters in (4 * width, 2 * width, width):
        y = _norm_relu(block(y, filters, 5, use_bias=False))
    return keras.Model(code, block(y, 3, 5, activation="tanh"))


def _conditional_gan(block: Block, width: int, length: int) -> keras.Model:
    code = keras.Input((128 + 10,))  # noise and one of ten classes
    y = _leaky(_first_map(code, length, width))
    for _ in range(2):
        y = _leaky(block(y, width, 4))
    return keras.Model(code, _conv(y, 1, 7, activation="sigmoid"))


def _wgan_gp(block: Block, width: int, length: int) -> keras.Model:
    code = keras.Input((128,))
    y = _leaky(layers.BatchNormalization()(_first_map(code, length, 4 * width)))
    for filters in (2 * width, width):
        y = block(y, filters, 3, use_bias=False)
        y = _leaky(layers.BatchNormalization(axis=-1)(y))
    y = layers.BatchNormalization(axis=-1)(block(y, 1, 3, use_bias=False))
    y = layers.Activation("tanh")(y)
    return keras.Model(code, layers.Cropping2D(2, **LAST)(y))


def _vae_decoder(block: Block, width: int, length: int) -> keras.Model:
    code = keras.Input((2,))
    y = layers.ReLU()(_first_map(code, length, 2 * width))
    for filters in (2 * width, width):
        y = block(y, filters, 3, activation="relu")
    return keras.Model(code, _conv(y, 1, activation="sigmoid"))


def _decoder(block: Block, width: int, length: int) -> keras.Model:
    x = y = keras.Input((length, length, 16 * width))
    for filters in (8 * width, 4 * width, 2 * width, width):
        y = block(y, filters, 3, activation="relu")
    return keras.Model(x, _conv(y, 3, 1))


def _swish_conv(x: Tensor, filters: int) -> Tensor:
    groups = min(32, x.shape[-1])
    y = layers.GroupNormalization(groups=groups, axis=-1)(x)
    return _conv(layers.Activation("swish")(y), filters)


def _diffusion_decoder(block: Block, width: int, length: int) -> keras.Model:
    def residual(x: Tensor, filters: int) -> Tensor:
        start = x if x.shape[-1] == filters else _conv(x, filters, 1)
        return layers.Add()([start, _swish_conv(_swish_conv(x, filters), filters)])

    code = keras.Input((length, length, 4))
    y = residual(_conv(code, 4 * width), 4 * width)
    for filters in (4 * width, 2 * width, width):
        y = residual(block(y, y.shape[-1], 3), filters)
    return keras.Model(code, _swish_conv(y, 3))


# Number of residual connections of EDSR.
_EDSR_DEPTH = 16


def _edsr(block: Block, width: int, length: int) -> keras.Model:
    image = keras.Input((length, length, 3))
    start = y = _conv(layers.Rescaling(1 / 255)(image), width)
    for _ in range(_EDSR_DEPTH):
        y = layers.Add()([y, _conv(_conv(y, width, activation="relu"), width)])
    y = layers.Add()([start, _conv(y, width)])
    for _ in range(2):
        y = block(y, width, 3)
    return keras.Model(image, layers.Rescaling(255.0)(_conv(y, 3)))


def _deeplab_head(block: Block, width: int, length: int) -> keras.Model:
    coarse, fine = (
        keras.Input((scale * length, scale * length, channels))
        for scale, channels in ((1, width), (4, width // 4))
    )
    linear = {"interpolation": "bilinear", **LAST}
    pooled = _conv(layers.AveragePooling2D(length, **LAST)(coarse), width, 1)
    scales = [layers.UpSampling2D(length, **linear)(_norm_relu(pooled))]
    scales += [
        _norm_relu(_conv(coarse, width, taps, dilation_rate=rate, use_bias=False))
        for taps, rate in ((1, 1), (3, 6), (3, 12), (3, 18))
    ]
    y = _norm_relu(_conv(layers.Concatenate()(scales), width, 1, use_bias=False))
    y = layers.UpSampling2D(4, **linear)(y)
    y = layers.Concatenate()([y, _norm_relu(_conv(fine, 3 * width // 16, 1, use_bias=False))])
    for _ in range(2):
        y = _norm_relu(_conv(y, width, use_bias=False))
    return keras.Model([coarse, fine], block(y, 21, 1, 4, interpolation="linear"))


def _unet(
    block: Block, width: int, length: int, *, rank: int = 2, depth: int = 4, halves: bool = True
) -> keras.Model:
    def stage(x: Tensor, filters: int) -> Tensor:
        for _ in range(2):
            x = _norm_relu(_conv(x, filters))
        return x

    image = y = keras.Input((*(length,) * rank, 1))
    skips = []
    for level in range(depth):
        skips.append(y := stage(y, width * 2**level))
        y = getattr(layers, f"MaxPooling{rank}D")(2, **LAST)(y)
    y = stage(y, width * 2**depth)
    for skip in reversed(skips):
        y = block(y, y.shape[-1] // 2 if halves else y.shape[-1], 2)
        y = stage(layers.Concatenate()([skip, y]), skip.shape[-1])
    return keras.Model(image, _conv(y, 2, 1))


# Upsampling factor and kernel size of MelGAN's blocks. Those published have transposed convolutions
# of twice the factor; a convolution that follows an upsampling needs fewer taps.
_MELGAN_BLOCKS = ((8, 7), (8, 7), (2, 5), (2, 3))


def _melgan(block: Block, width: int, length: int) -> keras.Model:
    spectrogram = keras.Input((length, 80))
    y = _conv(spectrogram, 16 * width, 7)
    for i, (size, kernel_size) in enumerate(_MELGAN_BLOCKS):
        filters = 8 * width // 2**i
        y = block(_leaky(y), filters, kernel_size, size)
        for rate in (1, 3, 9):
            z = _conv(_leaky(y), filters, 3, dilation_rate=rate)
            y = layers.Add()([_conv(y, filters, 1), _conv(_leaky(z), filters, 1)])
    return keras.Model(spectrogram, _conv(_leaky(y), 1, 7, activation="tanh"))


def _melgan_block(block: Block, width: int, length: int, *, i: int) -> keras.Model:
    size, kernel_size = _MELGAN_BLOCKS[i]
    x = keras.Input((length, 2 * width))
    # A learnt slope, so that a step computes the gradient of the input, as in the generator.
    y = layers.PReLU(shared_axes=(1,))(x)
    return keras.Model(x, block(y, width, kernel_size, size))


class Published(NamedTuple):
    """A published program.

    Attributes:
        build: Returns the program, given a block, `width` and `length`.
        width: Unit of the numbers of channels.
        length: Length of the first map.
        batch: Number of items of a batch.
        source: The publication, and Keras's example if its sizes are taken from there.
    """

    build: Callable[[Block, int, int], keras.Model]
    width: int
    length: int
    batch: int
    source: str


def _melgan_block_record(i: int, length: int) -> Published:
    build = functools.partial(_melgan_block, i=i)
    return Published(build, 256 // 2**i, length, 8, f"block {i + 1} of melgan")


PROGRAMS: dict[str, Published] = {
    "dcgan": Published(_dcgan, 64, 4, 16, "arXiv 1511.06434"),
    "conditional_gan": Published(
        _conditional_gan, 128, 7, 16, "arXiv 1411.1784; Keras's example conditional_gan"
    ),
    "wgan_gp": Published(_wgan_gp, 64, 4, 32, "arXiv 1704.00028; Keras's example wgan_gp"),
    "vae_decoder": Published(_vae_decoder, 32, 7, 64, "arXiv 1312.6114; Keras's example vae"),
    "decoder": Published(_decoder, 16, 32, 1, "four plain blocks, to 64, 128, 256 and 512 pixels"),
    "diffusion_decoder": Published(_diffusion_decoder, 32, 16, 1, "arXiv 2112.10752"),
    "edsr": Published(_edsr, 64, 24, 4, "arXiv 1707.02921; Keras's example edsr"),
    "deeplab_head": Published(
        _deeplab_head, 256, 16, 1, "arXiv 1802.02611; Keras's example deeplabv3_plus"
    ),
    "unet": Published(_unet, 32, 128, 1, "arXiv 1505.04597"),
    "unet_3d": Published(
        functools.partial(_unet, rank=3, depth=2, halves=False), 16, 32, 1, "arXiv 1606.06650"
    ),
    "melgan": Published(_melgan, 32, 32, 2, "arXiv 1910.06711"),
    **{
        f"melgan_block_{i + 1}": _melgan_block_record(i, length)
        for i, length in enumerate((32, 256, 2048, 4096))
    },
}
