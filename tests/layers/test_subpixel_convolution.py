import inspect

import keras
import numpy as np
import pytest
from keras import layers

import keras_upsampling
from keras_upsampling import SubpixelConv1D, SubpixelConv2D, UpsampleConv2D, audit_kernel
from keras_upsampling.constraints import CheckerboardFree
from keras_upsampling.initializers import ICNR
from tests.backends import evaluate, float64_allowed, to_numpy
from tests.oracle import subpixel_conv

LAST = {"data_format": "channels_last"}
SIZES = {1: (3,), 2: (2, 3), 3: (2, 1, 2)}


def make(rank, *arguments, **options):
    return getattr(keras_upsampling, f"SubpixelConv{rank}D")(*arguments, **options)


def random_input(rank, channels=3):
    shape = (2, *(6, 5, 4)[:rank], channels)
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def run(layer, x):
    if not getattr(layer, "built", True):
        layer.build(x.shape)
    return to_numpy(evaluate(layer, keras.ops.convert_to_tensor(x)))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_layer_is_the_definition_followed_by_the_activation(rank):
    with float64_allowed():
        # Softmax over the channels: its result depends on whether it comes after depth to space.
        layer = make(
            rank, 4, 3, SIZES[rank], padding="wrap", activation="softmax", dtype="float64", **LAST
        )
        x = random_input(rank).astype("float64")
        layer.build(x.shape)
        rng = np.random.default_rng(1)
        weights = [rng.standard_normal(weight.shape) for weight in layer.weights]
        layer.set_weights(weights)
        expected = subpixel_conv(x, *weights, size=SIZES[rank], padding="wrap")
        expected = np.exp(expected) / np.exp(expected).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(run(layer, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("rank", "padding"), [(1, "wrap"), (2, "same"), (2, "valid"), (2, "reflect"), (3, "edge")]
)
def test_it_starts_as_a_convolution_upsampled_by_nearest(rank, padding):
    x, size, filters = random_input(rank), SIZES[rank], 4
    bias = ICNR(keras.initializers.RandomNormal(seed=2), size)
    layer = make(rank, filters, 3, size, padding=padding, bias_initializer=bias, **LAST)
    output = run(layer, x)

    kernel, biases = layer.get_weights()
    convolution = getattr(layers, f"Conv{rank}D")(filters, 3, **LAST)
    upsample = getattr(layers, f"UpSampling{rank}D")(size[0] if rank == 1 else size)
    if padding != "valid":
        mode = "constant" if padding == "same" else padding
        x = np.pad(x, [(0, 0), *[(1, 1)] * rank, (0, 0)], mode)
    convolution.build(x.shape)
    convolution.set_weights([kernel[..., :filters], biases[:filters]])
    expected = run(lambda x: upsample(convolution(x)), x)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_constants_stay_constant_before_training(rank):
    layer = make(rank, 2, 3, SIZES[rank], padding="edge", bias_initializer="ones", **LAST)
    output = run(layer, np.ones_like(random_input(rank)))
    axes = tuple(range(1, rank + 1))
    np.testing.assert_allclose(np.ptp(output, axis=axes), 0, atol=1e-5)
    assert abs(output - 1).max() > 0.01
    assert audit_kernel(layer).gain < 1e-6
    assert audit_kernel(layer).power < 1e-6


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_shifting_the_input_by_one_sample_shifts_the_output_by_size(rank):
    x, size = random_input(rank), SIZES[rank]
    axes = tuple(range(1, rank + 1))
    shifted_x = np.roll(x, (1,) * rank, axes)
    # Without the output samples that read the border, before or after the shift.
    inner = (slice(None), *[slice(2 * s, -s) for s in size])
    for padding, region in (("wrap", ...), ("same", inner)):
        layer = make(rank, 2, 3, size, padding=padding, kernel_initializer="he_normal", **LAST)
        output, expected = run(layer, shifted_x), np.roll(run(layer, x), size, axes)
        np.testing.assert_allclose(output[region], expected[region], rtol=0, atol=1e-5)


def trained(**constraints):
    layer = SubpixelConv2D(2, 3, **constraints, **LAST)
    model = keras.Sequential([keras.Input((6, 6, 3)), layer])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 6, 6, 3)), rng.standard_normal((8, 12, 12, 2))
    assert audit_kernel(layer).gain < 1e-6
    model.fit(x, y, epochs=2, verbose=0)
    return layer


def test_training_introduces_ripple_unless_a_constraint_prevents_it():
    assert audit_kernel(trained()).gain > 0.01
    free = CheckerboardFree((2, 2), subpixel=True)
    layer = trained(kernel_constraint=free, bias_constraint=free)
    assert audit_kernel(layer).gain < 1e-5
    assert audit_kernel(layer).power > 1e-3  # only the sums of the phases are constrained


def test_the_initializer_is_in_the_config():
    layer = SubpixelConv2D(4, 3, (2, 3))
    assert isinstance(layer.kernel_initializer, ICNR)
    restored = SubpixelConv2D.from_config(layer.get_config())
    assert restored.kernel_initializer.get_config() == layer.kernel_initializer.get_config()
    assert restored.kernel_initializer.size == (2, 3)
    free = SubpixelConv2D(4, 3, kernel_initializer="glorot_uniform")
    assert isinstance(free.kernel_initializer, keras.initializers.GlorotUniform)


def test_signature_has_the_names_order_and_defaults_of_upsample_conv():
    ours = inspect.signature(SubpixelConv2D).parameters
    theirs = inspect.signature(UpsampleConv2D).parameters
    assert list(ours) == [
        name for name in theirs if name not in ("interpolation", "dilation_rate", "groups")
    ]
    assert {name for name in ours if ours[name].default != theirs[name].default} == {
        "kernel_initializer"
    }


def test_regularizers_constraints_and_activity_are_applied():
    layer = SubpixelConv2D(
        2,
        3,
        kernel_regularizer="l2",
        bias_regularizer="l1",
        activity_regularizer="l1",
        bias_initializer="ones",
        kernel_constraint="non_neg",
        bias_constraint="max_norm",
    )
    layer(random_input(2))
    assert len(layer.losses) == 3
    assert [(w.name, w.shape) for w in layer.weights] == [("kernel", (3, 3, 3, 8)), ("bias", (8,))]
    assert isinstance(layer.kernel.constraint, keras.constraints.NonNeg)
    assert isinstance(layer.bias.constraint, keras.constraints.MaxNorm)
    without = SubpixelConv2D(2, 3, use_bias=False)
    without(random_input(2))
    assert [w.name for w in without.weights] == ["kernel"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"filters": 0}, ValueError, r"`filters` .*filters=0"),
        ({"kernel_size": (3, 3, 3)}, ValueError, r"`kernel_size` .*or 2 of them, one per axis"),
        ({"size": 1.5}, TypeError, r"`size` .*integers are needed"),
        ({"padding": "zeros"}, ValueError, r"'same', 'valid', 'reflect', 'symmetric', 'edge'"),
        ({"data_format": "NHWC"}, ValueError, r"'channels_last', 'channels_first'"),
        (
            {"size": 3, "kernel_initializer": ICNR()},
            ValueError,
            r"size=2\)\. Pass size=\(3, 3\) to ICNR",
        ),
        (
            {"bias_initializer": ICNR("zeros", (2, 2, 1))},
            ValueError,
            r"`bias_initializer.size` must be a positive integer, or 2 of them",
        ),
    ],
)
def test_bad_arguments_are_refused_when_the_layer_is_created(arguments, error, message):
    with pytest.raises(error, match=message):
        SubpixelConv2D(**{"filters": 4, "kernel_size": 3, **arguments})


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (SubpixelConv2D(4, 3), (None, 4, 4, None), "channels must be known"),
        (SubpixelConv2D(4, 5, padding="valid"), (None, 4, 9, 3), "spans 5 .* the input has 4 on"),
        (SubpixelConv1D(4, 9, padding="reflect"), (None, 4, 3), "to an axis of 4 of the input"),
        (SubpixelConv1D(4, 3), (None, 4, 4, 3), r"3 axes \(batch, length, channels\)"),
    ],
)
def test_invalid_inputs_are_refused_before_weights_are_created(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.build(shape)
