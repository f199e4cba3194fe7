import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.ops import pad
from tests.backends import BACKEND, evaluate, gradients, to_numpy

modes = st.sampled_from(["edge", "wrap", "reflect", "symmetric"])
widths = st.tuples(st.integers(0, 9), st.integers(0, 9))


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)), first=widths, second=widths, mode=modes
)
def test_pad_is_numpy_pad(shape, first, second, mode):
    # Also wider than the axis, which repeats the pattern.
    x = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    padded = evaluate(lambda x: pad(x, [first, second], mode), ops.convert_to_tensor(x))
    np.testing.assert_array_equal(to_numpy(padded), np.pad(x, [first, second], mode))


@given(length=st.integers(1, 5), width=widths, mode=modes)
def test_gradient_is_the_transpose(length, width, mode):
    matrix = np.stack([np.pad(row, width, mode) for row in np.eye(length)], axis=1)
    cotangent = np.random.default_rng(0).standard_normal(len(matrix)).astype("float32")
    (result,) = gradients(
        lambda x: pad(x, [width], mode),
        [ops.zeros(length)],
        ops.convert_to_tensor(cotangent),
    )
    np.testing.assert_allclose(result, matrix.T @ cotangent, atol=1e-5)


@pytest.mark.parametrize("mode", ["edge", "wrap", "reflect", "symmetric"])
def test_unknown_lengths_have_the_same_result(mode):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's graphs run with unknown lengths")
    import tensorflow as tf

    x = np.arange(5, dtype="float32")
    function = tf.function(
        lambda x: pad(x, [(3, 7)], mode), input_signature=[tf.TensorSpec((None,))]
    )
    np.testing.assert_array_equal(to_numpy(function(x)), np.pad(x, (3, 7), mode))
    np.testing.assert_array_equal(to_numpy(function(x[:1])), np.pad(x[:1], (3, 7), mode))


def test_pad_keeps_the_dtype():
    assert "int32" in str(pad(ops.array([1, 2], dtype="int32"), [(1, 1)], "edge").dtype)


def test_bad_arguments_raise_errors():
    with pytest.raises(ValueError, match="'edge', 'wrap', 'reflect', 'symmetric'"):
        pad(ops.zeros(3), [(1, 1)], "constant")
    with pytest.raises(ValueError, match=r"Received: widths \(-1, 1\) for axis 0"):
        pad(ops.zeros(3), [(-1, 1)], "edge")
    with pytest.raises(ValueError, match="at least one sample"):
        pad(ops.zeros(0), [(1, 1)], "edge")
    with pytest.raises(ValueError, match="1 pairs for an input with 2 axes"):
        pad(ops.zeros((3, 3)), [(1, 1)], "edge")
