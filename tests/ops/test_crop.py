import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.ops.crop import crop
from tests.backends import BACKEND, evaluate, gradients, to_numpy
from tests.ops.one_step import METHODS, by_method


@st.composite
def lengths_and_slices(draw):
    """Draw an axis and a slice; its bounds count from the start or the end, or are left out."""
    length = draw(st.integers(1, 5))
    start = draw(st.integers(0, length))
    stop = draw(st.integers(start, length))
    starts = [start, *([None] if start == 0 else []), *([start - length] if start < length else [])]
    stops = [stop, *([stop - length] if stop < length else [None])]
    return length, slice(draw(st.sampled_from(starts)), draw(st.sampled_from(stops)))


@given(axes=st.lists(lengths_and_slices(), min_size=1, max_size=3), unsliced_axes=st.integers(0, 1))
def test_crop_is_indexing(axes, unsliced_axes):
    shape = tuple(length for length, _ in axes) + (2,) * unsliced_axes
    slices = [bounds for _, bounds in axes]
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    expected = x[tuple(slices)]
    result = evaluate(lambda x: crop(x, slices), ops.convert_to_tensor(x))
    np.testing.assert_array_equal(to_numpy(result), expected)

    cotangent = np.random.default_rng(1).standard_normal(expected.shape).astype("float32")
    (slopes,) = gradients(
        lambda x: crop(x, slices), [ops.convert_to_tensor(x)], ops.convert_to_tensor(cotangent)
    )
    padded = np.zeros_like(x)
    padded[tuple(slices)] = cotangent
    np.testing.assert_array_equal(to_numpy(slopes), padded)


def test_known_lengths_stay_known():
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's graphs run with unknown lengths")
    import tensorflow as tf

    slices = [slice(None), slice(1, -1), slice(-3, None), slice(None)]
    function = tf.function(
        lambda x: crop(x, slices), input_signature=[tf.TensorSpec((None, None, 5, 2))]
    )
    assert function.get_concrete_function().outputs[0].shape.as_list() == [None, None, 3, 2]
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 2)).astype("float32")
    np.testing.assert_array_equal(to_numpy(function(x)), x[tuple(slices)])


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_use_no_slow_operation(method, interpolation):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's gradient of indexing is slow")
    import tensorflow as tf

    def run(x, kernel, cotangent):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            options = {"interpolation": interpolation, "data_format": "channels_last"}
            y = by_method(method)(x, kernel, 3, **options)
        return tape.gradient(y, [x, kernel], output_gradients=cotangent)

    shapes = [(1, 24, 24, 4), (3, 3, 4, 2), (1, 72, 72, 2)]
    graph = tf.function(run).get_concrete_function(*map(ops.zeros, shapes)).graph
    assert "StridedSliceGrad" not in {operation.type for operation in graph.get_operations()}


def test_gradients_have_gradients_under_xla():
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's slices have none there")
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def slopes_of_slopes(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = ops.sum(crop(x, [slice(None), slice(1, -1)]) ** 3)
            slopes = inner.gradient(y, x)
        return outer.gradient(slopes, x)

    x = np.arange(1.0, 11.0, dtype="float32").reshape(2, 5)
    expected = 6 * x
    expected[:, [0, -1]] = 0
    np.testing.assert_allclose(to_numpy(slopes_of_slopes(ops.convert_to_tensor(x))), expected)
