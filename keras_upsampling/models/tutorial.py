"""`tutorial_autoencoder`: the model of the tutorial."""

from __future__ import annotations

from typing import Any

import keras
from keras.layers import Conv2D, MaxPooling2D

from keras_upsampling.layers.upsample_convolution import UpsampleConv2D
from keras_upsampling.models.autoencoders import Autoencoder


def tutorial_autoencoder() -> Autoencoder:
    """Return the autoencoder that the tutorial builds: 1,393 parameters, for digits of 28x28.

    Use it for quick experiments and as a reference: it trains in about a minute. For anything else,
    `autoencoder` builds better models. The code is a map of 4x4x8.

    Returns:
        An `Autoencoder` from `(28, 28, 1)` to `(28, 28, 1)`.

    Example:
        >>> from keras_upsampling import tutorial_autoencoder
        >>> model = tutorial_autoencoder()
        >>> model.count_params(), model.encoder.output_shape
        (1393, (None, 4, 4, 8))
    """
    options: dict[str, Any] = {
        "activation": "relu",
        "kernel_initializer": "he_uniform",
        "data_format": "channels_last",
    }
    down = {**options, "padding": "same"}
    up = {**options, "interpolation": "linear"}
    encoder = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            Conv2D(8, 2, **down),
            MaxPooling2D(2, padding="same", data_format="channels_last"),  # 14x14
            Conv2D(8, 2, **down),
            MaxPooling2D(2, padding="same", data_format="channels_last"),  # 7x7
            Conv2D(8, 2, strides=2, **down),  # 4x4
            Conv2D(8, 2, **down),
        ],
        name="encoder",
    )
    decoder = keras.Sequential(
        [
            keras.Input((4, 4, 8)),
            # 4 -> 8 -> 7: "valid" removes one row and one column, because 28 = 4 * 7.
            UpsampleConv2D(8, 2, padding="valid", **up),
            UpsampleConv2D(8, 2, **up),  # 14x14
            UpsampleConv2D(1, 2, **{**up, "activation": "sigmoid"}),  # 28x28
        ],
        name="decoder",
    )
    return Autoencoder(encoder, decoder, data_format="channels_last", name="tutorial_autoencoder")
