import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_upsampling.maths.resampling import (
    axis_filter,
    phase_taps,
    resampling_blocks,
    resampling_matrix,
)
from tests.oracle import upsampling_matrix
from tests.strategies import INTERPOLATIONS

factors = st.integers(1, 6)
names = st.sampled_from(INTERPOLATIONS)


@given(length=st.integers(1, 20), size=factors, name=names)
def test_matrix_equals_definition(length, size, name):
    np.testing.assert_allclose(
        resampling_matrix(length, size, name),
        upsampling_matrix(length, size, name),
        atol=1e-13,
    )


@given(length=st.integers(1, 40), size=factors, name=names, block=st.integers(11, 20))
def test_assembled_blocks_equal_matrix(length, size, name, block):
    taps = phase_taps(size, name)
    blocks = resampling_blocks(length, size, name, block)
    width = blocks.shape[2]
    matrix = np.zeros((len(blocks) * size * block, len(blocks) * block + width))
    for b, weights in enumerate(blocks):
        rows = slice(b * size * block, (b + 1) * size * block)
        matrix[rows, b * block : b * block + width] = weights
    matrix = matrix[: size * length, -taps.first : length - taps.first]
    np.testing.assert_allclose(matrix, upsampling_matrix(length, size, name), rtol=0, atol=1e-13)


@given(size=factors, name=names)
def test_phases_are_symmetric_and_sum_to_one(size, name):
    taps = phase_taps(size, name)
    assert taps.first <= 0 <= taps.last
    np.testing.assert_allclose(taps.weights.sum(axis=1), 1, rtol=0, atol=1e-14)
    dense = np.zeros((size, 2 * max(-taps.first, taps.last) + 1))
    start = dense.shape[1] // 2 + taps.first
    dense[:, start : start + taps.weights.shape[1]] = taps.weights
    np.testing.assert_allclose(dense, dense[::-1, ::-1], rtol=0, atol=1e-14)


@given(length=st.integers(1, 30), size=factors, name=names)
def test_axis_filter_equals_matrix_except_within_reach(length, size, name):
    axis = axis_filter(size, name)
    filtered = np.zeros((size * length, length))
    for output, sample in np.ndindex(filtered.shape):
        tap = output - size * sample - axis.first
        if 0 <= tap < len(axis.weights):
            filtered[output, sample] = axis.weights[tap]
    wrong = np.abs(filtered - upsampling_matrix(length, size, name)).max(axis=1) > 1e-13
    assert not wrong[axis.reach : size * length - axis.reach].any()
    if 0 < axis.reach <= length:  # the reach is not larger than necessary
        assert wrong[axis.reach - 1]
        assert wrong[size * length - axis.reach]
    np.testing.assert_allclose(axis.weights, axis.weights[::-1], rtol=0, atol=1e-14)
    assert axis.weights[0] != 0


def test_cached_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        phase_taps(2, "linear").weights[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        resampling_blocks(4, 2, "linear", 4)[0, 0, 0] = 1
