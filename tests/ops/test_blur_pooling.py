import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.ops import blur_pool, resample
from tests.backends import (
    BACKEND,
    evaluate,
    float64_allowed,
    gradients,
    jitted,
    to_numpy,
    value_and_gradients,
)
from tests.oracle import blur_pool as slow_blur_pool
from tests.oracle import blur_pool_adjoint
from tests.strategies import DATA_FORMATS, DTYPES

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def to_format(x, data_format):
    return np.moveaxis(x, -1, 1) if data_format == "channels_first" else x


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 3))
    longest = {1: 30, 2: 9, 3: 5}[rank]
    return (
        draw(st.tuples(*[st.integers(1, longest)] * rank)),
        draw(st.tuples(*[st.integers(1, 4)] * rank)),
        draw(st.integers(1, 4)),
        draw(st.sampled_from(DATA_FORMATS)),
        draw(st.sampled_from(DTYPES)),
    )


@settings(max_examples=12)  # JAX compiles every example
@given(case=cases())
@example(case=((301, 1), (3, 2), 4, "channels_last", "float64"))  # too long for products
@example(case=((1, 2), (4, 4), 4, "channels_first", "float32"))  # reflected more than once
def test_values_and_gradients_match_the_oracle(case):
    lengths, size, order, data_format, dtype = case
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *lengths, 2))
    expected = slow_blur_pool(x, size, order)
    cotangent = rng.standard_normal(expected.shape)
    with float64_allowed():
        value, (slope,) = value_and_gradients(
            lambda x: blur_pool(x, size, order=order, data_format=data_format),
            [ops.convert_to_tensor(to_format(x, data_format), dtype=dtype)],
            ops.convert_to_tensor(to_format(cotangent, data_format), dtype=dtype),
        )
    tolerance = {"rtol": 0, "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(value, to_format(expected, data_format), **tolerance)
    expected = blur_pool_adjoint(cotangent, size, order, lengths)
    np.testing.assert_allclose(slope, to_format(expected, data_format), **tolerance)


@pytest.mark.parametrize(("size", "order"), [(2, 3), (3, 2)])
def test_compiled_values_and_gradients_match_the_oracle(size, order):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 11, 5, 2)).astype("float32")
    function = jitted(lambda x: blur_pool(x, size, order=order))
    expected = slow_blur_pool(x, (size, size), order)
    result = function(ops.convert_to_tensor(x))
    np.testing.assert_allclose(to_numpy(result), expected, rtol=0, atol=1e-5)
    cotangent = rng.standard_normal(expected.shape).astype("float32")
    (slope,) = gradients(function, [ops.convert_to_tensor(x)], ops.convert_to_tensor(cotangent))
    expected = blur_pool_adjoint(cotangent, (size, size), order, (11, 5))
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 1, 4, 3), (1, 3, 4, 5, 2)])
def test_unknown_lengths_have_the_same_result(shape):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's graphs run with unknown lengths")
    import tensorflow as tf

    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    for size in (2, 3):
        function = tf.function(
            lambda x, size=size: blur_pool(x, size),
            input_signature=[tf.TensorSpec((None,) * (len(shape) - 1) + shape[-1:])],
        )
        expected = slow_blur_pool(x, (size,) * (len(shape) - 2), 3)
        np.testing.assert_allclose(to_numpy(function(x)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rounds_once(dtype):
    x = np.random.default_rng(0).standard_normal((1, 9, 9, 2))
    x = ops.cast(ops.convert_to_tensor(x), dtype)
    result = blur_pool(x, 3)
    assert keras.backend.standardize_dtype(result.dtype) == dtype
    exact = slow_blur_pool(to_numpy(x), (3, 3), 3)
    bits = {"float16": 11, "bfloat16": 8}[dtype]
    unit = 2.0 ** (np.ceil(np.log2(abs(exact).max())) - bits)
    np.testing.assert_allclose(to_numpy(result), exact, rtol=0, atol=0.5 * unit * 1.01)


def test_factor_two_is_the_transpose_of_linear_upsampling():
    length = 10
    impulses = ops.eye(length)[..., None]
    pooled = to_numpy(evaluate(lambda x: blur_pool(x, 2), impulses))[..., 0]
    impulses = ops.eye(length // 2)[..., None]
    upsampled = evaluate(lambda x: resample(x, 2, interpolation="linear"), impulses)
    np.testing.assert_allclose(pooled, to_numpy(upsampled)[..., 0].T / 2, rtol=0, atol=1e-6)


def test_averages_of_integers_are_floats():
    result = blur_pool(np.array([[[0], [4], [8]]], dtype="uint8"), 2, order=1)
    assert keras.backend.standardize_dtype(result.dtype) == keras.config.floatx()
    np.testing.assert_allclose(to_numpy(result)[0, :, 0], [2, 8], rtol=0, atol=1e-6)


def test_bad_inputs_raise_errors_that_name_the_argument():
    with pytest.raises(ValueError, match=r"one, two or three spatial axes.*\(2, 3\)"):
        blur_pool(ops.zeros((2, 3)))
    with pytest.raises(ValueError, match="`size` must be a positive integer, or 2 of them"):
        blur_pool(ops.zeros((1, 2, 2, 1)), (2, 2, 2))
    with pytest.raises(ValueError, match=r"`order` must be a positive integer.*order=0"):
        blur_pool(ops.zeros((1, 2, 2, 1)), order=0)
    with pytest.raises(ValueError, match="'channels_last', 'channels_first'"):
        blur_pool(ops.zeros((1, 2, 2, 1)), data_format="last")
    with pytest.raises(ValueError, match=r"at least one sample.*\(1, 0, 2, 1\)"):
        blur_pool(ops.zeros((1, 0, 2, 1)))
    with pytest.raises(TypeError, match=r"symbolic .*use BlurPool1D, BlurPool2D or BlurPool3D"):
        blur_pool(keras.Input((4, 4, 1)))
    with pytest.raises(TypeError, match="real and the imaginary part separately"):
        blur_pool(np.zeros((1, 2, 1), "complex64"))


def test_empty_batches_pass_through():
    assert tuple(blur_pool(ops.zeros((0, 3, 4, 2)), 2).shape) == (0, 2, 2, 2)
