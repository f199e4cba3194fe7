"""Functions with the gradient of another function."""

import numpy as np
import pytest
from keras import ops

from keras_upsampling.ops.gradient import with_gradient_of
from tests.backends import BACKEND, gradients, jitted, to_numpy

tensorflow_only = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="tests TensorFlow's custom gradients"
)


def product(x, y):
    return x * y


def triple(x, y):
    return 3.0 * x + 0.0 * y


@tensorflow_only
@pytest.mark.parametrize("compiled", [False, True])
def test_value_and_gradient_belong_to_different_functions(compiled):
    function = with_gradient_of(triple, product)
    if compiled:
        function = jitted(function)
    x, y = ops.convert_to_tensor([2.0, 5.0]), ops.convert_to_tensor([7.0, 11.0])
    np.testing.assert_array_equal(to_numpy(function(x, y)), [14.0, 55.0])
    to_x, to_y = gradients(function, [x, y], ops.convert_to_tensor([1.0, 10.0]))
    np.testing.assert_array_equal(to_x, [3.0, 30.0])
    np.testing.assert_array_equal(to_y, [0.0, 0.0])


@tensorflow_only
def test_second_derivatives_belong_to_the_differentiated_function():
    import tensorflow as tf

    x = ops.convert_to_tensor([2.0, 5.0])
    function = with_gradient_of(lambda x: x * x * x, lambda x: 3.0 * x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
        slope = inner.gradient(y, x)
    np.testing.assert_array_equal(to_numpy(y), [6.0, 15.0])
    np.testing.assert_array_equal(to_numpy(outer.gradient(slope, x)), [12.0, 30.0])
