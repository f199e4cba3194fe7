"""What tests of `upsample_conv` and of its methods have in common."""

import numpy as np
from keras import ops

from keras_upsampling.ops import upsample_conv
from keras_upsampling.ops._upsample_conv.choice import METHODS as RECORDS
from keras_upsampling.ops._upsample_conv.method import run
from keras_upsampling.ops._upsample_conv.task import Shape
from keras_upsampling.ops.upsample_convolution import checked
from tests.backends import BACKEND, float64_allowed, value_and_gradients
from tests.oracle import upsample_conv as expected_output
from tests.oracle import upsample_conv_gradients
from tests.strategies import ConvCase

METHODS = list(RECORDS)
ONE_STEP = METHODS[1:]
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def to_format(x, data_format):
    return np.moveaxis(x, -1, 1) if data_format == "channels_first" else x


def close(found, expected, dtype):
    scale = max(1.0, abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def definition(case):
    return {
        "size": case.size,
        "interpolation": case.interpolation,
        "padding": case.padding,
        "dilation": case.dilation,
        "groups": case.groups,
    }


class RefusedError(Exception):
    """A method cannot do a case."""


def by(forward, backward=None):
    """`upsample_conv` by one method, or with the gradients of another."""

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
        *tensors, task = checked(
            x, kernel, bias, size, interpolation, padding, data_format, dilation_rate
        )
        for name in (forward, backward or forward):
            if not RECORDS[name].can(task, shape_of(*tensors[:2], task)):
                raise RefusedError
        return run(RECORDS[forward], RECORDS[backward or forward], *tensors, task)

    return upsample_conv if forward is None else function


def shape_of(x, kernel, task):
    batch, *rest = (n if isinstance(n, int) else None for n in x.shape)
    channels = rest.pop(0 if task.data_format == "channels_first" else -1)
    return Shape(batch, tuple(rest), channels, kernel.shape[-1])


def operation(case, method=None, backward=None):
    """A case as a function of its tensors, by methods or as they are chosen."""

    def function(x, kernel, bias=None):
        return by(method, backward)(
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


def expressed(case):
    """Whether some padding of the input makes that of the enlarged map: nearest only."""
    reflected = any(
        (k * d - d + 1) // 2 >= s
        for k, d, s in zip(case.kernel_size, case.dilation, case.size, strict=True)
    )
    return case.interpolation == "nearest" and not (case.padding == "reflect" and reflected)


def refused(method, case):
    """Whether a method is known to be unable to do a case."""
    if max(case.size) == 1:  # nothing is enlarged
        return method != "resize"
    zeros = case.padding in ("same", "valid")
    nearest = case.interpolation == "nearest"
    composed = not expressed(case) if nearest else case.padding == "wrap"
    gaps = any(k < s for k, s in zip(case.kernel_size, case.size, strict=True))
    added_up = case.groups == 1 and (expressed(case) or (zeros and not nearest))
    return {
        "resize": False,
        "phases": composed,
        "matrices": case.groups > 1 or len(case.spatial) != 2,
        "one_product": not added_up,
        "transposed": composed
        or case.groups > 1
        or set(case.dilation) != {1}
        or len(case.spatial) == 3
        or (BACKEND == "tensorflow" and gaps),
    }[method]


# How many samples of the input, at most, an interpolation looks past the end.
REACH = {"linear": 1, "cubic": 2, "lanczos3": 3, "lanczos5": 5}


def roomy(case):
    """Whether the axes are surely long enough for borders computed separately.

    Those are the outputs that meet padding, or enlarged samples that met an end of the input, at
    either end; with something between what those are made of.
    """
    return all(
        n * s > 2 * (2 * (k - 1) * d + REACH[case.interpolation] * s) for n, s, k, d in zip(
            case.spatial, case.size, case.kernel_size, case.dilation, strict=True
        )
    )  # fmt: skip


def check(case, method=None, backward=None):
    """Values and gradients of a case, or its refusal, against the definition."""
    with float64_allowed():
        x, (kernel, bias) = case.input(), case.weights()
        expected = expected_output(x, kernel, bias, **definition(case))
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
            found, slopes = value_and_gradients(operation(case, method, backward), tensors, weights)
        except RefusedError:
            # For what it is, or because the axes are too short for it.
            short = case.interpolation != "nearest" and not roomy(case)
            assert refused(method, case) or (short and method in ("phases", "transposed"))
            return
        assert method is None or not refused(method, case)
        close(found, to_format(expected, case.data_format), case.dtype)
        to_input, to_kernel, to_bias = upsample_conv_gradients(
            x, kernel, cotangent, **definition(case)
        )
        close(slopes[0], to_format(to_input, case.data_format), case.dtype)
        close(slopes[1], to_kernel, case.dtype)
        close(slopes[2], to_bias, case.dtype)


def plain_case(padding, data_format, interpolation="nearest"):
    """A case that every method can do; other than nearest, some only with zeros around."""
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
