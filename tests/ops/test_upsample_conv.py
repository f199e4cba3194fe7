import numpy as np
import pytest
from hypothesis import given
from keras import ops

from keras_upsampling.ops import upsample_conv
from tests.backends import evaluate, float64_allowed, gradients, to_numpy
from tests.oracle import upsample_conv as expected_output
from tests.oracle import upsample_conv_gradients
from tests.strategies import conv_cases

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


def operation(case):
    def run(x, kernel):
        return upsample_conv(
            x,
            kernel,
            case.size,
            interpolation=case.interpolation,
            padding=case.padding,
            data_format=case.data_format,
            dilation_rate=case.dilation,
        )

    return run


def close(found, expected, dtype):
    scale = max(1.0, abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype] * scale)


@given(case=conv_cases())
def test_values_are_the_definition(case):
    with float64_allowed():
        x, (kernel, _) = case.input(), case.weights()
        found = evaluate(
            operation(case),
            ops.convert_to_tensor(to_format(x, case.data_format), dtype=case.dtype),
            ops.convert_to_tensor(kernel, dtype=case.dtype),
        )
        expected = expected_output(x, kernel, 0, **definition(case))
        close(to_numpy(found), to_format(expected, case.data_format), case.dtype)


@given(case=conv_cases())
def test_gradients_are_the_definition(case):
    with float64_allowed():
        x, (kernel, _) = case.input(), case.weights()
        shape = expected_output(x, kernel, 0, **definition(case)).shape
        cotangent = np.random.default_rng(1).standard_normal(shape)
        to_input, to_kernel, _ = upsample_conv_gradients(x, kernel, cotangent, **definition(case))
        found = gradients(
            operation(case),
            [
                ops.convert_to_tensor(to_format(x, case.data_format), dtype=case.dtype),
                ops.convert_to_tensor(kernel, dtype=case.dtype),
            ],
            ops.convert_to_tensor(to_format(cotangent, case.data_format), dtype=case.dtype),
        )
        close(found[0], to_format(to_input, case.data_format), case.dtype)
        close(found[1], to_kernel, case.dtype)


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
