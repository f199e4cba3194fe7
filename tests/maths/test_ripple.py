import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_upsampling.maths.ripple import (
    compound,
    enlarged_and_convolved,
    ripple,
    subpixel_kernel,
)


def test_the_figures_of_a_kernel_of_ones_are_those_on_paper():
    # Taps of the phases: 4, 2, 2, 1, of mean 9/4.
    spread = np.sqrt((49 + 1 + 1 + 25) / 16 / 4)
    found = ripple(np.ones((3, 3, 1, 1)), (2, 2))
    np.testing.assert_allclose([found.gain, found.power], spread / 2.25, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(found.overlap, [[4, 2], [2, 1]])


@pytest.mark.parametrize(("kernel", "ramp"), [([1, 1], 0.25), ([0.25, 0.75, 0.75, 0.25], 0)])
def test_nearest_makes_steps_of_ramps_and_linear_does_not(kernel, ramp):
    found = ripple(np.reshape(kernel, (-1, 1, 1)), (2,))
    assert found.gain == found.power == 0
    assert found.ramp == ramp


def test_a_kernel_of_zeros_has_no_ripple_and_one_without_a_mean_has_no_end_of_it():
    assert ripple(np.zeros((4, 1, 1)), (2,))[:3] == (0, 0, 0)
    assert ripple(np.reshape([1.0, -1.0], (2, 1, 1)), (2,)).gain == np.inf


def test_what_all_phases_have_in_their_bias_counts_for_nothing():
    kernel = np.reshape([1.0, 1.0], (2, 1, 1))
    same, other = np.full((2, 1), 7.0), np.reshape([7.0, 8.0], (2, 1))
    assert ripple(kernel, (2,), bias=same).gain == 0
    assert ripple(kernel, (2,), bias=other).gain == 0.5


@given(
    rank=st.integers(1, 2),
    size=st.integers(1, 4),
    kernel=st.integers(1, 5),
    seed=st.integers(0, 10),
)
def test_neither_scale_nor_a_turn_of_the_channels_changes_it(rank, size, kernel, seed):
    rng = np.random.default_rng(seed)
    taps = rng.normal(size=(*(kernel,) * rank, 3, 2))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    one = ripple(taps, (size,) * rank)
    other = ripple(5 * np.einsum("...fc,fg->...gc", taps, turn), (size,) * rank)
    np.testing.assert_allclose(one[:3], other[:3], rtol=1e-9, atol=1e-12)
    if size == 1:
        np.testing.assert_allclose(one[:3], 0, rtol=0, atol=1e-12)


def test_ripples_compound_as_those_of_layers_one_inside_the_other():
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 0.5, (3, 1, 1)), rng.normal(1, 0.5, (2, 1, 1))
    # A constant through both: every phase of the second has all those of the first.
    both = (first[:, None] * second[None]).reshape(6, 1, 1)
    found = compound([ripple(first, (3,)).gain, ripple(second, (2,)).gain])
    np.testing.assert_allclose(found, ripple(both, (6,)).gain, rtol=1e-12)
    assert compound([]) == 0


def slow_transposed(x, kernel, size):
    """Every input sample sets down the kernel, `size` samples after the one before it."""
    y = np.zeros((size * (len(x) - 1) + len(kernel), kernel.shape[1]))
    for i, sample in enumerate(x):
        for t, tap in enumerate(kernel):
            y[size * i + t] += tap @ sample
    return y


@pytest.mark.parametrize(("taps", "size"), [(3, 2), (2, 3), (1, 2)])
def test_a_subpixel_convolution_is_a_transposed_one(taps, size):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(6, 2)), rng.normal(size=(taps, 2, size, 3))
    padded = np.pad(x, ((taps - 1, taps - 1), (0, 0)))
    expected = [
        sum(padded[i + t] @ kernel[t, :, p] for t in range(taps))
        for i in range(len(padded) - taps + 1)
        for p in range(size)
    ]
    found = slow_transposed(x, subpixel_kernel(kernel, (size,)), size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("taps", "dilation"), [(3, 1), (2, 3)])
def test_an_interpolation_and_a_convolution_are_a_transposed_one(taps, dilation):
    rng = np.random.default_rng(0)
    x, kernel, weights = rng.normal(size=(5, 2)), rng.normal(size=(taps, 2, 3)), rng.normal(size=4)
    enlarged = slow_transposed(x, weights[:, None, None] * np.eye(2), 2)
    reach = dilation * (taps - 1)
    padded = np.pad(enlarged, ((reach, reach), (0, 0)))
    expected = [
        sum(padded[o + dilation * t] @ kernel[t] for t in range(taps))
        for o in range(len(padded) - reach)
    ]
    composed, (reached,) = enlarged_and_convolved(kernel, [weights], [dilation])
    np.testing.assert_allclose(slow_transposed(x, composed, 2), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(reached, composed.any(axis=(1, 2)))
