import pytest

from keras_upsampling.maths.padding import convolved_length, kernel_extent, pad_widths


def test_extent_counts_the_gaps_between_dilated_taps():
    assert kernel_extent(3, 1) == 3
    assert kernel_extent(3, 2) == 5
    assert kernel_extent(1, 7) == 1


@pytest.mark.parametrize(("extent", "widths"), [(1, (0, 0)), (2, (0, 1)), (3, (1, 1)), (4, (1, 2))])
def test_the_odd_sample_of_an_even_kernel_is_added_behind(extent, widths):
    assert pad_widths(extent, "same") == widths
    assert pad_widths(extent, "valid") == (0, 0)


def test_lengths():
    assert convolved_length(8, 3, "same") == 8
    assert convolved_length(8, 3, "valid") == 6
    assert convolved_length(None, 3, "valid") is None
    assert convolved_length(3, 5, "reflect") == 3


def test_nothing_left_says_so():
    with pytest.raises(ValueError, match=r"spans 5 samples .* has 4 .* padding='same'"):
        convolved_length(4, 5, "valid")


def test_reflection_past_the_end_says_how_far():
    with pytest.raises(ValueError, match=r"add 3 samples to an axis of 3 .* can add 2 at most"):
        convolved_length(3, 7, "reflect")
