"""The operation with the methods that it chooses."""

import numpy as np
import pytest
from hypothesis import given
from keras import ops

from keras_upsampling.ops import upsample_conv
from tests.backends import to_numpy
from tests.ops.one_step import check
from tests.strategies import conv_cases


@given(case=conv_cases())
def test_values_and_gradients_match_the_oracle(case):
    check(case)


def test_integers_are_cast_to_the_dtype_of_the_kernel():
    x = np.array([[[3], [5]]], dtype="uint8")
    result = upsample_conv(x, ops.full((1, 1, 1), 0.5), 2, data_format="channels_last")
    np.testing.assert_allclose(to_numpy(result)[0, :, 0], [1.5, 1.5, 2.5, 2.5])


def test_bad_arguments_raise_before_the_backend_is_called():
    x, kernel = ops.zeros((1, 2, 2, 1)), ops.zeros((5, 5, 1, 1))
    with pytest.raises(ValueError, match="spans 5 samples and the upsampled map has 4"):
        upsample_conv(x, kernel, 2, padding="valid")
    with pytest.raises(ValueError, match="`padding='reflect'` would add 4 samples to an axis of 4"):
        upsample_conv(x, kernel, 2, padding="reflect", dilation_rate=2)
    with pytest.raises(ValueError, match=r"kernel of shape \(\*kernel_size.*Received: .*\(5, 5\)"):
        upsample_conv(x, ops.zeros((5, 5)), 2)
    with pytest.raises(ValueError, match=r"with 1 channels, and a kernel .* for 2"):
        upsample_conv(x, ops.zeros((5, 5, 2, 1)), 2)
    with pytest.raises(
        ValueError, match=r"bias of shape \(1,\), .* Received: a bias of shape \(2,\)"
    ):
        upsample_conv(x, kernel, 2, bias=ops.zeros(2))
    with pytest.raises(ValueError, match=r"input with 4 axes .batch, height, width, channels"):
        upsample_conv(ops.zeros((1, 2, 1)), kernel, 2)
    with pytest.raises(ValueError, match=r"divisible by the groups.* 4 channels .* 2 groups for 3"):
        upsample_conv(ops.zeros((1, 4, 4, 4)), ops.zeros((3, 3, 2, 3)), 2)
    with pytest.raises(
        ValueError, match=r"axis of the kernel must have at least one entry.*\(3, 3, 0, 1\)"
    ):
        upsample_conv(x, ops.zeros((3, 3, 0, 1)), 2)
    with pytest.raises(ValueError, match=r"at least one sample. .*\(1, 0, 2, 1\)"):
        upsample_conv(ops.zeros((1, 0, 2, 1)), kernel, 2, interpolation="cubic")
    with pytest.raises(TypeError, match=r"`x` must be real numbers\. Received dtype complex64"):
        upsample_conv(np.zeros((1, 4, 4, 1), "complex64"), kernel, 2)
    with pytest.raises(TypeError, match=r"`bias` must be real numbers\. Received dtype complex64"):
        upsample_conv(x, kernel, 2, bias=np.zeros(1, "complex64"))
    with pytest.raises(TypeError, match=r"must contain floats\. Received: dtype int32"):
        upsample_conv(x, ops.zeros((3, 3, 1, 1), dtype="int32"), 2)
    with pytest.raises(ValueError, match="Unknown `padding`"):
        upsample_conv(x, kernel, 2, padding="zeros")
    with pytest.raises(TypeError, match="`dilation_rate` must be a positive integer"):
        upsample_conv(x, kernel, 2, dilation_rate=1.5)
