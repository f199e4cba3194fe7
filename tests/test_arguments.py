import numpy as np
import pytest

from keras_upsampling._arguments import one_of, positive_ints


@pytest.mark.parametrize("value", [2, [2, 2], (2, 2), np.array([2, 2]), np.int32(2)])
def test_one_or_one_per_axis(value):
    assert positive_ints(value, 2, "size") == (2, 2)


@pytest.mark.parametrize(
    "value", [None, "22", 2.0, np.float32(2), [2, None], np.array([2.0, 2.0]), np.array(2.5)]
)
def test_what_is_no_integer_is_a_type_error(value):
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        positive_ints(value, 2, "size")


def test_words_are_taken_in_any_case():
    assert one_of("SAME", ("same", "valid"), "padding") == "same"
