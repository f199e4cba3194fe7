"""Train a small convolutional autoencoder on MNIST whose decoder uses UpsampleConv2D.

The encoder reduces 28x28 pixels to a bottleneck of 4x4x8 values; the decoder upsamples them in
three layers to a digit. Two losses are printed for comparison: the lowest possible one, which is
above zero because of grey pixels, and the loss of predicting the mean pixel everywhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import keras
import numpy as np
from digits import (
    Digits,
    add_output,
    add_training,
    check_output,
    constant_loss,
    draw_rows,
    entropy,
    load_or_exit,
    save_picture,
    table,
)
from keras.layers import Conv2D, MaxPooling2D

from keras_upsampling import UpsampleConv2D

BATCH_SIZE = 25
VALIDATION_SPLIT = 0.2
SHOWN = 8


def encoder() -> list[keras.Layer]:
    """Return the layers from 28x28x1 to the bottleneck, 4x4x8."""
    options = {"padding": "same", "activation": "relu", "kernel_initializer": "he_uniform"}
    return [
        Conv2D(8, 2, **options),  # 28x28
        MaxPooling2D(2, padding="same"),  # 14x14
        Conv2D(8, 2, **options),
        MaxPooling2D(2, padding="same"),  # 7x7
        Conv2D(8, 2, strides=2, **options),  # 4x4
        Conv2D(8, 2, **options),
    ]


def upsampling_decoder() -> list[keras.Layer]:
    """Return the layers from the bottleneck to 28x28x1; each upsamples and convolves."""
    options = {"interpolation": "linear", "kernel_initializer": "he_uniform"}
    return [
        # 4 -> 8 -> 7: "valid" drops one row and column, because 28 = 4 * 7.
        UpsampleConv2D(8, 2, padding="valid", activation="relu", **options),
        UpsampleConv2D(8, 2, activation="relu", **options),  # 14x14
        UpsampleConv2D(1, 2, activation="sigmoid", **options),  # 28x28
    ]


def build_autoencoder(
    decoder: Callable[[], list[keras.Layer]] = upsampling_decoder,
) -> keras.Model:
    """Build the network from the encoder and the layers that `decoder` returns."""
    layers = [keras.Input((28, 28, 1)), *encoder(), *decoder()]
    return keras.Sequential(layers, name="autoencoder")


def split(digits: Digits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split into training, validation (the end of the training digits) and test digits."""
    cut = int(len(digits.train) * (1 - VALIDATION_SPLIT))
    return digits.train[:cut], digits.train[cut:], digits.test


def train(
    model: keras.Model, parts: Sequence[np.ndarray], *, epochs: int, seed: int
) -> list[float]:
    """Train the model to reproduce its input.

    Args:
        model: An autoencoder of 28x28x1 digits.
        parts: Training, validation and test digits.
        epochs: Number of passes over the training digits.
        seed: Seed of the order of the training digits.

    Returns:
        Binary cross-entropy of the trained model on each part.
    """
    training, validation, _ = parts
    keras.utils.set_random_seed(seed)
    model.compile(optimizer="adam", loss="binary_crossentropy")
    model.fit(
        training,
        training,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=(validation, validation),
        verbose=1 if sys.stdout.isatty() else 2,  # no progress bar in a log
    )
    return [model.evaluate(part, part, batch_size=250, verbose=0) for part in parts]


def references(parts: Sequence[np.ndarray]) -> dict[str, list[float]]:
    """Return losses to compare with those of a model, on each part."""
    return {
        "lowest possible": [entropy(part) for part in parts],
        "constant prediction": [constant_loss(parts[0], part) for part in parts],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training(parser)
    add_output(parser)
    arguments = parser.parse_args(argv)
    check_output(parser, arguments.output, "mnist_autoencoder.png", data=arguments.data)
    digits = load_or_exit(parser, arguments.data)
    parts = split(digits)

    keras.utils.set_random_seed(arguments.seed)
    model = build_autoencoder()
    model.summary()
    losses = train(model, parts, epochs=arguments.epochs, seed=arguments.seed)
    reference_losses = references(parts)

    print(f"\nBinary cross-entropy after {arguments.epochs} epochs, batches of {BATCH_SIZE}")
    print(f"Digits: {digits.description}")
    rows = {"autoencoder": losses, **reference_losses}
    print(table(["training", "validation", "test"], rows), end="\n\n")

    shown = digits.test[:SHOWN]
    reconstructed = model.predict(shown, verbose=0)
    figure = draw_rows(
        {"test digits": shown, "reconstructions": reconstructed},
        f"Autoencoder of {model.count_params():,} parameters: training loss {losses[0]:.4f}, "
        f"test loss {losses[2]:.4f} (lowest possible {rows['lowest possible'][2]:.4f})\n"
        f"{digits.description}",
    )
    save_picture(figure, arguments.output / "mnist_autoencoder.png")


if __name__ == "__main__":
    main()
