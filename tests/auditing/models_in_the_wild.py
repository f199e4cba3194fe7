"""Twenty published architectures that upsample, reimplemented with few channels.

`python -m tests.auditing.models_in_the_wild` audits and repairs each in its own process. It prints
how many upsamplings were measured, and the memory and time. Names as arguments select models.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

import keras_upsampling
from keras_upsampling._tables import table
from keras_upsampling.auditing.survey import noise

LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


class Architecture(NamedTuple):
    """A model and the expected result of its audit.

    Attributes:
        build: Function that returns the built model.
        source: Publication.
        upsamplings: Number of layers that upsample.
        unmeasured: Number of those whose pattern cannot be measured in the output.
        reason: Why it cannot be measured.
    """

    build: Callable[[], keras.Model]
    source: str
    upsamplings: int
    unmeasured: int = 0
    reason: str = ""


def conv(filters, taps=3, **options):
    return layers.Conv2D(filters, taps, **{**SAME, **options})


def transposed(filters, taps, **options):
    return layers.Conv2DTranspose(filters, taps, **{"strides": 2, **SAME, **options})


def norm():
    return layers.BatchNormalization(axis=-1)


def instance_norm():
    return layers.GroupNormalization(groups=-1, axis=-1)


def run(x, *stack):
    for layer in stack:
        x = layer(x)
    return x


def dcgan():
    """From a code to 64 x 64 by four transposed convolutions of 5 x 5."""
    z = keras.Input((16,))
    y = run(z, layers.Dense(4 * 4 * 32), layers.Reshape((4, 4, 32)), norm(), layers.ReLU())
    for filters in (16, 8, 4):
        y = run(y, transposed(filters, 5, use_bias=False), norm(), layers.ReLU())
    return keras.Model(z, transposed(3, 5, activation="tanh")(y))


def conditional_gan():
    """A code and a class, kernels divisible by the stride, and a wide last convolution."""
    z, label = keras.Input((16,)), keras.Input((), dtype="int32")
    both = layers.Concatenate()([z, layers.Embedding(10, 8)(label)])
    y = run(both, layers.Dense(7 * 7 * 16), layers.LeakyReLU(), layers.Reshape((7, 7, 16)))
    for _ in range(2):
        y = run(y, transposed(8, 4), layers.LeakyReLU())
    return keras.Model([z, label], conv(1, 7, activation="sigmoid")(y))


class ReflectionPadding2D(layers.Layer):
    def __init__(self, padding, **options):
        super().__init__(**options)
        self.padding = padding

    def call(self, x):
        padding = [self.padding, self.padding]
        return ops.pad(x, [[0, 0], padding, padding, [0, 0]], mode="reflect")

    def get_config(self):
        return {**super().get_config(), "padding": self.padding}


def cyclegan():
    """Reflection at the borders, residual connections, instance normalisation."""
    x = keras.Input((128, 128, 3))
    y = run(x, ReflectionPadding2D(3), conv(4, 7, padding="valid"), instance_norm(), layers.ReLU())
    for filters in (8, 16):
        y = run(y, conv(filters, strides=2), instance_norm(), layers.ReLU())
    for _ in range(3):
        z = y
        for activation in ("relu", "linear"):
            z = run(z, ReflectionPadding2D(1), conv(16, padding="valid"), instance_norm())
            z = layers.Activation(activation)(z)
        y = layers.Add()([y, z])
    for filters in (8, 4):
        y = run(y, transposed(filters, 3), instance_norm(), layers.ReLU())
    y = run(y, ReflectionPadding2D(3), conv(3, 7, padding="valid", activation="tanh"))
    return keras.Model(x, y)


def pix2pix():
    """A U-Net of eight stages: at 256 x 256 the innermost map is a single sample."""
    x = y = keras.Input((256, 256, 3))
    skips = []
    for level in range(8):
        y = conv(4 * min(2**level, 8), 4, strides=2, use_bias=False)(y)
        y = layers.LeakyReLU(0.2)(norm()(y) if level else y)
        skips.append(y)
    for level, skip in enumerate(skips[-2::-1]):
        y = run(y, transposed(skip.shape[-1], 4, use_bias=False), norm())
        y = layers.ReLU()(layers.Dropout(0.5)(y) if level < 3 else y)
        y = layers.Concatenate()([y, skip])
    return keras.Model(x, transposed(3, 4, activation="tanh")(y))


class VectorQuantizer(layers.Layer):
    """Replaces every vector by the nearest one of a learnt codebook."""

    def __init__(self, count, **options):
        super().__init__(**options)
        self.count = count

    def build(self, shape):
        self.vectors = self.add_weight(shape=(shape[-1], self.count), initializer="uniform")

    def call(self, x):
        flat = ops.reshape(x, (-1, self.vectors.shape[0]))
        distances = ops.sum(self.vectors**2, axis=0) - 2 * ops.matmul(flat, self.vectors)
        chosen = ops.one_hot(ops.argmin(distances, axis=1), self.count)
        nearest = ops.reshape(ops.matmul(chosen, ops.transpose(self.vectors)), ops.shape(x))
        return x + ops.stop_gradient(nearest - x)

    def get_config(self):
        return {**super().get_config(), "count": self.count}


def vq_vae():
    """Strided convolutions, vector quantization, transposed convolutions."""
    x = keras.Input((28, 28, 1))
    y = run(x, *(conv(f, activation="relu", strides=2) for f in (8, 16)), conv(4, 1))
    y = VectorQuantizer(16, name="quantizer")(y)
    y = run(y, *(transposed(f, 3, activation="relu") for f in (16, 8)), conv(1))
    return keras.Model(x, y)


@keras.saving.register_keras_serializable(package="models_in_the_wild")
def sinusoids(level):
    frequencies = ops.convert_to_tensor(2 * np.pi * np.geomspace(1, 1000, 4), dtype="float32")
    return ops.concatenate([ops.sin(frequencies * level), ops.cos(frequencies * level)], axis=3)


def residual(x, filters):
    start = x if x.shape[-1] == filters else conv(filters, 1)(x)
    y = layers.BatchNormalization(axis=-1, center=False, scale=False)(x)
    return layers.Add()([start, run(y, conv(filters, activation="swish"), conv(filters))])


def ddim():
    """A diffusion U-Net: the noise level, a single sample, is upsampled to the image size."""
    images, level = keras.Input((64, 64, 3)), keras.Input((1, 1, 1))
    embedding = layers.Lambda(sinusoids, output_shape=(1, 1, 8))(level)
    embedding = layers.UpSampling2D(64, name="embedding", **LAST)(embedding)
    y = layers.Concatenate()([conv(4, 1)(images), embedding])
    skips = []
    for filters in (4, 8, 12):
        for _ in range(2):
            y = residual(y, filters)
            skips.append(y)
        y = layers.AveragePooling2D(2, **LAST)(y)
    for _ in range(2):
        y = residual(y, 16)
    for filters in (12, 8, 4):
        y = layers.UpSampling2D(2, interpolation="bilinear", **LAST)(y)
        for _ in range(2):
            y = residual(layers.Concatenate()([y, skips.pop()]), filters)
    return keras.Model([images, level], conv(3, 1, kernel_initializer="he_normal")(y))


def deeplab():
    """Dilated convolutions, and the mean of the map upsampled to the map's size."""
    x = keras.Input((128, 128, 3))
    y = run(x, conv(4, 7, strides=2), norm(), layers.ReLU(), layers.MaxPooling2D(3, 2, **SAME))
    fine = y
    for filters, strides in ((8, 2), (16, 2)):
        z = run(y, conv(filters, strides=strides), norm(), layers.ReLU(), conv(filters), norm())
        y = layers.ReLU()(layers.Add()([conv(filters, 1, strides=strides)(y), z]))
    height, width = y.shape[1:3]
    pooled = run(y, layers.AveragePooling2D((height, width), **LAST), conv(8, 1), norm())
    bilinear = {"interpolation": "bilinear", **LAST}
    scales = [layers.UpSampling2D((height, width), name="context", **bilinear)(pooled)]
    for rate in (1, 6, 12, 18):
        z = conv(8, 1 if rate == 1 else 3, dilation_rate=rate, use_bias=False)(y)
        scales.append(run(z, norm(), layers.ReLU()))
    y = run(layers.Concatenate()(scales), conv(8, 1), norm(), layers.ReLU())
    y = layers.UpSampling2D(4, **bilinear)(y)
    y = layers.Concatenate()([y, run(fine, conv(4, 1), norm(), layers.ReLU())])
    for _ in range(2):
        y = run(y, conv(8), norm(), layers.ReLU())
    return keras.Model(x, conv(5, 1)(layers.UpSampling2D(4, **bilinear)(y)))


def channel_attention(x):
    pooled = layers.GlobalAveragePooling2D(keepdims=True, **LAST)(x)
    weights = run(pooled, conv(2, 1, activation="relu"), conv(x.shape[-1], 1, activation="sigmoid"))
    return layers.Multiply()([x, weights])


def selective_fusion(maps):
    mean = layers.GlobalAveragePooling2D(keepdims=True, **LAST)(layers.Add()(maps))
    compact = conv(2, 1, activation="relu")(mean)
    weighted = [
        layers.Multiply()([x, conv(x.shape[-1], 1, activation="softmax")(compact)]) for x in maps
    ]
    return layers.Add()(weighted)


def mirnet():
    """Three parallel resolutions, exchanged and merged by channel attention."""

    def downsample(x, times):
        for _ in range(times):
            x = run(x, conv(x.shape[-1]), layers.MaxPooling2D(2, **LAST), conv(x.shape[-1] * 2, 1))
        return x

    def upsample(x, times):
        for _ in range(times):
            x = run(x, conv(x.shape[-1]), layers.UpSampling2D(2, **LAST), conv(x.shape[-1] // 2, 1))
        return x

    x = keras.Input((128, 128, 3))
    y = conv(4)(x)
    streams = [y, downsample(y, 1), downsample(y, 2)]
    streams = [channel_attention(stream) for stream in streams]
    mixed = []
    for target in range(3):
        resized = [
            downsample(stream, target - source)
            if target > source
            else upsample(stream, source - target)
            for source, stream in enumerate(streams)
        ]
        mixed.append(channel_attention(selective_fusion(resized)))
    y = selective_fusion([upsample(stream, source) for source, stream in enumerate(mixed)])
    return keras.Model(x, layers.Add()([x, conv(3)(layers.Add()([conv(4)(x), conv(4)(y)]))]))


def basnet():
    """A U-Net with an output at every stage, and a second one that refines the last output."""

    def stage(x, filters):
        return run(x, conv(filters), norm(), layers.ReLU())

    bilinear = {"interpolation": "bilinear", **LAST}
    x = y = keras.Input((128, 128, 3))
    skips = []
    for filters in (4, 8, 8, 8, 8):
        y = stage(y, filters)
        skips.append(y)
        y = layers.MaxPooling2D(2, **LAST)(y)
    y = stage(y, 8)
    sides = [(y, 32)]
    for level, skip in enumerate(skips[::-1]):
        y = layers.UpSampling2D(2, **bilinear)(y)
        y = stage(layers.Concatenate()([y, skip]), skip.shape[-1])
        sides.append((y, 2 ** (4 - level)))
    images = []
    for side, size in sides:
        image = conv(1)(side)
        images.append(image if size == 1 else layers.UpSampling2D(size, **bilinear)(image))
    coarse = y = images.pop()
    inner_skips = []
    for _ in range(3):
        y = stage(y, 4)
        inner_skips.append(y)
        y = layers.MaxPooling2D(2, **LAST)(y)
    y = stage(y, 4)
    for skip in inner_skips[::-1]:
        y = layers.Concatenate()([layers.UpSampling2D(2, **bilinear)(y), skip])
        y = stage(y, 4)
    refined = layers.Add()([coarse, conv(1)(y)])
    outputs = [layers.Activation("sigmoid")(image) for image in (refined, coarse, *images[::-1])]
    return keras.Model(x, outputs)


def melgan():
    """Sound from a spectrogram: transposed convolutions by 8, 8, 2, 2, dilated convolutions."""
    x = keras.Input((None, 20))
    y = layers.Conv1D(32, 7, padding="same")(x)
    for filters, size in ((16, 8), (8, 8), (4, 2), (4, 2)):
        y = layers.LeakyReLU(0.2)(y)
        y = layers.Conv1DTranspose(filters, 2 * size, strides=size, padding="same")(y)
        for rate in (1, 3, 9):
            z = run(
                y,
                layers.LeakyReLU(0.2),
                layers.Conv1D(filters, 3, dilation_rate=rate, padding="same"),
                layers.LeakyReLU(0.2),
                layers.Conv1D(filters, 1),
            )
            y = layers.Add()([y, z])
    y = run(y, layers.LeakyReLU(0.2), layers.Conv1D(1, 7, padding="same", activation="tanh"))
    return keras.Model(x, y)


def unet_3d():
    """Volumes: pooling, and transposed convolutions with kernels as large as their stride."""

    def stage(y, filters):
        for _ in range(2):
            y = run(y, layers.Conv3D(filters, 3, **SAME), norm(), layers.ReLU())
        return y

    x = y = keras.Input((32, 32, 32, 1))
    skips = []
    for filters in (4, 8):
        y = stage(y, filters)
        skips.append(y)
        y = layers.MaxPooling3D(2, **LAST)(y)
    y = stage(y, 16)
    for skip in skips[::-1]:
        y = layers.Conv3DTranspose(skip.shape[-1], 2, strides=2, **SAME)(y)
        y = stage(layers.Concatenate()([y, skip]), skip.shape[-1])
    return keras.Model(x, layers.Conv3D(2, 1, **LAST)(y))


class LearntConstant(layers.Layer):
    """The first map of a style-based generator, the same for every code."""

    def build(self, _):
        self.map = self.add_weight(shape=(1, 4, 4, 8), initializer="normal")

    def call(self, code):
        return ops.repeat(self.map, ops.shape(code)[0], axis=0)

    def compute_output_shape(self, shape):
        return (shape[0], 4, 4, 8)


class ModulatedConv2D(layers.Layer):
    """A convolution with inputs scaled by a style and outputs of unit variance."""

    def __init__(self, filters, **options):
        super().__init__(**options)
        self.filters = filters
        self.convolution = conv(filters, use_bias=False)

    def build(self, shapes):
        self.scale = layers.Dense(shapes[0][-1], bias_initializer="ones")
        self.scale.build(shapes[1])
        self.convolution.build(shapes[0])

    def call(self, inputs):
        x, style = inputs
        scale = self.scale(style)[:, None, None, :]
        power = ops.sum(self.convolution.kernel**2, axis=(0, 1))
        spread = ops.sqrt(ops.matmul(scale**2, power) + 1e-8)
        return self.convolution(x * scale) / spread

    def compute_output_shape(self, shapes):
        return (*shapes[0][:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def stylegan():
    """A learnt constant, convolutions modulated by styles, and bilinear upsampling."""
    code = keras.Input((16,))
    style = run(code, layers.Dense(16), layers.LeakyReLU(0.2), layers.Dense(16))
    y = LearntConstant(name="constant")(style)
    for filters in (8, 8, 4):
        y = layers.UpSampling2D(2, interpolation="bilinear", **LAST)(y)
        for _ in range(2):
            y = layers.LeakyReLU(0.2)(ModulatedConv2D(filters)([y, style]))
    return keras.Model(code, conv(3, 1)(y))


class SpatialAttention(layers.Layer):
    """Self-attention between all samples of a map."""

    def __init__(self, filters, **options):
        super().__init__(**options)
        self.filters = filters
        self.norm = layers.GroupNormalization(groups=2, axis=-1)
        self.query, self.key, self.value, self.last = (conv(filters, 1) for _ in range(4))

    def build(self, shape):
        for layer in (self.norm, self.query, self.key, self.value, self.last):
            layer.build(shape)

    def call(self, x):
        shape, y = ops.shape(x), self.norm(x)
        flat = (shape[0], shape[1] * shape[2], self.filters)
        query, key, value = (ops.reshape(f(y), flat) for f in (self.query, self.key, self.value))
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1))) / self.filters**0.5
        return x + self.last(ops.reshape(ops.matmul(ops.softmax(scores), value), shape))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


class ResidualBlock(layers.Layer):
    def __init__(self, filters, **options):
        super().__init__(**options)
        self.filters = filters
        self.norms = [layers.GroupNormalization(groups=2, axis=-1) for _ in range(2)]
        self.convolutions = [conv(filters) for _ in range(2)]
        self.shortcut = conv(filters, 1)

    def build(self, shape):
        inner = self.compute_output_shape(shape)
        for input_shape, normalize, convolve in zip(
            (shape, inner), self.norms, self.convolutions, strict=True
        ):
            normalize.build(input_shape)
            convolve.build(input_shape)
        self.shortcut.build(shape)

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.filters)

    def call(self, x):
        y = x
        for normalize, convolve in zip(self.norms, self.convolutions, strict=True):
            y = convolve(ops.silu(normalize(y)))
        return y + self.shortcut(x)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


class ImageDecoder(layers.Layer):
    """The image decoder of latent diffusion, as a list of layers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.steps = [conv(4, 1), conv(8), ResidualBlock(8), SpatialAttention(8), ResidualBlock(8)]
        for filters in (8, 8, 4):
            self.steps += [layers.UpSampling2D(2, **LAST), conv(8), ResidualBlock(filters)]
        self.steps += [layers.GroupNormalization(groups=2, axis=-1)]
        self.steps += [layers.Activation("swish"), conv(3)]

    def build(self, shape):
        for layer in self.steps:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def compute_output_shape(self, shape):
        return (shape[0], 8 * shape[1], 8 * shape[2], 3)

    def call(self, x):
        return run(x, *self.steps)


def diffusion_decoder():
    """A layer that holds a list of layers."""
    x = keras.Input((8, 8, 4))
    return keras.Model(x, ImageDecoder(name="decoder")(x))


def espcn():
    """Convolutions at the low resolution, then depth to space by 3."""
    x = keras.Input((None, None, 1))
    y = run(x, conv(8, 5, activation="tanh"), conv(4, activation="tanh"), conv(9))
    return keras.Model(x, ops.depth_to_space(y, 3, data_format="channels_last"))


class DepthToSpace(layers.Layer):
    def call(self, x):
        return ops.depth_to_space(x, 2, data_format="channels_last")


def edsr():
    """Residual connections without normalisation, and two sub-pixel convolutions by 2."""
    x = keras.Input((None, None, 3))
    start = y = conv(8)(layers.Rescaling(1 / 255)(x))
    for _ in range(3):
        y = layers.Add()([y, run(y, conv(8, activation="relu"), conv(8))])
    y = layers.Add()([start, conv(8)(y)])
    for _ in range(2):
        y = DepthToSpace()(conv(32)(y))
    return keras.Model(x, layers.Rescaling(255.0)(conv(3)(y)))


def wgan_gp():
    """Nearest upsampling before each convolution, and a cropped border."""
    z = keras.Input((16,))
    y = run(z, layers.Dense(4 * 4 * 16, use_bias=False), layers.Reshape((4, 4, 16)))
    for filters in (16, 8):
        y = run(y, layers.UpSampling2D(2, **LAST), conv(filters), norm(), layers.LeakyReLU(0.2))
    y = run(y, layers.UpSampling2D(2, **LAST), conv(1, activation="tanh"))
    return keras.Model(z, layers.Cropping2D(2, **LAST)(y))


def xception_unet():
    """Separable convolutions and pooling, then two parallel branches that upsample."""
    x = keras.Input((160, 160, 3))
    y = run(x, conv(4, strides=2), norm(), layers.ReLU())
    for filters in (8, 12, 16):
        z = y
        for _ in range(2):
            z = run(layers.ReLU()(z), layers.SeparableConv2D(filters, 3, **SAME), norm())
        z = layers.MaxPooling2D(3, strides=2, **SAME)(z)
        y = layers.Add()([z, conv(filters, 1, strides=2)(y)])
    for filters in (16, 12, 8, 4):
        z = y
        for _ in range(2):
            z = run(layers.ReLU()(z), transposed(filters, 3, strides=1), norm())
        z = layers.UpSampling2D(2, **LAST)(z)
        y = layers.Add()([z, run(y, layers.UpSampling2D(2, **LAST), conv(filters, 1))])
    return keras.Model(x, conv(3, activation="softmax")(y))


def srgan():
    """Wide first and last convolutions, residual connections, depth to space and PReLU."""

    def prelu():
        return layers.PReLU(shared_axes=(1, 2))

    x = keras.Input((24, 24, 3))
    start = y = run(x, conv(8, 9), prelu())
    for _ in range(3):
        y = layers.Add()([y, run(y, conv(8), norm(), prelu(), conv(8), norm())])
    y = layers.Add()([start, run(y, conv(8), norm())])
    for _ in range(2):
        y = run(y, conv(32), DepthToSpace(), prelu())
    return keras.Model(x, conv(3, 9, activation="tanh")(y))


def feature_pyramid():
    """Coarse maps upsampled and added to finer ones, then all to the image size."""
    x = y = keras.Input((128, 128, 3))
    maps = []
    for filters in (4, 8, 8, 8):
        y = run(y, conv(filters, strides=2), norm(), layers.ReLU())
        maps.append(conv(8, 1)(y))
    merged = [maps.pop()]
    while maps:
        coarse = layers.UpSampling2D(2, **LAST)(merged[-1])
        merged.append(layers.Add()([coarse, maps.pop()]))
    resized = [
        ops.image.resize(conv(8)(y), (64, 64), interpolation="bilinear", **LAST)
        for y in merged[:-1]
    ]
    y = conv(3, 1)(layers.Add()([*resized, conv(8)(merged[-1])]))
    y = ops.image.resize(y, (128, 128), interpolation="bilinear", **LAST)
    return keras.Model(x, layers.Softmax()(y))


def denoiser():
    """A convolutional autoencoder: pooling, and transposed convolutions of 3 x 3."""
    x = keras.Input((28, 28, 1))
    y = x
    for _ in range(2):
        y = run(y, conv(8, activation="relu"), layers.MaxPooling2D(2, **SAME))
    y = run(y, *(transposed(8, 3, activation="relu") for _ in range(2)))
    return keras.Model(x, conv(1, activation="sigmoid")(y))


# An embedding, the mean of a map, and the innermost map of eight stages are single samples.
ONE_SAMPLE = "a single sample, so nothing repeats"
OTHER_OUTPUT = "it leads to other outputs, and only the first is measured"

ARCHITECTURES = {
    "dcgan": Architecture(dcgan, "Radford et al. 2015", 4),
    "conditional_gan": Architecture(conditional_gan, "Mirza, Osindero 2014", 2),
    "wgan_gp": Architecture(wgan_gp, "Gulrajani et al. 2017", 3),
    "stylegan": Architecture(stylegan, "Karras et al. 2020", 3),
    "cyclegan": Architecture(cyclegan, "Zhu et al. 2017", 2),
    "pix2pix": Architecture(pix2pix, "Isola et al. 2017", 8, 1, ONE_SAMPLE),
    "vq_vae": Architecture(vq_vae, "van den Oord et al. 2017", 2),
    "denoiser": Architecture(denoiser, "Vincent et al. 2008", 2),
    "ddim": Architecture(ddim, "Song et al. 2020", 4, 1, ONE_SAMPLE),
    "diffusion_decoder": Architecture(diffusion_decoder, "Rombach et al. 2022", 3),
    "deeplab": Architecture(deeplab, "Chen et al. 2018", 3, 1, ONE_SAMPLE),
    "xception_unet": Architecture(xception_unet, "Chollet 2017; Ronneberger et al. 2015", 8),
    "basnet": Architecture(basnet, "Qin et al. 2019", 13, 5, OTHER_OUTPUT),
    "feature_pyramid": Architecture(feature_pyramid, "Kirillov et al. 2019", 7),
    "unet_3d": Architecture(unet_3d, "Cicek et al. 2016", 2),
    "mirnet": Architecture(mirnet, "Zamir et al. 2020", 7),
    "espcn": Architecture(espcn, "Shi et al. 2016", 1),
    "edsr": Architecture(edsr, "Lim et al. 2017", 2),
    "srgan": Architecture(srgan, "Ledig et al. 2017", 2),
    "melgan": Architecture(melgan, "Kumar et al. 2019", 4),
}

NOT_MEASURED = "the rest"
COLUMNS = ("model", "upsamplings", "measured", NOT_MEASURED, "audit MB", "audit s")
COLUMNS += ("repair MB", "repair s")


class Peak:
    """Peak memory of this process, in megabytes, while the context lasts."""

    def __enter__(self):
        self.megabytes, self._done = _megabytes(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self):
        while not self._done.wait(0.002):
            self.megabytes = max(self.megabytes, _megabytes())

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        self.megabytes = max(self.megabytes, _megabytes())


def _megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def row_of(name):
    """Measure an architecture in this process and return its row of the table."""
    keras.utils.set_random_seed(0)
    model = ARCHITECTURES[name].build()
    with Peak() as forward:
        model(noise(model), training=False)
    row = {"model": name}
    for function in (keras_upsampling.audit, keras_upsampling.repair):
        start = time.perf_counter()
        with Peak() as peak:
            result = function(model)
        row[f"{function.__name__} s"] = f"{time.perf_counter() - start:.1f}"
        extra = max(0.0, peak.megabytes - forward.megabytes)
        row[f"{function.__name__} MB"] = f"{extra:.0f}"
        if function is keras_upsampling.audit:
            row |= summary(result, ARCHITECTURES[name])
    return row


def summary(result, architecture):
    """Return the numbers of upsamplings found and measured, and why others were not measured."""
    count = sum(layer.enlarges for layer in result.layers)
    measured = len(result.response.layers) if result.response else 0
    expected = measured == architecture.upsamplings - architecture.unmeasured
    return {
        "upsamplings": str(count),
        "measured": str(measured),
        NOT_MEASURED: architecture.reason if expected else "; ".join(result.not_looked_at),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ARCHITECTURES))
    parser.add_argument("--one", action="store_true", help="measure in this process, print JSON")
    arguments = parser.parse_args()
    names = arguments.names or list(ARCHITECTURES)
    if arguments.one:
        print(json.dumps(row_of(names[0])))
        return
    rows = []
    for name in names:
        command = [sys.executable, "-m", "tests.auditing.models_in_the_wild", "--one", name]
        process = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if process.returncode:
            rows.append({"model": name, NOT_MEASURED: f"exit status {process.returncode}"})
        else:
            rows.append(json.loads(process.stdout.splitlines()[-1]))
        print(rows[-1], file=sys.stderr)
    print(f"On {keras.backend.backend()}, Keras {keras.version()}:\n")
    print(table(COLUMNS, [[row.get(column, "") for column in COLUMNS] for row in rows]))


if __name__ == "__main__":
    main()
