"""Upsampling and convolution equal one transposed convolution: the algebra of docs/one_step.md.

A kernel represents the polynomial that has its taps as coefficients, the constant first:
`np.convolve` multiplies, `polydiv` divides. For integers both are exact.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.polynomial.polynomial import polydiv

from keras_upsampling.maths.padding import kernel_extent, pad_widths
from keras_upsampling.maths.phases import axis_phases
from keras_upsampling.maths.resampling import resampling_matrix
from tests.strategies import INTERPOLATIONS

factors = st.integers(2, 6)
lengths = st.integers(1, 6)
seeds = st.integers(0, 999)


def random_integers(seed, *shape):
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(float)


def insert_zeros(x, size):
    dilated = np.zeros(size * (len(x) - 1) + 1)
    dilated[::size] = x
    return dilated


def transposed_convolution(x, kernel, size):
    return np.convolve(insert_zeros(x, size), kernel)


def box(size):
    return np.ones(size)


def tent(size):
    """Triangular filter with a tap at its peak."""
    return np.convolve(box(size), box(size)) / size


def filter_of(interpolation, size):
    """Impulse response of an interpolation, far from the borders."""
    return np.trim_zeros(resampling_matrix(41, size, interpolation)[:, 20])


def remainder(kernel, divisor):
    """Remainder of a polynomial division, one coefficient per power."""
    coefficients = polydiv(kernel, divisor)[1]
    return np.pad(coefficients, (0, len(divisor) - 1 - len(coefficients)))


def phase_sums(kernel, size):
    return np.array([kernel[phase::size].sum() for phase in range(size)])


# The composed kernel.


@given(length=lengths, size=factors, kernel_size=lengths, seed=seeds)
def test_nearest_and_convolution_equal_transposed_convolution(length, size, kernel_size, seed):
    x, w = random_integers(seed, length), random_integers(seed + 1, kernel_size)
    upsampled = resampling_matrix(length, size, "nearest") @ x
    composed = np.convolve(w, box(size))
    np.testing.assert_array_equal(
        np.convolve(upsampled, w), transposed_convolution(x, composed, size)
    )


@given(size=factors, kernel_size=lengths, seed=seeds)
def test_nearest_composed_kernel_divided_by_box_is_kernel(size, kernel_size, seed):
    w = random_integers(seed, kernel_size)
    assume(w[-1] != 0)
    quotient, rest = polydiv(np.convolve(w, filter_of("nearest", size)), box(size))
    np.testing.assert_array_equal(quotient, w)
    np.testing.assert_array_equal(rest, 0)


@given(size=factors, kernel_size=lengths, seed=seeds)
def test_linear_composed_kernel_is_divisible_by_tent(size, kernel_size, seed):
    w = random_integers(seed, kernel_size)
    assume(w[-1] != 0)
    composed = np.convolve(w, filter_of("linear", size))
    quotient, rest = polydiv(composed, tent(size))
    np.testing.assert_allclose(rest, 0, rtol=0, atol=1e-9)
    # For even factors no upsampled sample is at the peak: one more average of two.
    expected = w if size % 2 else np.convolve(w, [0.5, 0.5])
    np.testing.assert_allclose(quotient, expected, rtol=0, atol=1e-9)


def test_linear_filter_is_tent_averaged_for_even_factors():
    for size in range(2, 9):
        expected = tent(size) if size % 2 else np.convolve(tent(size), [0.5, 0.5])
        np.testing.assert_allclose(filter_of("linear", size), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        filter_of("linear", 2), np.array([1, 3, 3, 1]) / 4, rtol=0, atol=1e-12
    )


# How many times the box divides an interpolation's filter: one more than the degree of the
# polynomials that it reproduces. The average of two in linear by 2 is one more box.
BOXES = {"nearest": 1, "linear": 2, "cubic": 3, "lanczos3": 1, "lanczos5": 1}


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_interpolation_filter_is_divisible_by_box(interpolation):
    for size in range(2, 7):
        h = filter_of(interpolation, size)
        for _ in range(BOXES[interpolation] + ((interpolation, size) == ("linear", 2))):
            h, rest = polydiv(h, box(size))
            np.testing.assert_allclose(rest, 0, rtol=0, atol=1e-12)
        assert abs(remainder(h, box(size))).max() > 1e-3


# Phases and the box.


@given(
    size=st.integers(1, 5),
    kernel_size=lengths,
    dilation=st.integers(1, 3),
    before=st.integers(0, 9),
)
def test_phases_are_strided_taps_of_composed_kernel(size, kernel_size, dilation, before):
    w = random_integers(size, kernel_size)
    phases = axis_phases(0, [[1.0]] * size, kernel_size, dilation, (before, 0))
    taps = (np.array(phases.matrix) @ w).reshape(size, phases.window)
    composed = np.convolve(insert_zeros(w, dilation)[::-1], box(size))
    for phase in range(size):
        for sample in range(phases.window):
            tap = phase + kernel_extent(kernel_size, dilation) - 1 - size * sample
            expected = composed[tap] if 0 <= tap < len(composed) else 0
            assert taps[phase, sample] == expected
    if dilation == 1:
        used = np.count_nonzero(np.any(phases.matrix, axis=1))
        assert used == kernel_size + size - 1
        assert size * phases.window == used + -used % size  # the next multiple


@given(taps=st.integers(1, 12), size=factors, seed=seeds)
def test_remainder_of_box_is_difference_of_phase_sums(taps, size, seed):
    kernel = random_integers(seed, taps)
    sums = phase_sums(kernel, size)
    np.testing.assert_array_equal(remainder(kernel, box(size)), sums[:-1] - sums[-1])


@given(size=factors, kernel_size=lengths, seed=seeds)
def test_divisible_by_box_implies_equal_phase_sums(size, kernel_size, seed):
    w = random_integers(seed, kernel_size)
    np.testing.assert_array_equal(phase_sums(np.convolve(w, box(size)), size), w.sum())


@given(size=factors, more=st.integers(0, 9), seed=seeds)
def test_equal_phase_sums_imply_divisible_by_box(size, more, seed):
    kernel = random_integers(seed, size + more)
    kernel[:size] += 7 - phase_sums(kernel, size)
    quotient, rest = polydiv(kernel, box(size))
    np.testing.assert_array_equal(rest, 0)
    restored = np.convolve(quotient, box(size))
    np.testing.assert_array_equal(np.pad(restored, (0, len(kernel) - len(restored))), kernel)


@given(taps=st.integers(1, 12), size=factors, seed=seeds)
def test_response_to_constant_is_phase_sums(taps, size, seed):
    kernel = random_integers(seed, taps)
    response = transposed_convolution(np.ones(16), kernel, size)
    interior = np.arange(12, 12 + 2 * size)
    np.testing.assert_array_equal(response[interior], phase_sums(kernel, size)[interior % size])


@given(size=factors, kernel_size=lengths, seed=seeds)
def test_tent_keeps_slope_without_steps(size, kernel_size, seed):
    w = random_integers(seed, kernel_size)
    slope = np.arange(16.0)

    def curvature(kernel):
        response = transposed_convolution(slope, kernel, size)
        return np.diff(response[len(kernel) : size * 15], n=2)

    np.testing.assert_allclose(curvature(np.convolve(w, tent(size))), 0, rtol=0, atol=1e-9)
    assert abs(curvature(box(size))).max() == 1  # the steps of nearest


# Two axes.


def composition_2d(size, kernel_size):
    """Matrix that computes the composed kernel from a kernel, both flattened."""
    axis = np.stack([np.convolve(tap, box(size)) for tap in np.eye(kernel_size)], axis=1)
    return np.kron(axis, axis)


def phase_sum_matrix(size, taps):
    """Matrix that computes the phase sums of a kernel on one axis."""
    return np.stack([phase_sums(tap, size) for tap in np.eye(taps)], axis=1)


@pytest.mark.parametrize("size", [2, 3])
def test_equal_phase_sums_in_2d_are_weaker_than_box(size):
    for kernel_size in range(1, 5):
        taps = kernel_size + size - 1
        composition = composition_2d(size, kernel_size)
        assert np.linalg.matrix_rank(composition) == kernel_size**2

        # Equal phase sums: `size**2` numbers are equal.
        sums = np.kron(phase_sum_matrix(size, taps), phase_sum_matrix(size, taps))
        uneven = sums[:-1] - sums[-1]
        np.testing.assert_array_equal(uneven @ composition, 0)
        free = taps**2 - np.linalg.matrix_rank(uneven)
        assert free == taps**2 - (size**2 - 1)
        assert (free > kernel_size**2) == (kernel_size > 1)

        # Equal phase sums in each row and in each column: the same as divisible by the box.
        line = phase_sum_matrix(size, taps)
        line = line[:-1] - line[-1]
        uneven = np.concatenate([np.kron(line, np.eye(taps)), np.kron(np.eye(taps), line)])
        np.testing.assert_array_equal(uneven @ composition, 0)
        assert taps**2 - np.linalg.matrix_rank(uneven) == kernel_size**2


def transposed_convolution_2d(image, kernel, size):
    output = np.zeros([size * (n - 1) + k for n, k in zip(image.shape, kernel.shape, strict=True)])
    for (row, column), value in np.ndenumerate(image):
        top, left = size * row, size * column
        output[top : top + kernel.shape[0], left : left + kernel.shape[1]] += value * kernel
    return output


def test_equal_phase_sums_keep_constants_and_box_keeps_edges_too():
    equal_sums = np.array([[1, 0, 0], [0, 1, 1], [0, 1, 0]])
    divisible = np.outer(np.convolve([1, 2], box(2)), np.convolve([3, -1], box(2)))
    constant, edge = np.ones((6, 6)), np.outer(np.ones(6), [0, 0, 0, 1, 1, 1])
    interior = slice(3, -3)
    for kernel, keeps_edge in ((equal_sums, False), (divisible, True)):
        flat = transposed_convolution_2d(constant, kernel, 2)[interior, interior]
        assert (flat == flat[0, 0]).all()
        response = transposed_convolution_2d(edge, kernel, 2)[interior, interior]
        assert (response == response[0]).all() == keeps_edge


# Borders: padding of the input that equals the padding of the upsampled map. The mode of
# `numpy.pad` for the input, by interpolation and padding.

EQUIVALENT_MODES = [
    ("nearest", "same", "constant"),
    ("nearest", "edge", "edge"),
    ("nearest", "symmetric", "symmetric"),
    ("nearest", "wrap", "wrap"),
    ("linear", "valid", "edge"),
    ("linear", "edge", "edge"),
    ("linear", "symmetric", "symmetric"),
]


def with_padded_input(x, w, size, interpolation, widths, mode):
    """Pad the input, apply the transposed convolution, crop."""
    width = max(*widths, len(w)) + 1  # more than necessary, so that the result depends on `mode`
    h = filter_of(interpolation, size)
    full = transposed_convolution(np.pad(x, width, mode), np.convolve(w[::-1], h), size)
    # The filter of linear starts `size // 2` samples before its input sample.
    lead = 0 if interpolation == "nearest" else size // 2
    start = size * width + lead + len(w) - 1 - widths[0]
    return full[start : start + size * len(x) + sum(widths) - len(w) + 1]


def with_padded_upsampled_map(x, w, size, interpolation, widths, padding):
    upsampled = resampling_matrix(len(x), size, interpolation) @ x
    mode = "constant" if padding in ("same", "valid") else padding
    return np.correlate(np.pad(upsampled, widths, mode), w, "valid")


@pytest.mark.parametrize(("interpolation", "padding", "mode"), EQUIVALENT_MODES)
@settings(max_examples=25)
@given(size=factors, kernel_size=st.integers(1, 13), seed=seeds)
def test_padded_input_equals_padded_upsampled_map(
    interpolation, padding, mode, size, kernel_size, seed
):
    x, w = random_integers(seed, 7), random_integers(seed + 1, kernel_size)
    widths = pad_widths(kernel_size, padding)
    np.testing.assert_allclose(
        with_padded_input(x, w, size, interpolation, widths, mode),
        with_padded_upsampled_map(x, w, size, interpolation, widths, padding),
        atol=1e-9,
    )


@pytest.mark.parametrize(("interpolation", "multiple"), [("nearest", 1), ("linear", 2)])
def test_short_reflect_padding_equals_edge_padding(interpolation, multiple):
    x, w = random_integers(0, 7), np.ones(1)  # the output is the padded signal
    for size in range(2, 8):
        for width in range(1, size + 1):
            padded = with_padded_input(x, w, size, interpolation, (width, width), "edge")
            reflected = with_padded_upsampled_map(
                x, w, size, interpolation, (width, width), "reflect"
            )
            assert np.allclose(padded, reflected) == (multiple * width < size)


@pytest.mark.parametrize(
    ("interpolation", "padding"),
    [("linear", "same"), ("linear", "wrap"), ("linear", "reflect"), ("nearest", "reflect")],
)
def test_other_paddings_have_no_equivalent_padded_input(interpolation, padding):
    x = np.array([1.0, 4, 2, 5, 3, 7, 6])
    for size in range(2, 7):
        shortest = {"linear": -(-size // 2), "nearest": size}[interpolation]
        width = shortest if padding == "reflect" else 1
        expected = with_padded_upsampled_map(
            x, np.ones(1), size, interpolation, (width, 0), padding
        )
        # Choose the samples before `x` freely, by least squares: an error remains.
        matrix = resampling_matrix(4 + len(x), size, interpolation)[4 * size - width : 5 * size]
        target = expected[: len(matrix)] - matrix[:, 4:] @ x
        closest = np.linalg.lstsq(matrix[:, :4], target)[0]
        assert abs(matrix[:, :4] @ closest - target).max() > 0.1


def test_edge_padded_linear_differs_from_zeros_only_at_borders():
    x = np.array([1.0, 4, 2, 5, 3, 7, 6])
    for kernel_size in (2, 3, 5):
        w, (before, after) = np.ones(kernel_size), pad_widths(kernel_size, "same")
        output = with_padded_input(x, w, 2, "linear", (before, after), "edge")
        expected = with_padded_upsampled_map(x, w, 2, "linear", (before, after), "same")
        differing = np.flatnonzero(~np.isclose(output, expected))
        assert differing.tolist() == [*range(before), *range(14 - after, 14)]
