import functools

import numpy as np
import pytest

import keras_upsampling
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


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("replicate", "edge"),
        ("zeros", "same"),
        ("constant", "same"),
        ("circular", "wrap"),
        ("Mirror", "reflect"),
    ],
)
def test_words_of_other_libraries_are_refused_with_ours(given, meant):
    with pytest.raises(ValueError, match=f"What others call '{given}' is '{meant}'"):
        keras_upsampling.UpsampleConv2D(1, 3, padding=given)
    with pytest.raises(ValueError, match=f"What others call '{given}' is '{meant}'"):
        keras_upsampling.SubpixelConv1D(1, 3, padding=given)


def test_words_are_named_only_where_they_are_known():
    with pytest.raises(ValueError, match="'edge'") as refused:
        keras_upsampling.UpsampleConv2D(1, 3, padding="bilinear")
    assert "What others call" not in str(refused.value)
    with pytest.raises(ValueError, match="'NCHW' is 'channels_first'"):
        keras_upsampling.Upsample2D(data_format="NCHW")


CONVOLUTIONS = [
    functools.partial(getattr(keras_upsampling, f"{name}{rank}D"), 1, 3)
    for name in ("UpsampleConv", "SubpixelConv")
    for rank in (1, 2, 3)
]
LAYERS = [
    *CONVOLUTIONS,
    *(getattr(keras_upsampling, f"Upsample{rank}D") for rank in (1, 2, 3)),
    *(getattr(keras_upsampling, f"BlurPool{rank}D") for rank in (1, 2, 3)),
    keras_upsampling.BilinearAdditiveUpsampling2D,
    keras_upsampling.CARAFE2D,
    keras_upsampling.DySample2D,
]


def name_of(layer):
    return getattr(layer, "func", layer).__name__


@pytest.mark.parametrize("layer", LAYERS, ids=name_of)
@pytest.mark.parametrize("given", ["strides", "stride", "scale_factor"])
def test_what_other_layers_call_the_size_is_refused_with_its_name(given, layer):
    with pytest.raises(ValueError, match=f"{name_of(layer)} has no argument `{given}`.* size=3"):
        layer(**{given: 3})


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=name_of)
def test_what_other_convolutions_call_their_arguments_is_refused_with_our_name(layer):
    with pytest.raises(ValueError, match="write padding='reflect'"):
        layer(padding_mode="reflect")
    with pytest.raises(ValueError, match="write use_bias=False"):
        layer(bias=False)


def test_only_arguments_that_the_layer_has_are_named():
    with pytest.raises(ValueError, match="write interpolation='bilinear'"):
        keras_upsampling.Upsample2D(mode="bilinear")
    with pytest.raises(ValueError, match="as with align_corners=False"):
        keras_upsampling.UpsampleConv2D(1, 3, align_corners=False)
    for layer in (
        keras_upsampling.BlurPool2D,
        functools.partial(keras_upsampling.SubpixelConv2D, 1, 3),
    ):
        with pytest.raises(ValueError, match="mode") as refused:
            layer(mode="bilinear")
        assert "interpolation" not in str(refused.value)
