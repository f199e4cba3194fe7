"""Helpers for the tests of `upsample_conv` and of its methods."""

import numpy as np
from keras import ops

from keras_upsampling.ops import upsample_conv
from keras_upsampling.ops._upsample_conv.choice import METHODS as METHOD_RECORDS
from keras_upsampling.ops._upsample_conv.method import run
from keras_upsampling.ops._upsample_conv.task import Shape
from keras_upsampling.ops.upsample_convolution import prepare
from tests.backends import BACKEND, float64_allowed, value_and_gradients
from tests.oracle import upsample_conv as expected_output
from tests.oracle import upsample_conv_gradients
from tests.strategies import ConvCase

METHODS = list(METHOD_RECORDS)
ONE_STEP = METHODS[1:]
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def to_format(x, data_format):
    return np.moveaxis(x, -1, 1) if data_format == "channels_first" else x


def assert_close(result, expected, dtype):
    scale = max(1.0, abs(expected).max(initial=0))
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def oracle_options(case):
    return {
        "size": case.size,
        "interpolation": case.interpolation,
        "padding": case.padding,
        "dilation": case.dilation,
        "groups": case.groups,
    }


class UnsupportedError(Exception):
    """A method does not support a case."""


def by_method(forward, backward=None):
    """Return `upsample_conv` by one method, or with the gradient of another."""

    def function(
        x,
        kernel,
        size=2,
        *,
        bias=None,
        interpolation="nearest",
        padding="same",
        data_format=None,
        dilation_rate=1,
    ):
        *tensors, task = prepare(
            x, kernel, bias, size, interpolation, padding, data_format, dilation_rate
        )
        for name in (forward, backward or forward):
            if not METHOD_RECORDS[name].can(task, shape_of(*tensors[:2], task)):
                raise UnsupportedError
        return run(METHOD_RECORDS[forward], METHOD_RECORDS[backward or forward], *tensors, task)

    return upsample_conv if forward is None else function


def shape_of(x, kernel, task):
    batch, *lengths = (n if isinstance(n, int) else None for n in x.shape)
    channels = lengths.pop(0 if task.data_format == "channels_first" else -1)
    return Shape(batch, tuple(lengths), channels, kernel.shape[-1])


def operation(case, method=None, backward=None):
    """Return a case as a function of its tensors, by given or chosen methods."""

    def function(x, kernel, bias=None):
        return by_method(method, backward)(
            x,
            kernel,
            case.size,
            bias=bias,
            interpolation=case.interpolation,
            padding=case.padding,
            data_format=case.data_format,
            dilation_rate=case.dilation,
        )

    return function


def padding_commutes(case):
    """Return whether padding before nearest upsampling equals padding after it."""
    reflects_far = any(
        (k * d - d + 1) // 2 >= s
        for k, d, s in zip(case.kernel_size, case.dilation, case.size, strict=True)
    )
    return case.interpolation == "nearest" and not (case.padding == "reflect" and reflects_far)


def unsupported(method, case):
    """Return whether a method is known not to support a case."""
    if max(case.size) == 1:  # nothing is upsampled
        return method != "resize"
    zeros = case.padding in ("same", "valid")
    nearest = case.interpolation == "nearest"
    not_composable = not padding_commutes(case) if nearest else case.padding == "wrap"
    gaps = any(k < s for k, s in zip(case.kernel_size, case.size, strict=True))
    summable = case.groups == 1 and (padding_commutes(case) or (zeros and not nearest))
    return {
        "resize": False,
        "phases": not_composable,
        "matrices": case.groups > 1 or len(case.spatial) != 2,
        "one_product": not summable,
        "transposed": not_composable
        or case.groups > 1
        or set(case.dilation) != {1}
        or len(case.spatial) == 3
        or (BACKEND == "tensorflow" and gaps),
    }[method]


# The largest number of samples that an interpolation reads beyond the end of the input.
REACH = {"linear": 1, "cubic": 2, "lanczos3": 3, "lanczos5": 5}


def long_enough(case):
    """Return whether the axes are certainly long enough for borders computed separately.

    A border is the outputs at one end that read padding, or upsampled samples that depend on the
    end of the input. The samples that two borders read must not overlap.
    """
    return all(
        n * s > 2 * (2 * (k - 1) * d + REACH[case.interpolation] * s) for n, s, k, d in zip(
            case.spatial, case.size, case.kernel_size, case.dilation, strict=True
        )
    )  # fmt: skip


def check(case, method=None, backward=None):
    """Compare values and gradients of a case with the oracle, or check that it is unsupported."""
    with float64_allowed():
        x, (kernel, bias) = case.input(), case.weights()
        expected = expected_output(x, kernel, bias, **oracle_options(case))
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
        try:
            result, slopes = value_and_gradients(
                operation(case, method, backward), tensors, weights
            )
        except UnsupportedError:
            # Because of its arguments, or because its axes are too short.
            short = case.interpolation != "nearest" and not long_enough(case)
            assert unsupported(method, case) or (short and method in ("phases", "transposed"))
            return
        assert method is None or not unsupported(method, case)
        assert_close(result, to_format(expected, case.data_format), case.dtype)
        to_input, to_kernel, to_bias = upsample_conv_gradients(
            x, kernel, cotangent, **oracle_options(case)
        )
        assert_close(slopes[0], to_format(to_input, case.data_format), case.dtype)
        assert_close(slopes[1], to_kernel, case.dtype)
        assert_close(slopes[2], to_bias, case.dtype)


def plain_case(padding, data_format, interpolation="nearest"):
    """Return a case that every method supports; if not nearest, some need zero padding."""
    return ConvCase(
        spatial=(16, 15),
        size=(2, 3),
        interpolation=interpolation,
        channels=4,
        seed=0,
        data_format=data_format,
        dtype="float32",
        kernel_size=(2, 3),
        dilation=(1, 1),
        filters=3,
        padding=padding,
    )
