"""Floats of 8 bits: layers cast them to their own dtype, operations keep them or raise."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import keras_upsampling
from keras_upsampling.ops import blur_pool, pad, resample, subpixel_conv, upsample_conv
from tests.backends import to_numpy
from tests.oracle import upsample

FLOAT8 = ["float8_e4m3fn", "float8_e5m2"]
LAST = {"data_format": "channels_last"}


def rounded(values, dtype):
    """Return values rounded to a dtype, in that dtype and in float32."""
    tensor = ops.cast(ops.convert_to_tensor(values, dtype="float32"), dtype)
    return tensor, to_numpy(ops.cast(tensor, "float32"))


@pytest.fixture(params=FLOAT8)
def dtype(request):
    return request.param


@pytest.fixture
def values():
    return np.random.default_rng(0).random((1, 4, 5, 4), dtype="float32")


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_resample_computes_in_float32_and_rounds_once(interpolation, dtype, values):
    x, exact = rounded(values, dtype)
    upsampled = resample(x, 2, interpolation=interpolation, **LAST)
    assert keras.backend.standardize_dtype(upsampled.dtype) == dtype
    _, expected = rounded(upsample(exact, (2, 2), interpolation), dtype)
    # A difference in the last bit of float32 may change the rounding.
    np.testing.assert_allclose(
        to_numpy(ops.cast(upsampled, "float32")), expected, rtol=0.25, atol=2**-9
    )
    if interpolation == "nearest":
        np.testing.assert_array_equal(to_numpy(ops.cast(upsampled, "float32")), expected)


def test_pad_and_blur_pool_keep_the_dtype(dtype, values):
    x, exact = rounded(values, dtype)
    widths = [(0, 0), (1, 2), (2, 1), (0, 0)]
    padded = ops.cast(pad(x, widths, "edge"), "float32")
    np.testing.assert_array_equal(to_numpy(padded), np.pad(exact, widths, "edge"))
    constant, _ = rounded(np.full((1, 4, 5, 4), 1.5), dtype)
    blurred = ops.cast(blur_pool(constant, 2, **LAST), "float32")
    np.testing.assert_array_equal(to_numpy(blurred), np.full((1, 2, 3, 4), 1.5))


@pytest.mark.parametrize("operation", [upsample_conv, subpixel_conv])
def test_convolutions_raise(operation, dtype, values):
    x, _ = rounded(values, dtype)
    kernel, _ = rounded(np.ones((3, 3, 4, 4)), dtype)
    message = rf"Received .* of dtype {dtype}\. Cast it to float32"
    with pytest.raises(TypeError, match=message):
        operation(x, ops.ones((3, 3, 4, 4)), 2, **LAST)
    with pytest.raises(TypeError, match=message):
        operation(ops.ones((1, 4, 5, 4)), kernel, 2, **LAST)
    bias, _ = rounded(np.ones(4), dtype)
    with pytest.raises(TypeError, match=message):
        operation(ops.ones((1, 4, 5, 4)), ops.ones((3, 3, 4, 4)), 2, bias=bias, **LAST)


LAYERS = [
    functools.partial(keras_upsampling.UpsampleConv2D, 3, 3),
    keras_upsampling.Upsample2D,
    functools.partial(keras_upsampling.Upsample2D, interpolation="linear"),
    keras_upsampling.BlurPool2D,
]


@pytest.mark.parametrize(
    "create", LAYERS, ids=lambda create: getattr(create, "func", create).__name__
)
def test_layers_cast_to_their_own_dtype(create, values):
    x, exact = rounded(values, FLOAT8[0])
    layer = create(**LAST)
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    np.testing.assert_array_equal(to_numpy(y), to_numpy(layer(exact)))
