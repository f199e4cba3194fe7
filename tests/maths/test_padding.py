import pytest

from keras_upsampling.maths.padding import convolved_length, kernel_extent, pad_widths


def test_extent_includes_gaps_of_dilated_kernel():
    assert kernel_extent(3, 1) == 3
    assert kernel_extent(3, 2) == 5
    assert kernel_extent(1, 7) == 1


@pytest.mark.parametrize(("extent", "widths"), [(1, (0, 0)), (2, (0, 1)), (3, (1, 1)), (4, (1, 2))])
def test_even_kernel_pads_one_more_sample_after(extent, widths):
    assert pad_widths(extent, "same") == widths
    assert pad_widths(extent, "valid") == (0, 0)


def test_convolved_lengths():
    assert convolved_length(8, 3, "same") == 8
    assert convolved_length(8, 3, "valid") == 6
    assert convolved_length(3, 5, "reflect") == 3


def test_kernel_longer_than_valid_axis_raises():
    with pytest.raises(ValueError, match=r"spans 5 samples .* has 4 .* padding='same'"):
        convolved_length(4, 5, "valid")


def test_reflect_padding_wider_than_axis_raises():
    with pytest.raises(ValueError, match=r"add 3 samples to an axis of 3 .* can add 2 at most"):
        convolved_length(3, 7, "reflect")
