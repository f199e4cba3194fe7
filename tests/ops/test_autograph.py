import sys
import types

import pytest

import keras_upsampling.ops  # noqa: F401 (what is looked at)
from tests.backends import BACKEND

FUNCTIONS = [
    value
    for name, module in sorted(sys.modules.items())
    if name.startswith(("keras_upsampling.ops", "keras_upsampling.maths", "keras_upsampling._arg"))
    for value in vars(module).values()
    if isinstance(value, types.FunctionType) and value.__module__ == name
]


def test_every_function_can_be_read_in_a_tf_function():
    # AutoGraph warns of those that it cannot read, of assignment expressions for example.
    if BACKEND != "tensorflow":
        pytest.skip("AutoGraph is TensorFlow's")
    import tensorflow as tf

    assert len(FUNCTIONS) > 50
    for function in FUNCTIONS:
        tf.autograph.to_graph(function)
