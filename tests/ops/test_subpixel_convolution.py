import numpy as np
import pytest
from hypothesis import given, settings
from keras import ops

from keras_upsampling.ops import subpixel_conv
from tests.backends import BACKEND, float64_allowed, jitted, to_numpy, value_and_gradients
from tests.oracle import subpixel_conv as expected_output
from tests.oracle import subpixel_conv_gradients
from tests.strategies import ConvCase, subpixel_cases

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def to_format(x, data_format):
    return np.moveaxis(x, -1, 1) if data_format == "channels_first" else x


def operation(case):
    return lambda x, kernel, bias: subpixel_conv(
        x, kernel, case.size, bias=bias, padding=case.padding, data_format=case.data_format
    )


def assert_close(result, expected, dtype):
    scale = max(1.0, abs(expected).max(initial=0))
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


@settings(max_examples=8 if BACKEND == "jax" else 40)
@given(case=subpixel_cases())
def test_values_and_gradients_match_the_oracle(case):
    with float64_allowed():
        x, (kernel, bias) = case.input(), case.weights()
        options = {"size": case.size, "padding": case.padding}
        expected = expected_output(x, kernel, bias, **options)
        cotangent = np.random.default_rng(1).standard_normal(expected.shape)
        *tensors, weights = [
            ops.convert_to_tensor(array.astype(case.dtype))
            for array in (
                to_format(x, case.data_format),
                kernel,
                bias,
                to_format(cotangent, case.data_format),
            )
        ]
        result, slopes = value_and_gradients(operation(case), tensors, weights)
        assert_close(result, to_format(expected, case.data_format), case.dtype)
        to_input, to_kernel, to_bias = subpixel_conv_gradients(x, kernel, cotangent, **options)
        assert_close(slopes[0], to_format(to_input, case.data_format), case.dtype)
        assert_close(slopes[1], to_kernel, case.dtype)
        assert_close(slopes[2], to_bias, case.dtype)


CASE = ConvCase(
    spatial=(6, 5),
    size=(2, 3),
    interpolation="nearest",
    channels=4,
    data_format="channels_first",
    dtype="float32",
    seed=0,
    kernel_size=(3, 2),
    filters=18,
    padding="symmetric",
)


def test_compiled_values_match_the_oracle_with_channels_first():
    x, weights = case_tensors(CASE)
    expected = expected_output(CASE.input(), *CASE.weights(), size=CASE.size, padding=CASE.padding)
    result = to_numpy(jitted(operation(CASE))(x, *weights))
    assert_close(result, to_format(expected, CASE.data_format), "float32")


def case_tensors(case):
    x = ops.convert_to_tensor(to_format(case.input(), case.data_format), dtype=case.dtype)
    return x, [ops.convert_to_tensor(weight, dtype=case.dtype) for weight in case.weights()]


def test_it_is_pixel_shuffle_with_another_channel_order():
    if BACKEND != "torch":
        pytest.skip("needs PyTorch")
    import torch

    size, filters = 3, 4
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((2, 3, 6, 5)), dtype=torch.float32)
    kernel = rng.standard_normal((3, 3, 3, size**2 * filters)).astype("float32")
    result = subpixel_conv(x, kernel, size, data_format="channels_first")
    # PyTorch has filters before phases, and taps last.
    order = np.arange(size**2 * filters).reshape(size**2, filters).T.ravel()
    reordered = torch.tensor(kernel[..., order].transpose(3, 2, 0, 1).copy())
    expected = torch.nn.functional.pixel_shuffle(
        torch.nn.functional.conv2d(x, reordered, padding="same"), size
    )
    np.testing.assert_allclose(to_numpy(result), to_numpy(expected), atol=1e-5)


def test_integers_are_cast_to_the_dtype_of_the_kernel():
    x = np.array([[[3], [5]]], dtype="uint8")
    kernel = ops.reshape(ops.array([0.5, 2.0]), (1, 1, 2))
    result = subpixel_conv(x, kernel, 2, data_format="channels_last")
    np.testing.assert_allclose(to_numpy(result)[0, :, 0], [1.5, 6.0, 2.5, 10.0])


def test_bad_arguments_raise_before_the_backend_is_called():
    x, kernel = ops.zeros((1, 4, 4, 1)), ops.zeros((5, 5, 1, 8))
    with pytest.raises(ValueError, match="spans 5 samples and the input has 4"):
        subpixel_conv(x, kernel, 2, padding="valid")
    with pytest.raises(ValueError, match="add 2 samples to an axis of 2 of the input"):
        subpixel_conv(x[:, :2], kernel, 2, padding="reflect")
    with pytest.raises(ValueError, match=r"channels, 9 \* filters\).* with 1 channels and size"):
        subpixel_conv(x, kernel, 3)
    with pytest.raises(ValueError, match=r"Received: a kernel of shape \(5, 5, 2, 8\)"):
        subpixel_conv(x, ops.zeros((5, 5, 2, 8)), 2)
    with pytest.raises(ValueError, match=r"Received: a kernel of shape \(5, 1, 8\)"):
        subpixel_conv(x, ops.zeros((5, 1, 8)), 2)
    with pytest.raises(ValueError, match=r"bias of shape \(8,\), .* Received: .* \(2,\)"):
        subpixel_conv(x, kernel, 2, bias=ops.zeros(2))
    with pytest.raises(ValueError, match="one, two or three spatial axes"):
        subpixel_conv(ops.zeros((1, 4)), kernel, 2)
    with pytest.raises(ValueError, match="Unknown `padding`"):
        subpixel_conv(x, kernel, 2, padding="zeros")
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        subpixel_conv(x, kernel, 2.0)
    with pytest.raises(TypeError, match="must contain floats"):
        subpixel_conv(x, ops.zeros((3, 3, 1, 4), dtype="int32"), 2)
