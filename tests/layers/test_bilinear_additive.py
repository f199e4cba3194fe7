import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_upsampling import BilinearAdditiveUpsampling2D
from tests.backends import BACKEND, evaluate, float64_allowed, to_numpy, value_and_gradients
from tests.oracle import bilinear_additive, upsample_adjoint
from tests.strategies import DATA_FORMATS, DTYPES

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


@settings(max_examples=8 if BACKEND == "jax" else 30)
@given(
    spatial=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    out=st.integers(1, 3),
    data_format=st.sampled_from(DATA_FORMATS),
    dtype=st.sampled_from(DTYPES),
)
def test_values_and_gradients_match_the_definition(spatial, size, out, data_format, dtype):
    summands = int(np.prod(size))
    with float64_allowed():
        x = np.random.default_rng(0).standard_normal((2, *spatial, summands * out))
        expected = bilinear_additive(x, size)
        cotangent = np.random.default_rng(1).standard_normal(expected.shape)
        # The gradient of a sum is passed to each of its channels.
        expected_gradient = upsample_adjoint(cotangent, size, "linear").repeat(summands, axis=-1)
        arrays = [x, cotangent, expected, expected_gradient]
        if data_format == "channels_first":
            arrays = [np.moveaxis(array, -1, 1) for array in arrays]
        x, cotangent, expected, expected_gradient = arrays
        layer = BilinearAdditiveUpsampling2D(size, data_format=data_format, dtype=dtype)
        assert layer.compute_output_shape(x.shape) == expected.shape
        tensors = [keras.ops.convert_to_tensor(array.astype(dtype)) for array in (x, cotangent)]
        output, (gradient,) = value_and_gradients(layer, tensors[:1], tensors[1])
        atol = TOLERANCE[dtype] * summands
        np.testing.assert_allclose(output, expected, rtol=0, atol=atol)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=atol)


def test_neighbouring_channels_are_summed_and_not_averaged():
    x = np.broadcast_to(np.arange(8, dtype="float32"), (1, 2, 2, 8))
    layer = BilinearAdditiveUpsampling2D(2, data_format="channels_last")
    output = to_numpy(evaluate(layer, keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(output, np.broadcast_to([6, 22], (1, 4, 4, 2)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 200), ("int32", 2**30)])
def test_integers_do_not_overflow(dtype, value):
    x = np.full((1, 2, 2, 4), value, dtype=dtype)
    layer = BilinearAdditiveUpsampling2D(2, data_format="channels_last")
    output = evaluate(layer, keras.ops.convert_to_tensor(x))
    np.testing.assert_allclose(to_numpy(output), 4 * value)


def test_the_interpolation_is_not_an_argument():
    layer = BilinearAdditiveUpsampling2D((2, 3))
    assert "interpolation" not in layer.get_config()
    with pytest.raises(TypeError, match="multiple values for keyword argument 'interpolation'"):
        BilinearAdditiveUpsampling2D(2, interpolation="cubic")


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        BilinearAdditiveUpsampling2D(2.0)
    message = r"divisible by the 6 .*size=\(2, 3\).* shape .*4, 4, 8\) with 8 channels"
    layer = BilinearAdditiveUpsampling2D((2, 3), data_format="channels_last")
    with pytest.raises(ValueError, match=message):
        layer.compute_output_shape((None, 4, 4, 8))
    with pytest.raises(ValueError, match=message):
        layer.build((None, 4, 4, 8))
    with pytest.raises(ValueError, match=message):
        layer(keras.Input((4, 4, 8)))
    with pytest.raises(ValueError, match=message):
        layer(np.zeros((1, 4, 4, 8)))
    layer.build((None, 4, 4, 6))
    with pytest.raises(ValueError, match=message):
        layer(np.zeros((1, 4, 4, 8)))  # although built for six channels
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        layer(np.zeros((1, 4, 6)))


def test_shifting_the_input_shifts_the_output():
    x = np.random.default_rng(0).standard_normal((1, 8, 9, 8)).astype("float32")
    layer = BilinearAdditiveUpsampling2D((2, 4), data_format="channels_last")
    output, shifted = (to_numpy(evaluate(layer, inputs)) for inputs in (x, x[:, 1:, 2:]))
    # Linear interpolation reads one more sample at the border: two or four of the output.
    np.testing.assert_allclose(shifted[:, 2:, 4:], output[:, 4:, 12:], rtol=0, atol=1e-6)
