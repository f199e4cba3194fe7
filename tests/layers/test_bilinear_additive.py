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
def test_values_and_gradients_are_the_definition(spatial, size, out, data_format, dtype):
    added = int(np.prod(size))
    with float64_allowed():
        x = np.random.default_rng(0).standard_normal((2, *spatial, added * out))
        expected = bilinear_additive(x, size)
        cotangent = np.random.default_rng(1).standard_normal(expected.shape)
        # Every channel of a sum gets all of its gradient.
        slope = upsample_adjoint(cotangent, size, "linear").repeat(added, axis=-1)
        arrays = [x, cotangent, expected, slope]
        if data_format == "channels_first":
            arrays = [np.moveaxis(array, -1, 1) for array in arrays]
        x, cotangent, expected, slope = arrays
        layer = BilinearAdditiveUpsampling2D(size, data_format=data_format, dtype=dtype)
        assert layer.compute_output_shape(x.shape) == expected.shape
        tensors = [keras.ops.convert_to_tensor(array.astype(dtype)) for array in (x, cotangent)]
        found, (found_slope,) = value_and_gradients(layer, tensors[:1], tensors[1])
        atol = TOLERANCE[dtype] * added
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
        np.testing.assert_allclose(found_slope, slope, rtol=0, atol=atol)


def test_channels_that_are_neighbours_make_a_sum_and_no_mean():
    x = np.broadcast_to(np.arange(8, dtype="float32"), (1, 2, 2, 8))
    layer = BilinearAdditiveUpsampling2D(2, data_format="channels_last")
    found = to_numpy(evaluate(layer, keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(found, np.broadcast_to([6, 22], (1, 4, 4, 2)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 200), ("int32", 2**30)])
def test_integers_do_not_run_over(dtype, value):
    x = np.full((1, 2, 2, 4), value, dtype=dtype)
    layer = BilinearAdditiveUpsampling2D(2, data_format="channels_last")
    found = evaluate(layer, keras.ops.convert_to_tensor(x))
    np.testing.assert_allclose(to_numpy(found), 4 * value)


def test_the_interpolation_is_no_argument():
    layer = BilinearAdditiveUpsampling2D((2, 3))
    assert "interpolation" not in layer.get_config()
    with pytest.raises(TypeError, match="multiple values for keyword argument 'interpolation'"):
        BilinearAdditiveUpsampling2D(2, interpolation="cubic")


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        BilinearAdditiveUpsampling2D(2.0)
    message = r"divisible by the 6 .*size=\(2, 3\).* shape .*4, 4, 8\) with 8 channels"
    refused = BilinearAdditiveUpsampling2D((2, 3), data_format="channels_last")
    with pytest.raises(ValueError, match=message):
        refused.compute_output_shape((None, 4, 4, 8))
    with pytest.raises(ValueError, match=message):
        refused.build((None, 4, 4, 8))
    with pytest.raises(ValueError, match=message):
        refused(keras.Input((4, 4, 8)))
    with pytest.raises(ValueError, match=message):
        refused(np.zeros((1, 4, 4, 8)))
    refused.build((None, 4, 4, 6))
    with pytest.raises(ValueError, match=message):
        refused(np.zeros((1, 4, 4, 8)))  # built for others
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        refused(np.zeros((1, 4, 6)))


def test_a_shift_of_the_input_is_a_shift_of_the_output():
    x = np.random.default_rng(0).standard_normal((1, 8, 9, 8)).astype("float32")
    layer = BilinearAdditiveUpsampling2D((2, 4), data_format="channels_last")
    whole, shifted = (to_numpy(evaluate(layer, part)) for part in (x, x[:, 1:, 2:]))
    # Linear reaches one pixel beyond: two of the output's, or four.
    np.testing.assert_allclose(shifted[:, 2:, 4:], whole[:, 4:, 12:], rtol=0, atol=1e-6)
