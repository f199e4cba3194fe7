"""Published architectures, built from a block, a unit of channels and the first map's length."""

from __future__ import annotations

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


def dcgan(block: Block, width: int, length: int) -> keras.Model:
    """Return the generator of DCGAN."""
    code = keras.Input((100,))
    y = _norm_relu(_first_map(code, length, 8 * width))
    for filters in (4 * width, 2 * width, width):
        y = _norm_relu(block(y, filters, 5, use_bias=False))
    return keras.Model(code, block(y, 3, 5, activation="tanh"))


def conditional_gan(block: Block, width: int, length: int) -> keras.Model:
    """Return the generator of a GAN of digits of ten classes."""
    code = keras.Input((128 + 10,))  # noise and one of ten classes
    y = _leaky(_first_map(code, length, width + 10))
    for _ in range(2):
        y = _leaky(block(y, width, 4))
    return keras.Model(code, conv(y, 1, 7, activation="sigmoid"))


def wgan_gp(block: Block, width: int, length: int) -> keras.Model:
    """Return the generator of a Wasserstein GAN."""
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


def vae_decoder(block: Block, width: int, length: int) -> keras.Model:
    """Return the decoder of a variational autoencoder of digits."""
    code = keras.Input((2,))
    y = layers.ReLU()(_first_map(code, length, 2 * width))
    for filters in (2 * width, width):
        y = block(y, filters, 3, activation="relu")
    return keras.Model(code, conv(y, 1, activation="sigmoid"))


def decoder(block: Block, width: int, length: int) -> keras.Model:
    """Return a plain decoder of images."""
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


def diffusion_decoder(block: Block, width: int, length: int) -> keras.Model:
    """Return the decoder of latent diffusion."""

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


def edsr(block: Block, width: int, length: int) -> keras.Model:
    """Return EDSR, which upsamples images by 4."""
    image = keras.Input((length, length, 3))
    start = y = conv(layers.Rescaling(1 / 255)(image), width)
    for _ in range(_EDSR_DEPTH):
        y = layers.Add()([y, conv(conv(y, width, activation="relu"), width)])
    y = layers.Add()([start, conv(y, width)])
    for _ in range(2):
        y = block(y, width, 3)
    return keras.Model(image, layers.Rescaling(255.0)(conv(y, 3)))


def deeplab_head(block: Block, width: int, length: int) -> keras.Model:
    """Return what follows the encoder in DeepLabv3+."""
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


def unet(block: Block, width: int, length: int, *, depth: int = 4) -> keras.Model:
    """Return the U-Net."""

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


def unet_3d(block: Block, width: int, length: int, *, depth: int = 3) -> keras.Model:
    """Return the U-Net for volumes."""

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


def melgan(block: Block, width: int, length: int) -> keras.Model:
    """Return the generator of MelGAN."""
    spectrogram = keras.Input((length, 80))
    y = conv(spectrogram, 16 * width, 7)
    for i, (size, kernel_size) in enumerate(_MELGAN_BLOCKS):
        filters = 8 * width // 2**i
        y = block(_leaky(y), filters, kernel_size, size)
        for rate in (1, 3, 9):
            z = conv(_leaky(y), filters, 3, dilation_rate=rate)
            y = layers.Add()([conv(y, filters, 1), conv(_leaky(z), filters, 1)])
    return keras.Model(spectrogram, conv(_leaky(y), 1, 7, activation="tanh"))


def melgan_block(block: Block, width: int, length: int, *, i: int) -> keras.Model:
    """Return block `i` of MelGAN, from 0."""
    size, kernel_size = _MELGAN_BLOCKS[i]
    x = keras.Input((length, 2 * width))
    # A learnt slope, so that a step computes the gradient of the input, as in the generator.
    y = layers.PReLU(shared_axes=(1,))(x)
    return keras.Model(x, block(y, width, kernel_size, size))
