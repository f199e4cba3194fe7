"""What the tests on several devices share: the program on few digits, and models."""

import importlib
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_upsampling import (
    CARAFE2D,
    BilinearAdditiveUpsampling2D,
    BlurPool2D,
    DySample2D,
    SubpixelConv2D,
    autoencoder,
)
from keras_upsampling.constraints import CheckerboardFree
from keras_upsampling.initializers import ICNR
from keras_upsampling.metrics import Checkerboard

EXAMPLES = Path(__file__).parents[2] / "examples"
LAST = {"data_format": "channels_last"}
EPOCHS, SEED, BATCH_SIZE, FILTERS = 2, 3, 8, (4,)


def import_program(name):
    """Import an example as `python examples/NAME.py` imports it."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


def train_by_program(program, count, path, monkeypatch):
    """Run a program on the first digits of the sample; return them, and what `train` returned."""
    with np.load(EXAMPLES / "data" / "mnist_sample.npz") as sample:
        digits = sample["x_train"][:count]
    np.savez(path, x_train=digits, x_test=digits[:1])
    train, returned = program.train, []
    monkeypatch.setattr(program, "BATCH_SIZE", BATCH_SIZE)
    monkeypatch.setattr(program, "FILTERS", FILTERS)
    monkeypatch.setattr(
        program, "train", lambda *args, **options: returned.append(train(*args, **options))
    )
    program.main(["--data", str(path), "--epochs", str(EPOCHS), "--seed", str(SEED)])
    return digits[..., None].astype("float32") / 255, returned[0]


def digits_model():
    """Return the compiled model of the programs."""
    keras.utils.set_random_seed(SEED)
    model = autoencoder((28, 28, 1), filters=FILTERS, **LAST)
    model.compile("adam", "binary_crossentropy", metrics=[Checkerboard(2, **LAST)])
    return model


def chain():
    """Return a compiled model of the other layers that have weights or gradients of their own."""
    keras.utils.set_random_seed(0)
    subpixel = {
        "kernel_initializer": ICNR("glorot_uniform", 2),
        "kernel_constraint": CheckerboardFree(2, subpixel=True),
    }
    transposed = {"padding": "same", "kernel_constraint": CheckerboardFree(2)}
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            SubpixelConv2D(4, 3, **subpixel, **LAST),
            CARAFE2D(2, compressed_channels=4, **LAST),
            BlurPool2D(4, **LAST),
            layers.Conv2DTranspose(4, 4, 2, **transposed, **LAST),
            DySample2D(2, **LAST),
            BlurPool2D(4, **LAST),
            BilinearAdditiveUpsampling2D(2, **LAST),
        ]
    )
    # The weights of some layers start at zero, which would hide their gradients.
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(np.array(weight) + 0.2 * rng.standard_normal(weight.shape))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def chain_data(count=8):
    """Return inputs and targets of `chain`."""
    rng = np.random.default_rng(1)
    shapes = (count, 4, 4, 2), (count, 8, 8, 1)
    return tuple(rng.standard_normal(shape).astype("float32") for shape in shapes)


def plain():
    """Return a compiled model of Keras's own layers."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(1, 3, padding="same", **LAST)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def normalization():
    """Return a compiled model that keeps the batch statistics of its last step, and data."""
    layer = layers.BatchNormalization(momentum=0.0)
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile("sgd", "mse")
    return model, layer, np.arange(8.0, dtype="float32")[:, None] ** 2


def assert_same_training(history, weights, expected_history, expected_weights):
    """Assert that two trainings have the same losses, scores and weights."""
    assert history.keys() == expected_history.keys()
    for name, values in expected_history.items():
        # 4e-5 dB are a ratio of 1 + 1e-5.
        tolerance = {"rtol": 0, "atol": 4e-5} if name == "checkerboard" else {"rtol": 1e-5}
        np.testing.assert_allclose(history[name], values, err_msg=name, **tolerance)
    assert len(weights) == len(expected_weights)
    for weight, expected in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-5)
