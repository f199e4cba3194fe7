"""Published architectures that upsample and then convolve, built from one block at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import layers

from keras_upsampling._types import Tensor
from keras_upsampling.bench.blocks import LAST, Block, conv


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
    y = _leaky(_first_map(code, length, width + 10))
    for _ in range(2):
        y = _leaky(block(y, width, 4))
    return keras.Model(code, conv(y, 1, 7, activation="sigmoid"))


def _wgan_gp(block: Block, width: int, length: int) -> keras.Model:
    code = keras.Input((128,))
    y = layers.Dense(length * length * 4 * width, use_bias=False)(code)
    y = _leaky(layers.BatchNormalization()(y))
    y = layers.Reshape((length, length, 4 * width))(y)
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
    return keras.Model(code, conv(y, 1, activation="sigmoid"))


def _decoder(block: Block, width: int, length: int) -> keras.Model:
    x = y = keras.Input((length, length, 16 * width))
    for filters in (8 * width, 4 * width, 2 * width, width):
        y = block(y, filters, 3, activation="relu")
    return keras.Model(x, conv(y, 3, 1))


def _group_norm(x: Tensor) -> Tensor:
    return layers.GroupNormalization(groups=min(32, x.shape[-1]), axis=-1)(x)


def _swish_conv(x: Tensor, filters: int) -> Tensor:
    return conv(layers.Activation("swish")(_group_norm(x)), filters)


def _attention(x: Tensor) -> Tensor:
    """Add to every sample of a map what it attends to in the map."""
    _, height, width, channels = x.shape
    y = layers.Reshape((height * width, channels))(_group_norm(x))
    y = layers.MultiHeadAttention(1, channels)(y, y)
    return layers.Add()([x, layers.Reshape((height, width, channels))(y)])


# Number of residual connections of the diffusion decoder at every size.
_DIFFUSION_DEPTH = 3


def _diffusion_decoder(block: Block, width: int, length: int) -> keras.Model:
    def residual(x: Tensor, filters: int, depth: int = 1) -> Tensor:
        for _ in range(depth):
            start = x if x.shape[-1] == filters else conv(x, filters, 1)
            x = layers.Add()([start, _swish_conv(_swish_conv(x, filters), filters)])
        return x

    code = keras.Input((length, length, 4))
    y = residual(conv(code, 4 * width), 4 * width)
    y = residual(_attention(y), 4 * width)
    for filters in (4 * width, 4 * width, 2 * width):
        y = block(residual(y, filters, _DIFFUSION_DEPTH), filters, 3)
    return keras.Model(code, _swish_conv(residual(y, width, _DIFFUSION_DEPTH), 3))


# Number of residual connections of EDSR.
_EDSR_DEPTH = 16


def _edsr(block: Block, width: int, length: int) -> keras.Model:
    image = keras.Input((length, length, 3))
    start = y = conv(layers.Rescaling(1 / 255)(image), width)
    for _ in range(_EDSR_DEPTH):
        y = layers.Add()([y, conv(conv(y, width, activation="relu"), width)])
    y = layers.Add()([start, conv(y, width)])
    for _ in range(2):
        y = block(y, width, 3)
    return keras.Model(image, layers.Rescaling(255.0)(conv(y, 3)))


def _deeplab_head(block: Block, width: int, length: int) -> keras.Model:
    coarse, fine = (
        keras.Input((scale * length, scale * length, channels))
        for scale, channels in ((1, width), (4, width // 4))
    )
    linear = {"interpolation": "bilinear", **LAST}
    pooled = conv(layers.AveragePooling2D(length, **LAST)(coarse), width, 1)
    scales = [layers.UpSampling2D(length, **linear)(_norm_relu(pooled))]
    scales += [
        _norm_relu(conv(coarse, width, taps, dilation_rate=rate, use_bias=False))
        for taps, rate in ((1, 1), (3, 6), (3, 12), (3, 18))
    ]
    y = _norm_relu(conv(layers.Concatenate()(scales), width, 1, use_bias=False))
    y = layers.UpSampling2D(4, **linear)(y)
    y = layers.Concatenate()([y, _norm_relu(conv(fine, 3 * width // 16, 1, use_bias=False))])
    for _ in range(2):
        y = _norm_relu(conv(y, width, use_bias=False))
    return keras.Model([coarse, fine], block(y, 20, 1, 4, interpolation="linear"))


def _unet(block: Block, width: int, length: int, *, depth: int = 4) -> keras.Model:
    def stage(x: Tensor, filters: int) -> Tensor:
        for _ in range(2):
            x = conv(x, filters, activation="relu")
        return x

    image = y = keras.Input((length, length, 1))
    skips = []
    for level in range(depth):
        skips.append(y := stage(y, width * 2**level))
        y = layers.MaxPooling2D(2, **LAST)(y)
    y = stage(y, width * 2**depth)
    for skip in reversed(skips):
        y = layers.Concatenate()([skip, block(y, skip.shape[-1], 2)])
        y = stage(y, skip.shape[-1])
    return keras.Model(image, conv(y, 2, 1))


def _unet_3d(block: Block, width: int, length: int, *, depth: int = 3) -> keras.Model:
    def stage(x: Tensor, *filters: int) -> Tensor:
        for number in filters:
            x = _norm_relu(conv(x, number))
        return x

    image = y = keras.Input((length, length, length, 3))
    skips = []
    for level in range(depth):
        skips.append(y := stage(y, width * 2**level, width * 2 ** (level + 1)))
        y = layers.MaxPooling3D(2, **LAST)(y)
    y = stage(y, width * 2**depth, width * 2 ** (depth + 1))
    for skip in reversed(skips):
        y = layers.Concatenate()([skip, block(y, y.shape[-1], 2, use_bias=False)])
        y = stage(y, skip.shape[-1], skip.shape[-1])
    return keras.Model(image, conv(y, 3, 1))


# Upsampling factor and kernel size of MelGAN's blocks. Those published have transposed convolutions
# of twice the factor; a convolution that follows an upsampling needs fewer taps.
_MELGAN_BLOCKS = ((8, 7), (8, 7), (2, 5), (2, 3))


def _melgan(block: Block, width: int, length: int) -> keras.Model:
    spectrogram = keras.Input((length, 80))
    y = conv(spectrogram, 16 * width, 7)
    for i, (size, kernel_size) in enumerate(_MELGAN_BLOCKS):
        filters = 8 * width // 2**i
        y = block(_leaky(y), filters, kernel_size, size)
        for rate in (1, 3, 9):
            z = conv(_leaky(y), filters, 3, dilation_rate=rate)
            y = layers.Add()([conv(y, filters, 1), conv(_leaky(z), filters, 1)])
    return keras.Model(spectrogram, conv(_leaky(y), 1, 7, activation="tanh"))


def _melgan_block(block: Block, width: int, length: int, *, i: int) -> keras.Model:
    size, kernel_size = _MELGAN_BLOCKS[i]
    x = keras.Input((length, 2 * width))
    # A learnt slope, so that a step computes the gradient of the input, as in the generator.
    y = layers.PReLU(shared_axes=(1,))(x)
    return keras.Model(x, block(y, width, kernel_size, size))


class Architecture(NamedTuple):
    """A published architecture, in sizes that a small machine can train.

    Attributes:
        build: Returns the model, given a block, `width` and `length`.
        width: Unit of the numbers of channels.
        length: Length of the first map.
        batch: Number of items of a batch.
        source: The publication, and Keras's example if its sizes are taken from there.
        differs: What differs from that, but for the block; in parentheses what it is there.
    """

    build: Callable[[Block, int, int], keras.Model]
    width: int
    length: int
    batch: int
    source: str
    differs: str = ""


def _melgan_block_record(i: int, length: int) -> Architecture:
    build = functools.partial(_melgan_block, i=i)
    differs = "as melgan; a slope that is learnt"
    return Architecture(build, 256 // 2**i, length, 8, f"block {i + 1} of melgan", differs)


ARCHITECTURES: dict[str, Architecture] = {
    "dcgan": Architecture(_dcgan, 128, 4, 4, "arXiv 1511.06434", "batch (128)"),
    "conditional_gan": Architecture(
        *(_conditional_gan, 128, 7, 16),
        "arXiv 1411.1784; Keras's example conditional_gan",
        "batch (64)",
    ),
    "wgan_gp": Architecture(
        *(_wgan_gp, 64, 4, 128),
        "arXiv 1704.00028; Keras's example wgan_gp",
        "batch (512)",
    ),
    "vae_decoder": Architecture(
        *(_vae_decoder, 32, 7, 128), "arXiv 1312.6114; Keras's example vae"
    ),
    "decoder": Architecture(
        *(_decoder, 16, 32, 1), "no publication: blocks to 64, 128, 256 and 512 pixels"
    ),
    "diffusion_decoder": Architecture(
        *(_diffusion_decoder, 64, 8, 1),
        "arXiv 2112.10752",
        "half the channels; maps from 8x8 (64x64)",
    ),
    "edsr": Architecture(
        *(_edsr, 64, 24, 4), "arXiv 1707.02921; Keras's example edsr", "batch (16)"
    ),
    "deeplab_head": Architecture(
        *(_deeplab_head, 256, 16, 1),
        "arXiv 1802.02611; Keras's example deeplabv3_plus",
        "maps from 16x16 (32x32); batch (4)",
    ),
    "unet": Architecture(
        *(_unet, 64, 96, 1),
        "arXiv 1505.04597",
        "images of 96x96 (572x572), padded with zeros (not padded); no dropout",
    ),
    "unet_3d": Architecture(
        *(_unet_3d, 16, 16, 1),
        "arXiv 1606.06650",
        "half the channels; volumes of 16x16x16 (132x132x116), padded with zeros (not padded)",
    ),
    "melgan": Architecture(
        *(_melgan, 32, 32, 2),
        "arXiv 1910.06711",
        "kernels of 7, 7, 5 and 3 taps (16, 16, 4 and 4, for transposed convolutions); padded with "
        "zeros (reflected); no weight normalization; batch (16)",
    ),
    **{
        f"melgan_block_{i + 1}": _melgan_block_record(i, length)
        for i, length in enumerate((32, 256, 2048, 4096))
    },
}
