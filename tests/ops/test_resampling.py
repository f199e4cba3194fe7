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


# An axis of several blocks whose last is not full, at both ranks of numbers around it.
BLOCKS = UpsampleCase((70, 2), (3, 1), "lanczos5", 3, "channels_last", "float64", 0)


@given(case=upsample_cases())
@example(case=BLOCKS)
def test_values_are_the_definition(case):
    with float64_allowed():
        x = case.input()
        found = evaluate(operation(case), tensor(case, x))
        expected = to_format(upsample(x, case.size, case.interpolation), case.data_format)
        assert keras.backend.standardize_dtype(found.dtype) == case.dtype
        np.testing.assert_allclose(to_numpy(found), expected, rtol=0, atol=TOLERANCE[case.dtype])


@given(case=upsample_cases())
@example(case=BLOCKS)
def test_gradient_is_the_transpose(case):
    with float64_allowed():
        x = case.input()
        shape = (case.batch, *np.multiply(case.spatial, case.size), case.channels)
        cotangent = np.random.default_rng(1).standard_normal(shape)
        expected = upsample_adjoint(cotangent, case.size, case.interpolation)
        (found,) = gradients(operation(case), [tensor(case, x)], tensor(case, cotangent))
        # The gradient sums prod(size) terms, and rounds as often.
        tolerance = TOLERANCE[case.dtype] * np.prod(case.size)
        np.testing.assert_allclose(
            found, to_format(expected, case.data_format), rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_half_precision_rounds_once(interpolation, dtype):
    x = ops.cast(
        ops.convert_to_tensor(np.random.default_rng(0).standard_normal((1, 9, 9, 2))), dtype
    )
    found = resample(x, 3, interpolation=interpolation)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    exact = upsample(to_numpy(x), (3, 3), interpolation)
    # Half a unit in the last place of the largest number, and nothing for the sums.
    bits = {"float16": 11, "bfloat16": 8}[dtype]
    unit = 2.0 ** (np.ceil(np.log2(abs(exact).max())) - bits)
    np.testing.assert_allclose(to_numpy(found), exact, atol=0.5 * unit * 1.01)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize(
    "interpolation", ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"]
)
def test_numbers_are_those_of_keras_where_keras_is_exact(interpolation, size):
    if BACKEND == "torch" and interpolation not in ("nearest", "bilinear"):
        pytest.skip("UpSampling2D on PyTorch has another cubic, and no Lanczos")
    if BACKEND == "tensorflow" and interpolation == "bicubic" and size == 3:
        pytest.skip("TensorFlow rounds cubic weights to a table that thirds miss")
    x = np.random.default_rng(0).standard_normal((2, 7, 9, 3)).astype("float32")
    theirs = keras.layers.UpSampling2D(size, interpolation=interpolation)(x)
    np.testing.assert_allclose(
        to_numpy(resample(x, size, interpolation=interpolation)), to_numpy(theirs), atol=1e-5
    )


@pytest.mark.parametrize("length", [33, 300])
def test_linear_by_thirds_is_exact_on_long_axes(length):
    # The resize kernels of TensorFlow and PyTorch lose the position there.
    x = np.random.default_rng(0).standard_normal((1, length, 1, 1)).astype("float32")
    found = resample(x, (3, 1), interpolation="linear")
    np.testing.assert_allclose(to_numpy(found), upsample(x, (3, 1), "linear"), atol=2e-6)


LONG = 2**22 + 64  # enlarged, more samples than float32 can count in halves


def linear_by_two(x):
    """`x`, of one axis, at a quarter before and after every sample, in float32."""
    before, after = np.append(x[:1], x[:-1]), np.append(x[1:], x[-1:])
    return np.stack([(3 * x + before) / 4, (3 * x + after) / 4], axis=1).ravel()


@pytest.mark.parametrize(("shape", "size"), [((1, LONG, 1), 2), ((1, 1, LONG, 1), (1, 2))])
def test_linear_is_exact_on_axes_of_millions_of_samples(shape, size):
    x = np.random.default_rng(0).standard_normal(LONG).astype("float32")
    found = evaluate(
        lambda x: resample(x, size, interpolation="linear", data_format="channels_last"),
        ops.convert_to_tensor(x.reshape(shape)),
    )
    found = ops.convert_to_numpy(found).ravel()
    np.testing.assert_allclose(found, linear_by_two(x), rtol=0, atol=1e-6)


def test_linear_is_exact_in_volumes_of_millions_of_samples():
    # Rows times columns, which an implementation may join, are more than float32 can count in
    # halves.
    x = np.random.default_rng(0).standard_normal((1, 1, 2049, 4096, 1)).astype("float32")
    found = evaluate(
        lambda x: resample(x, (2, 1, 1), interpolation="linear", data_format="channels_last"),
        ops.convert_to_tensor(x),
    )
    found = ops.convert_to_numpy(found).reshape(2, -1)
    np.testing.assert_array_equal(found, np.stack([x.ravel(), x.ravel()]))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_long_axes_of_few_lines_take_no_matrix_larger_than_their_map(interpolation):
    x = ops.zeros((1, 100_000, 1))
    sizes = tensor_sizes(lambda x: resample(x, 2, interpolation=interpolation), x)
    assert max(sizes) < 1_000_000


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 5, 4, 3), (2, 3, 4, 5, 2), (1, 50, 60, 1)])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_unknown_lengths_give_the_same(interpolation, shape):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's graphs run with lengths unknown")
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
def test_compiled_numbers_and_gradients_are_the_same(interpolation, size):
    x = np.random.default_rng(0).standard_normal((1, 50, 5, 2)).astype("float32")
    function = jitted(lambda x: resample(x, size, interpolation=interpolation))
    expected = upsample(x, (size, size), interpolation)
    found = function(ops.convert_to_tensor(x))
    np.testing.assert_allclose(to_numpy(found), expected, atol=1e-5)
    cotangent = np.random.default_rng(1).standard_normal(expected.shape).astype("float32")
    (slope,) = gradients(function, [ops.convert_to_tensor(x)], ops.convert_to_tensor(cotangent))
    expected = upsample_adjoint(cotangent, (size, size), interpolation)
    np.testing.assert_allclose(slope, expected, atol=2e-5)


@given(name=st.sampled_from(INTERPOLATIONS), value=st.floats(-5, 5), length=st.integers(1, 50))
def test_constants_stay_constant_to_the_border(name, value, length):
    found = resample(ops.full((1, length, 1), value), 3, interpolation=name)
    np.testing.assert_allclose(to_numpy(found), value, atol=1e-5)


def test_nearest_keeps_label_maps():
    labels = np.array([[[1], [7]]], dtype="uint8")
    found = resample(labels, 2)
    assert keras.backend.standardize_dtype(found.dtype) == "uint8"
    np.testing.assert_array_equal(to_numpy(found)[0, :, 0], [1, 1, 7, 7])


def test_averages_of_integers_are_floats():
    found = resample(np.array([[[0], [4]]], dtype="uint8"), 2, interpolation="linear")
    assert keras.backend.standardize_dtype(found.dtype) == keras.config.floatx()
    np.testing.assert_allclose(to_numpy(found)[0, :, 0], [0, 1, 3, 4])


def test_the_input_is_refused_by_name():
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
    with pytest.raises(TypeError, match="real and the imaginary part apart"):
        resample(np.zeros((1, 2, 1), "complex64"), 2, interpolation="linear")


def test_empty_batches_pass_through():
    for interpolation in INTERPOLATIONS:
        found = resample(ops.zeros((0, 3, 4, 2)), 2, interpolation=interpolation)
        assert tuple(found.shape) == (0, 6, 8, 2)


def test_keras_setting_of_the_data_format_is_heeded():
    keras.config.set_image_data_format("channels_first")
    try:
        assert tuple(resample(ops.zeros((1, 3, 2, 2)), 2).shape) == (1, 3, 4, 4)
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow's kernel lacks derivatives")
@pytest.mark.parametrize("way", ["eager", "traced", "compiled"])
@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 4, 5, 3), (2, 2, 3, 4, 2)])
def test_linear_by_two_has_every_derivative_on_tensorflow(shape, way):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x, direction = rng.standard_normal((2, *shape))
    size = (2,) * (len(shape) - 2)

    def cubes(x):
        return ops.sum(resample(x, size, interpolation="linear", data_format="channels_last") ** 3)

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = cubes(x)
        return tape.gradient(value, x)

    def forwards_of_slope(x, direction):
        with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
            found = slope(x)
        return accumulator.jvp(found)

    def slope_of_slope(x, direction):
        with tf.GradientTape() as tape:
            tape.watch(x)
            found = slope(x)
        return tape.gradient(found, x, output_gradients=direction)

    def forwards(x, direction):
        with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
            value = cubes(x)
        return accumulator.jvp(value)

    enlarged, along = (upsample(a, size, "linear") for a in (x, direction))
    second = upsample_adjoint(6 * enlarged * along, size, "linear")
    for function, expected in (
        (forwards, (3 * enlarged**2 * along).sum()),
        (slope_of_slope, second),
        (forwards_of_slope, second),
    ):
        if way != "eager":
            function = tf.function(function, jit_compile=way == "compiled", autograph=False)
        found = function(*(ops.convert_to_tensor(a, "float32") for a in (x, direction)))
        np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-4, atol=1e-4)
