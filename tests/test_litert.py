"""Models run in LiteRT, by its own operations alone, as they run in Keras."""

import warnings

import keras
import numpy as np
import pytest

from keras_upsampling import (
    CARAFE2D,
    DySample2D,
    SubpixelConv2D,
    UpsampleConv2D,
    autoencoder,
)
from tests.backends import BACKEND, to_numpy

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow alone converts")

LAYERS = {
    "nearest": lambda: UpsampleConv2D(4, 3),
    "linear": lambda: UpsampleConv2D(4, 3, interpolation="linear", padding="edge"),
    "subpixel": lambda: SubpixelConv2D(4, 3),
    "carafe": lambda: CARAFE2D(2),
    "dysample": lambda: DySample2D(2, groups=3),
}


def single(layer):
    x = keras.Input((12, 12, 3))
    return keras.Model(x, layer(x))


MODELS = {name: lambda make=make: single(make()) for name, make in LAYERS.items()}
MODELS["autoencoder"] = lambda: autoencoder((12, 12, 3), filters=(4,))


@pytest.mark.parametrize("name", MODELS)
def test_models_with_an_open_batch_convert_and_run(name, tmp_path):
    import tensorflow as tf

    model = MODELS[name]()
    x = np.random.default_rng(0).random((2, 12, 12, 3), "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorFlow, whose interpreter will move
        model.export(tmp_path / "model.tflite", format="litert", verbose=False)
        interpreter = tf.lite.Interpreter(str(tmp_path / "model.tflite"))
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], x)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_tensor(made["index"]), to_numpy(model(x)), atol=1e-5)
