"""Train a small U-Net to remove noise from digits, with BlurPool2D and UpsampleConv2D.

The encoder downsamples with BlurPool2D, from 28x28 pixels to 14x14, 7x7 and 4x4. The decoder
upsamples with UpsampleConv2D. 7 is odd: the 4x4 map is upsampled to 8x8, and cropped to the 7x7 of
the skip connection. Both layers align the first sample of the smaller map with the first two
samples of the larger one, so cropping shifts nothing, at any size.

Three errors are printed for comparison: those of the noisy digits themselves, of the best linear
filter of 5x5 pixels, and of predicting the mean pixel everywhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from digits import (
    Digits,
    add_output,
    add_training,
    check_output,
    draw_rows,
    load_or_exit,
    save_picture,
    table,
)
from keras import ops
from keras.layers import Concatenate, Conv2D

from keras_upsampling import BlurPool2D, UpsampleConv2D

BATCH_SIZE = 25
EPOCHS = 4
FILTERS = (8, 16, 16, 16)  # at 28x28, 14x14, 7x7 and 4x4
NOISE = 0.5  # standard deviation; black is 0, white is 1
SHOWN = 8
VALIDATION_SPLIT = 0.2


class Part(NamedTuple):
    """Digits with and without noise."""

    noisy: np.ndarray
    clean: np.ndarray


@keras.saving.register_keras_serializable(package="unet")
class CropLike(keras.Layer):
    """Crop the end of a map to the height and width of another map, `(map, reference)`."""

    def call(self, inputs):
        """Return the first map, cropped."""
        x, reference = inputs
        height, width = ops.shape(reference)[1:3]
        return x[:, :height, :width]

    def compute_output_shape(self, input_shape):
        """Return the shape of the first map with the height and width of the second."""
        x, reference = input_shape
        return (x[0], *reference[1:3], x[3])


def build_unet(filters: Sequence[int] = FILTERS) -> keras.Model:
    """Build a U-Net for grey images of any size; `filters` has one entry per size of map."""
    channels_last = {"data_format": "channels_last"}
    options = {"activation": "relu", "kernel_initializer": "he_uniform", **channels_last}
    convolution = {"padding": "same", **options}
    # Edge padding avoids a rim of zeros around the upsampled map.
    upsampling = {"interpolation": "linear", "padding": "edge", **options}
    images = keras.Input((None, None, 1))
    x, skips = images, []
    for count in filters[:-1]:
        x = Conv2D(count, 3, **convolution)(x)
        skips.append(x)
        x = BlurPool2D(2, **channels_last)(x)
    x = Conv2D(filters[-1], 3, **convolution)(x)
    for count, skip in zip(filters[-2::-1], skips[::-1], strict=True):
        x = UpsampleConv2D(count, 3, **upsampling)(x)
        x = Concatenate()([skip, CropLike()([x, skip])])
        x = Conv2D(count, 3, **convolution)(x)
    return keras.Model(images, Conv2D(1, 1, activation="sigmoid", **channels_last)(x), name="unet")


def split(digits: Digits, seed: int) -> list[Part]:
    """Split into training, validation (the end of the training digits) and test digits.

    Args:
        digits: Digits without noise.
        seed: Seed of the noise.
    """
    cut = int(len(digits.train) * (1 - VALIDATION_SPLIT))
    rng = np.random.default_rng(seed)
    return [
        Part(clean + NOISE * rng.standard_normal(clean.shape, dtype="float32"), clean)
        for clean in (digits.train[:cut], digits.train[cut:], digits.test)
    ]


def train(model: keras.Model, parts: Sequence[Part], *, epochs: int, seed: int) -> list[float]:
    """Train the model to remove the noise.

    Args:
        model: A model from images to images of the same shape.
        parts: Training, validation and test digits.
        epochs: Number of passes over the training digits.
        seed: Seed of the order of the training digits.

    Returns:
        Mean squared error of the trained model on each part.
    """
    training, validation, _ = parts
    keras.utils.set_random_seed(seed)
    # Same minimum as the squared error, but the gradient of a saturated sigmoid does not vanish.
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["mse"])
    model.fit(
        training.noisy,
        training.clean,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=validation,
        verbose=1 if sys.stdout.isatty() else 2,  # no progress bar in a log
    )
    return [model.evaluate(*part, batch_size=250, verbose=0)[1] for part in parts]


def mean_squared_error(images: np.ndarray | float, clean: np.ndarray) -> float:
    """Return the mean squared difference of all pixels."""
    return float(np.mean((images - clean) ** 2, dtype="float64"))


def neighbours(images: np.ndarray, width: int = 5) -> np.ndarray:
    """Return the neighbourhood of every pixel and a constant 1, `(pixels, width**2 + 1)`."""
    margins = [(0, 0), *[(width // 2, width // 2)] * 2]
    padded = np.pad(images[..., 0], margins, "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (width, width), axis=(1, 2))
    windows = windows.reshape(-1, width**2)
    return np.concatenate([windows, np.ones_like(windows[:, :1])], axis=1)


def references(parts: Sequence[Part]) -> dict[str, list[float]]:
    """Return errors to compare with those of a model, on each part."""
    training = parts[0]
    fitted = slice(500)  # enough digits for the 26 weights of a filter
    weights = np.linalg.lstsq(neighbours(training.noisy[fitted]), training.clean[fitted].ravel())[0]
    return {
        "best 5x5 filter": [
            mean_squared_error((neighbours(part.noisy) @ weights), part.clean.ravel())
            for part in parts
        ],
        "mean pixel": [mean_squared_error(training.clean.mean(), part.clean) for part in parts],
        "noisy digits": [mean_squared_error(part.noisy, part.clean) for part in parts],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training(parser)
    parser.set_defaults(epochs=EPOCHS)
    add_output(parser)
    arguments = parser.parse_args(argv)
    check_output(parser, arguments.output, "unet.png", data=arguments.data)
    digits = load_or_exit(parser, arguments.data)
    parts = split(digits, arguments.seed)

    keras.utils.set_random_seed(arguments.seed)
    model = build_unet()
    model.summary()
    errors = train(model, parts, epochs=arguments.epochs, seed=arguments.seed)

    print(f"\nMean squared error after {arguments.epochs} epochs, batches of {BATCH_SIZE}")
    print(f"Digits: {digits.description}; noise of standard deviation {NOISE}")
    rows = {"U-Net": errors, **references(parts)}
    print(table(["training", "validation", "test"], rows), end="\n\n")

    noisy, clean = (images[:SHOWN] for images in parts[2])
    figure = draw_rows(
        {"noisy": noisy, "U-Net": model.predict(noisy, verbose=0), "without noise": clean},
        f"U-Net of {model.count_params():,} parameters: mean squared error {errors[2]:.4f} on test "
        f"digits, {rows['best 5x5 filter'][2]:.4f} for the best 5x5 filter\n{digits.description}",
    )
    save_picture(figure, arguments.output / "unet.png")


if __name__ == "__main__":
    main()
