import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_upsampling.maths.ripple import (
    composed_kernel,
    compound,
    ripple,
    subpixel_kernel,
)


def test_kernel_of_ones_has_ripple_computed_by_hand():
    # The phases have 4, 2, 2 and 1 taps; the mean is 9/4.
    spread = np.sqrt((49 + 1 + 1 + 25) / 16 / 4)
    result = ripple(np.ones((3, 3, 1, 1)), (2, 2))
    np.testing.assert_allclose([result.gain, result.power], spread / 2.25, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(result.overlap, [[4, 2], [2, 1]])


@pytest.mark.parametrize(("kernel", "ramp"), [([1, 1], 0.25), ([0.25, 0.75, 0.75, 0.25], 0)])
def test_nearest_has_ramp_ripple_and_linear_has_none(kernel, ramp):
    result = ripple(np.reshape(kernel, (-1, 1, 1)), (2,))
    assert result.gain == result.power == 0
    assert result.ramp == ramp


def test_zero_kernel_has_no_ripple_and_zero_mean_has_infinite_ripple():
    assert ripple(np.zeros((4, 1, 1)), (2,))[:3] == (0, 0, 0)
    assert ripple(np.reshape([1.0, -1.0], (2, 1, 1)), (2,)).gain == np.inf


def test_bias_shared_by_all_phases_has_no_effect():
    kernel = np.reshape([1.0, 1.0], (2, 1, 1))
    equal, unequal = np.full((2, 1), 7.0), np.reshape([7.0, 8.0], (2, 1))
    assert ripple(kernel, (2,), bias=equal).gain == 0
    assert ripple(kernel, (2,), bias=unequal).gain == 0.5


@given(
    rank=st.integers(1, 2),
    size=st.integers(1, 4),
    kernel=st.integers(1, 5),
    seed=st.integers(0, 10),
)
def test_scale_and_rotation_of_channels_do_not_change_ripple(rank, size, kernel, seed):
    rng = np.random.default_rng(seed)
    taps = rng.normal(size=(*(kernel,) * rank, 3, 2))
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    original = ripple(taps, (size,) * rank)
    rotated = ripple(5 * np.einsum("...fc,fg->...gc", taps, rotation), (size,) * rank)
    np.testing.assert_allclose(original[:3], rotated[:3], rtol=1e-9, atol=1e-12)
    if size == 1:
        np.testing.assert_allclose(original[:3], 0, rtol=0, atol=1e-12)


def test_compound_ripple_equals_ripple_of_nested_phases():
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 0.5, (3, 1, 1)), rng.normal(1, 0.5, (2, 1, 1))
    # DC gains of the two layers in a row: each pair of phases multiplies.
    both = (first[:, None] * second[None]).reshape(6, 1, 1)
    compounded = compound([ripple(first, (3,)).gain, ripple(second, (2,)).gain])
    np.testing.assert_allclose(compounded, ripple(both, (6,)).gain, rtol=1e-12)
    assert compound([]) == 0


def slow_transposed(x, kernel, size):
    """Transposed convolution by its definition: add the kernel once per input sample."""
    y = np.zeros((size * (len(x) - 1) + len(kernel), kernel.shape[1]))
    for i, sample in enumerate(x):
        for t, tap in enumerate(kernel):
            y[size * i + t] += tap @ sample
    return y


@pytest.mark.parametrize(("taps", "size"), [(3, 2), (2, 3), (1, 2)])
def test_subpixel_convolution_equals_transposed_convolution(taps, size):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(6, 2)), rng.normal(size=(taps, 2, size, 3))
    padded = np.pad(x, ((taps - 1, taps - 1), (0, 0)))
    expected = [
        sum(padded[i + t] @ kernel[t, :, p] for t in range(taps))
        for i in range(len(padded) - taps + 1)
        for p in range(size)
    ]
    output = slow_transposed(x, subpixel_kernel(kernel, (size,)), size)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("taps", "dilation"), [(3, 1), (2, 3)])
def test_composed_kernel_equals_interpolation_and_convolution(taps, dilation):
    rng = np.random.default_rng(0)
    x, kernel, weights = rng.normal(size=(5, 2)), rng.normal(size=(taps, 2, 3)), rng.normal(size=4)
    upsampled = slow_transposed(x, weights[:, None, None] * np.eye(2), 2)
    reach = dilation * (taps - 1)
    padded = np.pad(upsampled, ((reach, reach), (0, 0)))
    expected = [
        sum(padded[o + dilation * t] @ kernel[t] for t in range(taps))
        for o in range(len(padded) - reach)
    ]
    composed, (reached,) = composed_kernel(kernel, [weights], [dilation])
    np.testing.assert_allclose(slow_transposed(x, composed, 2), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(reached, composed.any(axis=(1, 2)))
