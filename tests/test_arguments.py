import functools
import inspect

import numpy as np
import pytest

from keras_upsampling import layers
from keras_upsampling._arguments import one_of, positive_ints


@pytest.mark.parametrize("value", [2, [2, 2], (2, 2), np.array([2, 2]), np.int32(2)])
def test_one_integer_or_one_per_axis(value):
    assert positive_ints(value, 2, "size") == (2, 2)


@pytest.mark.parametrize(
    "value", [None, "22", 2.0, np.float32(2), [2, None], np.array([2.0, 2.0]), np.array(2.5)]
)
def test_non_integer_raises_type_error(value):
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        positive_ints(value, 2, "size")


def test_names_are_case_insensitive():
    assert one_of("SAME", ("same", "valid"), "padding") == "same"


@pytest.mark.parametrize(
    ("foreign", "name"),
    [
        ("replicate", "edge"),
        ("zeros", "same"),
        ("constant", "same"),
        ("circular", "wrap"),
        ("Mirror", "reflect"),
    ],
)
def test_names_of_other_libraries_raise_and_give_the_right_name(foreign, name):
    with pytest.raises(ValueError, match=f"Use '{name}' instead of '{foreign}'"):
        layers.UpsampleConv2D(1, 3, padding=foreign)
    with pytest.raises(ValueError, match=f"Use '{name}' instead of '{foreign}'"):
        layers.SubpixelConv1D(1, 3, padding=foreign)


def test_suggested_name_is_valid_for_the_argument():
    with pytest.raises(ValueError, match="'edge'") as raised:
        layers.UpsampleConv2D(1, 3, padding="bilinear")
    assert "instead of" not in str(raised.value)
    with pytest.raises(ValueError, match="Use 'channels_first' instead of 'NCHW'"):
        layers.Upsample2D(data_format="NCHW")


LAYERS = [
    functools.partial(layer, 1, 3) if "filters" in inspect.signature(layer).parameters else layer
    for layer in (getattr(layers, name) for name in layers.__all__)
]
CONVOLUTIONS = [layer for layer in LAYERS if isinstance(layer, functools.partial)]


def name_of(layer):
    return getattr(layer, "func", layer).__name__


@pytest.mark.parametrize("layer", LAYERS, ids=name_of)
@pytest.mark.parametrize("argument", ["strides", "stride", "scale_factor"])
def test_other_names_of_size_raise_and_suggest_size(argument, layer):
    message = f"{name_of(layer)} has no argument `{argument}`.* size=3"
    with pytest.raises(ValueError, match=message):
        layer(**{argument: 3})


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=name_of)
def test_other_names_of_convolution_arguments_raise_and_suggest_the_name(layer):
    with pytest.raises(ValueError, match="Use padding='reflect'"):
        layer(padding_mode="reflect")
    with pytest.raises(ValueError, match="Use use_bias=False"):
        layer(bias=False)


def test_suggested_argument_exists_in_the_layer():
    with pytest.raises(ValueError, match="Use interpolation='bilinear'"):
        layers.Upsample2D(mode="bilinear")
    with pytest.raises(ValueError, match="as with align_corners=False"):
        layers.UpsampleConv2D(1, 3, align_corners=False)
    for layer in (
        layers.BlurPool2D,
        functools.partial(layers.SubpixelConv2D, 1, 3),
    ):
        with pytest.raises(ValueError, match="mode") as raised:
            layer(mode="bilinear")
        assert "interpolation" not in str(raised.value)
