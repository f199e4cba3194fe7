import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_upsampling import BlurPool1D, BlurPool2D, BlurPool3D, Upsample1D
from tests.backends import evaluate, gradients, to_numpy
from tests.oracle import blur_pool

LAST = {"data_format": "channels_last"}


def gradient_of_a_constant(layer, lengths):
    """The gradient with respect to the inputs, for a gradient of ones in the output."""
    x = np.random.default_rng(0).random((1, *lengths, 1)).astype("float32")
    layer.build(x.shape)
    ones = ops.ones(layer.compute_output_shape(x.shape))
    (gradient,) = gradients(layer, [ops.convert_to_tensor(x)], ones)
    return gradient[0, ..., 0]


@pytest.mark.parametrize(
    ("order", "taps"), [(1, [1, 1]), (2, [1, 2, 1]), (3, [1, 3, 3, 1]), (4, [1, 4, 6, 4, 1])]
)
def test_filters_of_size_2_are_zhangs(order, taps):
    impulses = ops.eye(20)[..., None]
    weights = to_numpy(evaluate(BlurPool1D(2, order=order, **LAST), impulses))[:, 5, 0]
    np.testing.assert_allclose(np.trim_zeros(weights), np.array(taps) / 2**order, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "order", "lengths"),
    [(2, 3, (8, 9)), (3, 2, (7, 1)), (4, 4, (5, 2)), (5, 1, (3, 10)), (1, 3, (2, 3))],
)
def test_constants_stay_constant_to_the_border(size, order, lengths):
    layer = BlurPool2D(size, order=order, **LAST)
    output = to_numpy(evaluate(layer, ops.full((1, *lengths, 1), 3.7)))
    assert output.shape == (1, *(-(-length // size) for length in lengths), 1)
    np.testing.assert_allclose(output, 3.7, rtol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_gradient_of_a_constant_is_constant(size, order):
    reach = order * size
    gradient = gradient_of_a_constant(BlurPool1D(size, order=order, **LAST), (8 * reach,))
    np.testing.assert_allclose(gradient[reach:-reach], 1 / size, rtol=1e-5)
    if order % 2 or size % 2:  # the filter is centred: constant up to the border
        np.testing.assert_allclose(gradient, 1 / size, rtol=1e-5)


@pytest.mark.parametrize(
    "create_layer",
    [
        lambda: layers.MaxPooling2D(2, **LAST),
        lambda: layers.Conv2D(4, 3, strides=2, padding="same", **LAST),
        lambda: layers.AveragePooling2D(3, 2, **LAST),
    ],
)
def test_gradients_of_other_downsampling_layers_are_uneven(create_layer):
    inside = (slice(4, 12), slice(4, 12))
    assert np.std(gradient_of_a_constant(create_layer(), (16, 16))[inside]) > 0.05
    gradient = gradient_of_a_constant(BlurPool2D(2, **LAST), (16, 16))
    np.testing.assert_allclose(gradient, 1 / 4, rtol=1e-5)


def test_a_gradient_with_a_slope_stays_a_slope():
    # With two boxes or more. With one box it becomes a staircase.
    slope = ops.reshape(ops.arange(12, dtype="float32"), (1, 12, 1))
    for order, steps in ((1, True), (2, False), (3, False)):
        layer = BlurPool1D(3, order=order, **LAST)
        (gradient,) = gradients(layer, [ops.zeros((1, 36, 1))], slope)
        curvature = abs(np.diff(gradient[0, 9:-9, 0], 2)).max()
        assert (curvature > 0.1) if steps else (curvature < 1e-5)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_shifting_the_input_by_whole_strides_shifts_the_output(size, order):
    x = np.random.default_rng(0).standard_normal((1, 24, 1)).astype("float32")
    layer = BlurPool1D(size, order=order, **LAST)
    both = np.concatenate([x, np.roll(x, 2 * size, axis=1)])
    output, shifted = np.split(to_numpy(evaluate(layer, ops.convert_to_tensor(both))), 2)
    np.testing.assert_allclose(shifted[:, 4:-2], output[:, 2:-4], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "order", "shift"), [(2, 1, 0), (2, 2, -1 / 2), (2, 3, 0), (3, 2, 0), (4, 2, -1 / 2)]
)
def test_outputs_lie_where_upsampling_expects_them(size, order, shift):
    # With 41 samples, the last output covers one sample.
    ramp = ops.reshape(ops.arange(41, dtype="float32"), (1, 41, 1))
    pooled = BlurPool1D(size, order=order, **LAST)(ramp)
    upsampled = to_numpy(Upsample1D(size, interpolation="linear", **LAST)(pooled))[0, :41, 0]
    np.testing.assert_allclose(upsampled[12:-12], np.arange(12, 29) + shift, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(BlurPool1D, (2, 5, 2)), (BlurPool2D, (2, 5, 3, 2)), (BlurPool3D, (1, 5, 3, 4, 2))],
)
def test_sizes_may_differ_by_axis(layer, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    size = (3, 1, 2)[: len(shape) - 2]
    expected = blur_pool(x, size, 2)
    output = to_numpy(layer(size, order=2, **LAST)(x))
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 2.0}, TypeError, r"`size` .*size=2.0 of type float; integers are needed"),
        ({"size": (2, 0)}, ValueError, r"`size` .*size=0; use 1 or more"),
        ({"size": (2, 2, 2)}, ValueError, r"or 2 of them, one per axis.*\(2, 2, 2\)"),
        ({"order": 2.5}, TypeError, r"`order` .*order=2.5 of type float"),
        ({"order": 0}, ValueError, r"`order` .*order=0; use 1 or more"),
        ({"data_format": "NHWC"}, ValueError, r"`data_format`.*'channels_last', 'channels_first'"),
    ],
)
def test_bad_arguments_are_refused_when_the_layer_is_created(arguments, error, message):
    with pytest.raises(error, match=message):
        BlurPool2D(**arguments)


def test_inputs_of_the_wrong_rank_are_refused():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        BlurPool2D()(np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match=r"4 axes \(batch, height, width, channels\)"):
        BlurPool2D(**LAST).compute_output_shape((1, 2, 3))


def test_an_encoder_of_odd_sizes():
    x = keras.Input((None, None, 1))
    y = layers.MaxPooling2D(2, strides=1, padding="same")(x)
    model = keras.Model(x, BlurPool2D()(BlurPool2D()(y)))
    assert model.output_shape == (None, None, None, 1)
    assert evaluate(model, ops.zeros((1, 7, 25, 1))).shape == (1, 2, 7, 1)
