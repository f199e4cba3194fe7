import keras
import numpy as np
import pytest
from hypothesis import given
from keras import ops

from keras_upsampling.ops import upsample_conv
from tests.backends import (
    BACKEND,
    evaluate,
    float64_allowed,
    gradients,
    jitted,
    tensor_sizes,
    to_numpy,
)
from tests.oracle import upsample_conv as expected_output
from tests.oracle import upsample_conv_gradients
from tests.strategies import ConvCase, conv_cases

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def to_format(x, data_format):
    return np.moveaxis(x, -1, 1) if data_format == "channels_first" else x


def definition(case):
    return {
        "size": case.size,
        "interpolation": case.interpolation,
        "padding": case.padding,
        "dilation": case.dilation,
        "groups": case.groups,
    }


METHODS = ["resize", "phases", "box"]


def operation(case, method=None):
    def run(x, kernel):
        return upsample_conv(
            x,
            kernel,
            case.size,
            interpolation=case.interpolation,
            padding=case.padding,
            data_format=case.data_format,
            dilation_rate=case.dilation,
            method=method,
        )

    return run


def possible(case, method):
    """Whether a method is meant to do a case: the one-step ways know nearest only."""
    reflected = any(
        (k * d - d + 1) // 2 >= s
        for k, d, s in zip(case.kernel_size, case.dilation, case.size, strict=True)
    )
    one_step = case.interpolation == "nearest" and not (case.padding == "reflect" and reflected)
    plain = case.groups == 1 and set(case.dilation) == {1} and len(case.spatial) < 3
    return {"resize": True, "phases": one_step, "box": one_step and plain}[method]


def close(found, expected, dtype):
    scale = max(1.0, abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype] * scale)


def check(case, method):
    """Values and gradients of one method, or its refusal, against the definition."""
    with float64_allowed():
        x, (kernel, _) = case.input(), case.weights()
        tensors = [
            ops.convert_to_tensor(to_format(x, case.data_format), dtype=case.dtype),
            ops.convert_to_tensor(kernel, dtype=case.dtype),
        ]
        if method is not None and not possible(case, method):
            with pytest.raises(ValueError, match=f"method='{method}' cannot do"):
                operation(case, method)(*tensors)
            return
        expected = expected_output(x, kernel, 0, **definition(case))
        found = evaluate(operation(case, method), *tensors)
        close(to_numpy(found), to_format(expected, case.data_format), case.dtype)

        cotangent = np.random.default_rng(1).standard_normal(expected.shape)
        to_input, to_kernel, _ = upsample_conv_gradients(x, kernel, cotangent, **definition(case))
        cotangent = to_format(cotangent, case.data_format)
        found = gradients(
            operation(case, method), tensors, ops.convert_to_tensor(cotangent, dtype=case.dtype)
        )
        close(found[0], to_format(to_input, case.data_format), case.dtype)
        close(found[1], to_kernel, case.dtype)


@given(case=conv_cases())
def test_values_and_gradients_are_the_definition(case):
    check(case, method=None)


@given(case=conv_cases(interpolations=["nearest"]))
def test_phases_are_the_definition(case):
    check(case, "phases")


@given(case=conv_cases(interpolations=["nearest"], plain=True))
def test_the_box_is_the_definition(case):
    check(case, "box")


@given(case=conv_cases())
def test_methods_refuse_what_they_cannot_do(case):
    for method in ("phases", "box"):
        if not possible(case, method):
            check(case, method)


def plain_case(padding, data_format):
    """A case that every method can do."""
    return ConvCase(
        spatial=(6, 5),
        size=(2, 3),
        interpolation="nearest",
        channels=4,
        seed=0,
        data_format=data_format,
        dtype="float32",
        kernel_size=(3, 2),
        dilation=(1, 1),
        filters=3,
        padding=padding,
    )


@pytest.mark.parametrize("padding", ["same", "edge"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_compiles(method, padding):
    case = plain_case(padding, "channels_first")
    x, (kernel, _) = case.input(), case.weights()
    tensors = [
        ops.convert_to_tensor(to_format(x, case.data_format), dtype="float32"),
        ops.convert_to_tensor(kernel, dtype="float32"),
    ]
    expected = to_format(expected_output(x, kernel, 0, **definition(case)), case.data_format)
    function = jitted(operation(case, method))
    close(to_numpy(function(*tensors)), expected, "float32")
    cotangent = ops.ones(expected.shape)
    for compiled, eager in zip(
        gradients(function, tensors, cotangent),
        gradients(operation(case, method), tensors, cotangent),
        strict=True,
    ):
        close(compiled, eager, "float32")


@pytest.mark.parametrize("padding", ["same", "valid", "wrap"])
@pytest.mark.parametrize("method", METHODS)
def test_unknown_lengths_give_the_same(method, padding):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's graphs run with lengths unknown")
    import tensorflow as tf

    case = plain_case(padding, "channels_last")
    x, (kernel, _) = case.input(), case.weights()
    kernel = kernel.astype("float32")
    function = tf.function(
        lambda x: operation(case, method)(x, kernel),
        input_signature=[tf.TensorSpec((None, None, None, 4))],
    )
    expected = expected_output(x, kernel, 0, **definition(case))
    close(to_numpy(function(x.astype("float32"))), expected, "float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("method", ["phases", None])
def test_half_precision_errs_no_more_than_resizing(method, dtype):
    rng = np.random.default_rng(0)
    x = ops.cast(ops.convert_to_tensor(rng.standard_normal((2, 8, 8, 16))), dtype)
    kernel = ops.convert_to_tensor(rng.standard_normal((3, 3, 16, 8)), dtype="float32")
    exact = expected_output(
        to_numpy(x),
        to_numpy(kernel),
        0,
        size=(2, 2),
        interpolation="nearest",
        padding="same",
        dilation=(1, 1),
        groups=1,
    )

    def error(method):
        found = upsample_conv(x, kernel, 2, method=method)
        assert keras.backend.standardize_dtype(found.dtype) == dtype
        return np.sqrt(np.mean((to_numpy(found) - exact) ** 2))

    # The same on average; which of the two a single draw favours is chance.
    assert error(method) <= 1.1 * error("resize")


def test_integers_are_convolved_in_the_dtype_of_the_kernel():
    x = np.array([[[3], [5]]], dtype="uint8")
    found = upsample_conv(x, ops.full((1, 1, 1), 0.5), 2, data_format="channels_last")
    np.testing.assert_allclose(to_numpy(found)[0, :, 0], [1.5, 1.5, 2.5, 2.5])


def test_one_step_never_holds_the_enlarged_input():
    # 64 channels in and 2 out: the enlarged input would be by far the largest tensor.
    x, kernel = ops.ones((2, 64, 64, 64)), ops.ones((3, 3, 64, 2))
    enlarged = 4 * 2 * 64 * 64 * 64

    def largest(method):
        return max(
            tensor_sizes(lambda x, kernel: upsample_conv(x, kernel, method=method), x, kernel)
        )

    assert largest("resize") >= enlarged  # what is looked for would be seen
    for method in ("phases", "box", None):
        assert largest(method) < enlarged / 2


def test_bad_arguments_are_refused_before_the_backend_sees_them():
    x, kernel = ops.zeros((1, 2, 2, 1)), ops.zeros((5, 5, 1, 1))
    with pytest.raises(ValueError, match="spans 5 samples and the upsampled map has 4"):
        upsample_conv(x, kernel, 2, padding="valid")
    with pytest.raises(ValueError, match="`padding='reflect'` would add 4 samples to an axis of 4"):
        upsample_conv(x, kernel, 2, padding="reflect", dilation_rate=2)
    with pytest.raises(ValueError, match=r"kernel of shape \(\*kernel_size.*Received .*\(5, 5\)"):
        upsample_conv(x, ops.zeros((5, 5)), 2)
    with pytest.raises(ValueError, match=r"with 1 channels, and a kernel .* for 2"):
        upsample_conv(x, ops.zeros((5, 5, 2, 1)), 2)
    with pytest.raises(ValueError, match=r"input with 4 axes .batch, height, width, channels"):
        upsample_conv(ops.zeros((1, 2, 1)), kernel, 2)
    with pytest.raises(ValueError, match="Unknown `padding`"):
        upsample_conv(x, kernel, 2, padding="zeros")
    with pytest.raises(TypeError, match="`dilation_rate` must be a positive integer"):
        upsample_conv(x, kernel, 2, dilation_rate=1.5)
    with pytest.raises(ValueError, match=r"method='box' cannot do .*Possible here: 'resize'"):
        upsample_conv(x, kernel, 2, interpolation="linear", method="box")
    with pytest.raises(ValueError, match="expected one of: 'resize', 'phases', 'box'"):
        upsample_conv(x, kernel, 2, method="fast")
