"""Models convert to LiteRT with its built-in operations, and have the same outputs as in Keras."""

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

pytestmark = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="only TensorFlow converts to LiteRT"
)

LAYERS = {
    "nearest": lambda: UpsampleConv2D(4, 3),
    "linear": lambda: UpsampleConv2D(4, 3, interpolation="linear", padding="edge"),
    "subpixel": lambda: SubpixelConv2D(4, 3),
    "carafe": lambda: CARAFE2D(2),
    "dysample": lambda: DySample2D(2, groups=3),
}


def one_layer_model(layer):
    x = keras.Input((12, 12, 3))
    return keras.Model(x, layer(x))


MODELS = {name: lambda make=make: one_layer_model(make()) for name, make in LAYERS.items()}
MODELS["autoencoder"] = lambda: autoencoder((12, 12, 3), filters=(4,))


@pytest.mark.parametrize("name", MODELS)
def test_models_with_an_unknown_batch_size_convert_and_run(name, tmp_path):
    import tensorflow as tf

    model = MODELS[name]()
    x = np.random.default_rng(0).random((2, 12, 12, 3), "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow warns that its interpreter will move
        model.export(tmp_path / "model.tflite", format="litert", verbose=False)
        interpreter = tf.lite.Interpreter(str(tmp_path / "model.tflite"))
    (input_details,) = interpreter.get_input_details()
    (output_details,) = interpreter.get_output_details()
    interpreter.resize_tensor_input(input_details["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(input_details["index"], x)
    interpreter.invoke()
    np.testing.assert_allclose(
        interpreter.get_tensor(output_details["index"]), to_numpy(model(x)), atol=1e-5
    )
