"""The advice of the audit: replacement kernels that reach as far, and each advice printed once."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_upsampling import Upsample1D, UpsampleConv1D, UpsampleConv2D, audit
from keras_upsampling.auditing.advice import advice
from keras_upsampling.auditing.survey import survey_model
from tests.backends import to_numpy

SAME = {"padding": "same", "data_format": "channels_last"}
LAST = {"data_format": "channels_last"}


def first_advice(*stack, channels=4, rank=2):
    """Return the advice on the first layer of a stack that upsamples or downsamples."""
    model = keras.Sequential([keras.Input((*(8,) * rank, channels)), *stack])
    return advice(survey_model(model).changes[0])


def advised_taps(taps, size):
    """Return the advised replacement for the kernel size of a `Conv1DTranspose`."""
    text = first_advice(layers.Conv1DTranspose(3, taps, strides=size, **SAME), rank=1)
    return int(re.search(r"UpsampleConv1D\(3, (\d+), size=\d+\)", text)[1])


def reached_samples(layer, length=31):
    """Return the indices of the output samples that a unit impulse in the middle reaches."""
    signal = np.zeros((1, length, 1), "float32")
    signal[:, length // 2] = 1
    return np.flatnonzero(np.abs(to_numpy(layer(signal))[0, :, 0]) > 1e-6)


def expected_samples(taps, size, length=31):
    """Return the same for `np.repeat` followed by `np.convolve` with a kernel of ones."""
    signal = np.zeros(length)
    signal[length // 2] = 1
    return np.flatnonzero(np.convolve(np.repeat(signal, size), np.ones(taps), "same"))


@pytest.mark.parametrize("size", [2, 3, 4, 8])
@pytest.mark.parametrize("excess", range(-2, 9))
def test_the_advised_kernel_reaches_as_far_about_the_same_centre(size, excess):
    taps = size + excess
    if taps < 1:
        return
    advised = advised_taps(taps, size)
    options = {"use_bias": False, "kernel_initializer": "ones", **SAME}
    reached = reached_samples(UpsampleConv1D(1, advised, size=size, **options))
    np.testing.assert_array_equal(reached, expected_samples(advised, size))
    # The image is not shifted: the samples are centred on the impulse.
    assert np.mean(reached) == size * (31 // 2) + (size - 1) / 2
    if excess > 0 and excess % 2 == 0:
        transposed = reached_samples(layers.Conv1DTranspose(1, taps, strides=size, **options))
        np.testing.assert_array_equal(reached, transposed)
    else:
        assert advised == min(n for n in (3, 5, 7, 9) if n >= excess + 1)


def test_every_axis_has_its_own_taps():
    text = first_advice(layers.Conv2DTranspose(3, (16, 3), strides=(8, 1), **SAME))
    assert "UpsampleConv2D(3, (9, 3), size=(8, 1))" in text
    text = first_advice(layers.Conv2DTranspose(3, (4, 1), strides=(2, 1), **SAME))
    assert "UpsampleConv2D(3, (3, 1), size=(2, 1))" in text


def test_steps_of_nearest_are_mentioned_only_if_no_convolution_follows():
    def nearest():
        return layers.UpSampling2D(2, **LAST)

    advice_on_steps = 'no convolution follows: use Upsample2D(2, interpolation="linear")'
    assert advice_on_steps in first_advice(nearest())
    assert advice_on_steps in first_advice(nearest(), layers.ReLU(), layers.Conv2D(3, 1, **SAME))
    for after in (layers.Conv2D(3, 3, **SAME), layers.DepthwiseConv2D(3, **SAME)):
        assert first_advice(nearest(), layers.ReLU(), after) == ""
    assert first_advice(UpsampleConv2D(3, 3, **LAST)) == ""
    x = keras.Input((8, 2))
    y = Upsample1D(2, **LAST)(x)
    joined = layers.Concatenate()([y, layers.Conv1D(2, 3, **SAME)(y)])
    assert advice(survey_model(keras.Model(x, joined)).changes[0]) == ""


def test_steps_are_explained_once():
    stack = [UpsampleConv2D(3, 3, **LAST) for _ in range(3)]
    text = str(audit(keras.Sequential([keras.Input((8, 8, 3)), *stack])))
    assert text.count("slopes become steps") == 1
    assert "linear" not in text
    smooth = UpsampleConv2D(3, 3, interpolation="linear", **LAST)
    text = str(audit(keras.Sequential([keras.Input((8, 8, 3)), smooth])))
    assert "slopes become steps" not in text


def test_one_advice_for_twelve_layers_is_one_line():
    x = keras.Input((8, 8, 1))
    pools = [layers.MaxPooling2D(2, name=f"pool{i}", **SAME) for i in range(12)]
    result = audit(keras.Model(x, layers.Add()([pool(x) for pool in pools])))
    assert len({layer.advice for layer in result.layers}) == 1
    (line,) = [line for line in str(result).splitlines() if line.startswith("- pool")]
    assert line.startswith("- pool0, pool1, pool2 and 9 more (12 layers): its gradient ")
    shared = layers.MaxPooling2D(2, name="pool", **SAME)
    text = str(audit(keras.Sequential([keras.Input((8, 8, 1)), shared, layers.ReLU(), shared])))
    assert "- pool: its gradient " in text


def test_the_report_says_which_figure_to_trust():
    up = layers.Conv2DTranspose(2, 3, strides=2, **SAME)
    model = keras.Sequential([keras.Input((8, 8, 3)), up])
    result = audit(model)
    assert "Trust the measured figures" in str(result)
    assert "Trust the measured figures" not in str(result._replace(response=None))
    without_ripple = keras.Sequential([keras.Input((8, 8, 3)), UpsampleConv2D(2, 3, **LAST)])
    assert "Trust the measured figures" not in str(audit(without_ripple))
