"""Upsampling and convolving is one transposed convolution: the algebra behind docs/one_step.md.

A kernel stands for the polynomial with its taps as coefficients, the first tap the constant:
`np.convolve` multiplies, `polydiv` divides. On whole numbers both are exact.
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


def whole_numbers(seed, *shape):
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(float)


def zeros_between(x, size):
    spread = np.zeros(size * (len(x) - 1) + 1)
    spread[::size] = x
    return spread


def transposed_convolution(x, kernel, size):
    return np.convolve(zeros_between(x, size), kernel)


def box(size):
    return np.ones(size)


def tent(size):
    """The tent with a sample on its peak."""
    return np.convolve(box(size), box(size)) / size


def filter_of(interpolation, size):
    """What an interpolation makes of a single one, far from any border."""
    return np.trim_zeros(resampling_matrix(41, size, interpolation)[:, 20])


def remainder(kernel, divisor):
    """What is left of a kernel divided by another, one number per power."""
    left = polydiv(kernel, divisor)[1]
    return np.pad(left, (0, len(divisor) - 1 - len(left)))


def phase_sums(kernel, size):
    return np.array([kernel[phase::size].sum() for phase in range(size)])


# The composed kernel.


@given(length=lengths, size=factors, kernel_size=lengths, seed=seeds)
def test_nearest_and_a_convolution_are_one_transposed_convolution(length, size, kernel_size, seed):
    x, w = whole_numbers(seed, length), whole_numbers(seed + 1, kernel_size)
    enlarged = resampling_matrix(length, size, "nearest") @ x
    composed = np.convolve(w, box(size))
    np.testing.assert_array_equal(
        np.convolve(enlarged, w), transposed_convolution(x, composed, size)
    )


@given(size=factors, kernel_size=lengths, seed=seeds)
def test_a_nearest_kernel_divided_by_the_box_is_the_convolutions_kernel(size, kernel_size, seed):
    w = whole_numbers(seed, kernel_size)
    assume(w[-1] != 0)
    quotient, left = polydiv(np.convolve(w, filter_of("nearest", size)), box(size))
    np.testing.assert_array_equal(quotient, w)
    np.testing.assert_array_equal(left, 0)


@given(size=factors, kernel_size=lengths, seed=seeds)
def test_a_linear_kernel_is_divisible_by_the_tent(size, kernel_size, seed):
    w = whole_numbers(seed, kernel_size)
    assume(w[-1] != 0)
    composed = np.convolve(w, filter_of("linear", size))
    quotient, left = polydiv(composed, tent(size))
    np.testing.assert_allclose(left, 0, rtol=0, atol=1e-9)
    # For even factors the new samples lie astride the peak: one more average of two.
    rest = w if size % 2 else np.convolve(w, [0.5, 0.5])
    np.testing.assert_allclose(quotient, rest, rtol=0, atol=1e-9)


def test_the_filter_of_linear_is_the_tent_averaged_for_even_factors():
    for size in range(2, 9):
        expected = tent(size) if size % 2 else np.convolve(tent(size), [0.5, 0.5])
        np.testing.assert_allclose(filter_of("linear", size), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        filter_of("linear", 2), np.array([1, 3, 3, 1]) / 4, rtol=0, atol=1e-12
    )


# How often the box divides an interpolation's filter: as many powers of the position, the
# constant first, as it keeps. The average of two in linear by 2 is the box once more.
BOXES = {"nearest": 1, "linear": 2, "cubic": 3, "lanczos3": 1, "lanczos5": 1}


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_every_interpolation_is_divisible_by_the_box(interpolation):
    for size in range(2, 7):
        h = filter_of(interpolation, size)
        for _ in range(BOXES[interpolation] + ((interpolation, size) == ("linear", 2))):
            h, left = polydiv(h, box(size))
            np.testing.assert_allclose(left, 0, rtol=0, atol=1e-12)
        assert abs(remainder(h, box(size))).max() > 1e-3


# Phases, and what the box says about them.


@given(
    size=st.integers(1, 5),
    kernel_size=lengths,
    dilation=st.integers(1, 3),
    before=st.integers(0, 9),
)
def test_the_phases_are_every_size_th_tap_of_the_composed_kernel(
    size, kernel_size, dilation, before
):
    w = whole_numbers(size, kernel_size)
    phases = axis_phases(0, [[1.0]] * size, kernel_size, dilation, (before, 0))
    taps = (np.array(phases.matrix) @ w).reshape(size, phases.window)
    composed = np.convolve(zeros_between(w, dilation)[::-1], box(size))
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
def test_what_the_box_leaves_is_how_far_the_phase_sums_differ(taps, size, seed):
    kernel = whole_numbers(seed, taps)
    sums = phase_sums(kernel, size)
    np.testing.assert_array_equal(remainder(kernel, box(size)), sums[:-1] - sums[-1])


@given(size=factors, kernel_size=lengths, seed=seeds)
def test_divisible_by_the_box_makes_equal_phase_sums(size, kernel_size, seed):
    w = whole_numbers(seed, kernel_size)
    np.testing.assert_array_equal(phase_sums(np.convolve(w, box(size)), size), w.sum())


@given(size=factors, more=st.integers(0, 9), seed=seeds)
def test_equal_phase_sums_make_divisible_by_the_box(size, more, seed):
    kernel = whole_numbers(seed, size + more)
    kernel[:size] += 7 - phase_sums(kernel, size)
    quotient, left = polydiv(kernel, box(size))
    np.testing.assert_array_equal(left, 0)
    restored = np.convolve(quotient, box(size))
    np.testing.assert_array_equal(np.pad(restored, (0, len(kernel) - len(restored))), kernel)


@given(taps=st.integers(1, 12), size=factors, seed=seeds)
def test_a_constant_is_answered_with_the_phase_sums(taps, size, seed):
    kernel = whole_numbers(seed, taps)
    answer = transposed_convolution(np.ones(16), kernel, size)
    inside = np.arange(12, 12 + 2 * size)
    np.testing.assert_array_equal(answer[inside], phase_sums(kernel, size)[inside % size])


@given(size=factors, kernel_size=lengths, seed=seeds)
def test_the_tent_leaves_no_steps_on_a_slope(size, kernel_size, seed):
    w = whole_numbers(seed, kernel_size)
    slope = np.arange(16.0)

    def bends(kernel):
        answer = transposed_convolution(slope, kernel, size)
        return np.diff(answer[len(kernel) : size * 15], n=2)

    np.testing.assert_allclose(bends(np.convolve(w, tent(size))), 0, rtol=0, atol=1e-9)
    assert abs(bends(box(size))).max() == 1  # the staircase of nearest


# Two axes.


def composition_2d(size, kernel_size):
    """The matrix that makes a composed kernel of a kernel, both flat."""
    axis = np.stack([np.convolve(tap, box(size)) for tap in np.eye(kernel_size)], axis=1)
    return np.kron(axis, axis)


def phase_sum_matrix(size, taps):
    """The matrix that answers a kernel on one axis with its phase sums."""
    return np.stack([phase_sums(tap, size) for tap in np.eye(taps)], axis=1)


@pytest.mark.parametrize("size", [2, 3])
def test_in_two_dimensions_equal_phase_sums_ask_for_less_than_the_box(size):
    for kernel_size in range(1, 5):
        taps = kernel_size + size - 1
        composition = composition_2d(size, kernel_size)
        assert np.linalg.matrix_rank(composition) == kernel_size**2

        # Equal phase sums: `size**2` numbers must agree.
        sums = np.kron(phase_sum_matrix(size, taps), phase_sum_matrix(size, taps))
        uneven = sums[:-1] - sums[-1]
        np.testing.assert_array_equal(uneven @ composition, 0)
        free = taps**2 - np.linalg.matrix_rank(uneven)
        assert free == taps**2 - (size**2 - 1)
        assert (free > kernel_size**2) == (kernel_size > 1)

        # Equal in every row for itself, and in every column: that is the box.
        line = phase_sum_matrix(size, taps)
        line = line[:-1] - line[-1]
        uneven = np.concatenate([np.kron(line, np.eye(taps)), np.kron(np.eye(taps), line)])
        np.testing.assert_array_equal(uneven @ composition, 0)
        assert taps**2 - np.linalg.matrix_rank(uneven) == kernel_size**2


def transposed_convolution_2d(image, kernel, size):
    stamped = np.zeros([size * (n - 1) + k for n, k in zip(image.shape, kernel.shape, strict=True)])
    for (row, column), value in np.ndenumerate(image):
        top, left = size * row, size * column
        stamped[top : top + kernel.shape[0], left : left + kernel.shape[1]] += value * kernel
    return stamped


def test_equal_phase_sums_keep_a_constant_even_and_the_box_an_edge_too():
    even = np.array([[1, 0, 0], [0, 1, 1], [0, 1, 0]])
    boxed = np.outer(np.convolve([1, 2], box(2)), np.convolve([3, -1], box(2)))
    constant, edge = np.ones((6, 6)), np.outer(np.ones(6), [0, 0, 0, 1, 1, 1])
    inside = slice(3, -3)
    for kernel, keeps_the_edge in ((even, False), (boxed, True)):
        flat = transposed_convolution_2d(constant, kernel, 2)[inside, inside]
        assert (flat == flat[0, 0]).all()
        answer = transposed_convolution_2d(edge, kernel, 2)[inside, inside]
        assert (answer == answer[0]).all() == keeps_the_edge


# Borders: what to pad the input with, so that the rest is the transposed convolution.

STANDS_FOR = [
    ("nearest", "same", "constant"),
    ("nearest", "edge", "edge"),
    ("nearest", "symmetric", "symmetric"),
    ("nearest", "wrap", "wrap"),
    ("linear", "valid", "edge"),
    ("linear", "edge", "edge"),
    ("linear", "symmetric", "symmetric"),
]


def with_the_input_padded(x, w, size, interpolation, widths, mode):
    """Pad the input, convolve it transposed, crop."""
    around = max(*widths, len(w)) + 1  # more than is needed, so that `mode` alone matters
    h = filter_of(interpolation, size)
    full = transposed_convolution(np.pad(x, around, mode), np.convolve(w[::-1], h), size)
    # The filter of linear begins `size // 2` samples before the sample that it spreads.
    early = 0 if interpolation == "nearest" else size // 2
    start = size * around + early + len(w) - 1 - widths[0]
    return full[start : start + size * len(x) + sum(widths) - len(w) + 1]


def with_the_enlarged_padded(x, w, size, interpolation, widths, padding):
    enlarged = resampling_matrix(len(x), size, interpolation) @ x
    mode = "constant" if padding in ("same", "valid") else padding
    return np.correlate(np.pad(enlarged, widths, mode), w, "valid")


@pytest.mark.parametrize(("interpolation", "padding", "mode"), STANDS_FOR)
@settings(max_examples=25)
@given(size=factors, kernel_size=st.integers(1, 13), seed=seeds)
def test_the_input_padded_stands_for_the_enlarged_padded(
    interpolation, padding, mode, size, kernel_size, seed
):
    x, w = whole_numbers(seed, 7), whole_numbers(seed + 1, kernel_size)
    widths = pad_widths(kernel_size, padding)
    np.testing.assert_allclose(
        with_the_input_padded(x, w, size, interpolation, widths, mode),
        with_the_enlarged_padded(x, w, size, interpolation, widths, padding),
        atol=1e-9,
    )


@pytest.mark.parametrize(("interpolation", "share"), [("nearest", 1), ("linear", 2)])
def test_a_short_reflection_stands_for_the_edge(interpolation, share):
    x, w = whole_numbers(0, 7), np.ones(1)  # the output is the padded signal
    for size in range(2, 8):
        for width in range(1, size + 1):
            padded = with_the_input_padded(x, w, size, interpolation, (width, width), "edge")
            reflected = with_the_enlarged_padded(
                x, w, size, interpolation, (width, width), "reflect"
            )
            assert np.allclose(padded, reflected) == (share * width < size)


@pytest.mark.parametrize(
    ("interpolation", "padding"),
    [("linear", "same"), ("linear", "wrap"), ("linear", "reflect"), ("nearest", "reflect")],
)
def test_other_paddings_are_no_padded_input_at_all(interpolation, padding):
    x = np.array([1.0, 4, 2, 5, 3, 7, 6])
    for size in range(2, 7):
        shortest = {"linear": -(-size // 2), "nearest": size}[interpolation]
        width = shortest if padding == "reflect" else 1
        wanted = with_the_enlarged_padded(x, np.ones(1), size, interpolation, (width, 0), padding)
        # The samples in front of `x` are free to be anything; what they cannot mend stays.
        matrix = resampling_matrix(4 + len(x), size, interpolation)[4 * size - width : 5 * size]
        wanted = wanted[: len(matrix)] - matrix[:, 4:] @ x
        closest = np.linalg.lstsq(matrix[:, :4], wanted)[0]
        assert abs(matrix[:, :4] @ closest - wanted).max() > 0.1


def test_linear_with_the_edge_outside_errs_only_where_the_kernel_looks_past_it():
    x = np.array([1.0, 4, 2, 5, 3, 7, 6])
    for kernel_size in (2, 3, 5):
        w, (before, after) = np.ones(kernel_size), pad_widths(kernel_size, "same")
        found = with_the_input_padded(x, w, 2, "linear", (before, after), "edge")
        expected = with_the_enlarged_padded(x, w, 2, "linear", (before, after), "same")
        differing = np.flatnonzero(~np.isclose(found, expected))
        assert differing.tolist() == [*range(before), *range(14 - after, 14)]
