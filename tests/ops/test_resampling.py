import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.ops import resample
from tests.backends import (
    BACKEND,
    evaluate,
    float64_allowed,
    gradients,
    jitted,
    tensor_sizes,
    to_numpy,
)
from tests.oracle import upsample, upsample_adjoint
from tests.strategies import INTERPOLATIONS, UpsampleCase, upsample_cases

TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 5e-3, "bfloat16": 5e-2}


def to_format(x, data_format):
    return np.moveaxis(x, -1, 1) if data_format == "channels_first" else x


def operation(case):
    return lambda x: resample(
        x, case.size, interpolation=case.interpolation, data_format=case.data_format
    )


def tensor(case, x):
    return ops.convert_to_tensor(to_format(x, case.data_format), dtype=case.dtype)


# An axis of several matrix blocks, the last one not full, and another axis.
BLOCKS = UpsampleCase((70, 2), (3, 1), "lanczos5", 3, "channels_last", "float64", 0)


@given(case=upsample_cases())
@example(case=BLOCKS)
def test_values_match_the_oracle(case):
    with float64_allowed():
        x = case.input()
        result = evaluate(operation(case), tensor(case, x))
        expected = to_format(upsample(x, case.size, case.interpolation), case.data_format)
        assert keras.backend.standardize_dtype(result.dtype) == case.dtype
        np.testing.assert_allclose(to_numpy(result), expected, rtol=0, atol=TOLERANCE[case.dtype])


@given(case=upsample_cases())
@example(case=BLOCKS)
def test_gradient_is_the_transpose(case):
    with float64_allowed():
        x = case.input()
        shape = (case.batch, *np.multiply(case.spatial, case.size), case.channels)
        cotangent = np.random.default_rng(1).standard_normal(shape)
        expected = upsample_adjoint(cotangent, case.size, case.interpolation)
        (result,) = gradients(operation(case), [tensor(case, x)], tensor(case, cotangent))
        # The gradient is a sum of prod(size) terms, each rounded.
        tolerance = TOLERANCE[case.dtype] * np.prod(case.size)
        np.testing.assert_allclose(
            result, to_format(expected, case.data_format), rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_half_precision_rounds_once(interpolation, dtype):
    x = ops.cast(
        ops.convert_to_tensor(np.random.default_rng(0).standard_normal((1, 9, 9, 2))), dtype
    )
    result = resample(x, 3, interpolation=interpolation)
    assert keras.backend.standardize_dtype(result.dtype) == dtype
    exact = upsample(to_numpy(x), (3, 3), interpolation)
    # Half a unit in the last place of the largest value: the sums add no error.
    bits = {"float16": 11, "bfloat16": 8}[dtype]
    unit = 2.0 ** (np.ceil(np.log2(abs(exact).max())) - bits)
    np.testing.assert_allclose(to_numpy(result), exact, atol=0.5 * unit * 1.01)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize(
    "interpolation", ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"]
)
def test_values_equal_those_of_keras_if_keras_is_exact(interpolation, size):
    if BACKEND == "torch" and interpolation not in ("nearest", "bilinear"):
        pytest.skip("UpSampling2D on PyTorch has a different cubic, and no Lanczos")
    if BACKEND == "tensorflow" and interpolation == "bicubic" and size == 3:
        pytest.skip("TensorFlow rounds cubic weights to a table that is inexact for thirds")
    x = np.random.default_rng(0).standard_normal((2, 7, 9, 3)).astype("float32")
    keras_output = keras.layers.UpSampling2D(size, interpolation=interpolation)(x)
    np.testing.assert_allclose(
        to_numpy(resample(x, size, interpolation=interpolation)), to_numpy(keras_output), atol=1e-5
    )


@pytest.mark.parametrize("length", [33, 300])
def test_linear_by_thirds_is_exact_on_long_axes(length):
    # The resize kernels of TensorFlow and PyTorch round the positions there.
    x = np.random.default_rng(0).standard_normal((1, length, 1, 1)).astype("float32")
    result = resample(x, (3, 1), interpolation="linear")
    np.testing.assert_allclose(to_numpy(result), upsample(x, (3, 1), "linear"), atol=2e-6)


LONG = 2**22 + 64  # upsampled by 2, positions are too large for halves in float32


def linear_by_two(x):
    """Return a signal a quarter before and a quarter after every sample, in float32."""
    before, after = np.append(x[:1], x[:-1]), np.append(x[1:], x[-1:])
    return np.stack([(3 * x + before) / 4, (3 * x + after) / 4], axis=1).ravel()


@pytest.mark.parametrize(("shape", "size"), [((1, LONG, 1), 2), ((1, 1, LONG, 1), (1, 2))])
def test_linear_is_exact_on_axes_of_millions_of_samples(shape, size):
    x = np.random.default_rng(0).standard_normal(LONG).astype("float32")
    result = evaluate(
        lambda x: resample(x, size, interpolation="linear", data_format="channels_last"),
        ops.convert_to_tensor(x.reshape(shape)),
    )
    result = ops.convert_to_numpy(result).ravel()
    np.testing.assert_allclose(result, linear_by_two(x), rtol=0, atol=1e-6)


def test_linear_is_exact_in_volumes_of_millions_of_samples():
    # An implementation may join rows and columns: positions are then too large for halves in
    # float32.
    x = np.random.default_rng(0).standard_normal((1, 1, 2049, 4096, 1)).astype("float32")
    result = evaluate(
        lambda x: resample(x, (2, 1, 1), interpolation="linear", data_format="channels_last"),
        ops.convert_to_tensor(x),
    )
    result = ops.convert_to_numpy(result).reshape(2, -1)
    np.testing.assert_array_equal(result, np.stack([x.ravel(), x.ravel()]))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_long_axes_of_few_lines_need_no_matrix_larger_than_the_map(interpolation):
    x = ops.zeros((1, 100_000, 1))
    sizes = tensor_sizes(lambda x: resample(x, 2, interpolation=interpolation), x)
    assert max(sizes) < 1_000_000


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 5, 4, 3), (2, 3, 4, 5, 2), (1, 50, 60, 1)])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_unknown_lengths_have_the_same_result(interpolation, shape):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's graphs run with unknown lengths")
    import tensorflow as tf

    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    function = tf.function(
        lambda x: resample(x, 2, interpolation=interpolation),
        input_signature=[tf.TensorSpec((None,) * (len(shape) - 1) + shape[-1:])],
    )
    expected = upsample(x, (2,) * (len(shape) - 2), interpolation)
    np.testing.assert_allclose(to_numpy(function(x)), expected, atol=1e-5)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_compiled_values_and_gradients_match_the_oracle(interpolation, size):
    x = np.random.default_rng(0).standard_normal((1, 50, 5, 2)).astype("float32")
    function = jitted(lambda x: resample(x, size, interpolation=interpolation))
    expected = upsample(x, (size, size), interpolation)
    result = function(ops.convert_to_tensor(x))
    np.testing.assert_allclose(to_numpy(result), expected, atol=1e-5)
    cotangent = np.random.default_rng(1).standard_normal(expected.shape).astype("float32")
    (slope,) = gradients(function, [ops.convert_to_tensor(x)], ops.convert_to_tensor(cotangent))
    expected = upsample_adjoint(cotangent, (size, size), interpolation)
    np.testing.assert_allclose(slope, expected, atol=2e-5)


@given(name=st.sampled_from(INTERPOLATIONS), value=st.floats(-5, 5), length=st.integers(1, 50))
def test_constants_stay_constant_to_the_border(name, value, length):
    result = resample(ops.full((1, length, 1), value), 3, interpolation=name)
    np.testing.assert_allclose(to_numpy(result), value, atol=1e-5)


def test_nearest_keeps_label_maps():
    labels = np.array([[[1], [7]]], dtype="uint8")
    result = resample(labels, 2)
    assert keras.backend.standardize_dtype(result.dtype) == "uint8"
    np.testing.assert_array_equal(to_numpy(result)[0, :, 0], [1, 1, 7, 7])


def test_averages_of_integers_are_floats():
    result = resample(np.array([[[0], [4]]], dtype="uint8"), 2, interpolation="linear")
    assert keras.backend.standardize_dtype(result.dtype) == keras.config.floatx()
    np.testing.assert_allclose(to_numpy(result)[0, :, 0], [0, 1, 3, 4])


def test_bad_inputs_raise_errors_that_name_the_argument():
    with pytest.raises(ValueError, match=r"one, two or three spatial axes.*\(2, 3\)"):
        resample(ops.zeros((2, 3)), 2)
    with pytest.raises(ValueError, match="`size` must be a positive integer, or 2 of them"):
        resample(ops.zeros((1, 2, 2, 1)), (2, 2, 2))
    with pytest.raises(ValueError, match="'channels_last', 'channels_first'"):
        resample(ops.zeros((1, 2, 2, 1)), 2, data_format="last")
    with pytest.raises(ValueError, match=r"at least one sample.*\(1, 0, 2, 1\)"):
        resample(ops.zeros((1, 0, 2, 1)), 2, interpolation="cubic")
    with pytest.raises(TypeError, match=r"symbolic .*use Upsample1D, Upsample2D or Upsample3D"):
        resample(keras.Input((4, 4, 1)), 2)
    with pytest.raises(
        TypeError, match="imaginary part separately, or use interpolation='nearest'"
    ):
        resample(np.zeros((1, 2, 1), "complex64"), 2, interpolation="linear")


def test_empty_batches_pass_through():
    for interpolation in INTERPOLATIONS:
        result = resample(ops.zeros((0, 3, 4, 2)), 2, interpolation=interpolation)
        assert tuple(result.shape) == (0, 6, 8, 2)


def test_the_default_data_format_is_the_setting_of_keras():
    keras.config.set_image_data_format("channels_first")
    try:
        assert tuple(resample(ops.zeros((1, 3, 2, 2)), 2).shape) == (1, 3, 4, 4)
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow's kernel lacks derivatives")
@pytest.mark.parametrize("mode", ["eager", "traced", "compiled"])
@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 4, 5, 3), (2, 2, 3, 4, 2)])
def test_linear_by_two_has_every_derivative_on_tensorflow(shape, mode):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x, direction = rng.standard_normal((2, *shape))
    size = (2,) * (len(shape) - 2)

    def cubes(x):
        return ops.sum(resample(x, size, interpolation="linear", data_format="channels_last") ** 3)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = cubes(x)
        return tape.gradient(value, x)

    def jvp_of_gradient(x, direction):
        with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
            slopes = gradient(x)
        return accumulator.jvp(slopes)

    def vjp_of_gradient(x, direction):
        with tf.GradientTape() as tape:
            tape.watch(x)
            slopes = gradient(x)
        return tape.gradient(slopes, x, output_gradients=direction)

    def jvp(x, direction):
        with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
            value = cubes(x)
        return accumulator.jvp(value)

    upsampled, upsampled_direction = (upsample(a, size, "linear") for a in (x, direction))
    second = upsample_adjoint(6 * upsampled * upsampled_direction, size, "linear")
    for function, expected in (
        (jvp, (3 * upsampled**2 * upsampled_direction).sum()),
        (vjp_of_gradient, second),
        (jvp_of_gradient, second),
    ):
        if mode != "eager":
            function = tf.function(function, jit_compile=mode == "compiled", autograph=False)
        result = function(*(ops.convert_to_tensor(a, "float32") for a in (x, direction)))
        np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-4, atol=1e-4)
