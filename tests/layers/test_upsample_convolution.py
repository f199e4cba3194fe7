import keras
import numpy as np
import pytest
from hypothesis import given, settings

import keras_upsampling
import keras_upsampling.layers.upsample_convolution as layer_module
from keras_upsampling import (
    DySample2D,
    SubpixelConv2D,
    UpsampleConv1D,
    UpsampleConv2D,
    UpsampleConv3D,
)
from tests.backends import evaluate, float64_allowed, to_numpy
from tests.oracle import upsample_conv
from tests.strategies import conv_cases


def random_input(shape, rank):
    return np.random.default_rng(0).standard_normal((2, *shape[:rank], 4)).astype("float32")


@settings(max_examples=20)
@given(case=conv_cases())
def test_the_layer_matches_the_definition_with_its_bias(case):
    with float64_allowed():
        layer = getattr(keras_upsampling, f"UpsampleConv{len(case.spatial)}D")(
            case.filters,
            case.kernel_size,
            case.size,
            interpolation=case.interpolation,
            padding=case.padding,
            data_format=case.data_format,
            dilation_rate=case.dilation,
            groups=case.groups,
            dtype=case.dtype,
            kernel_initializer="zeros",  # JAX would compile a random initializer for every shape
        )
        x, (kernel, bias) = case.input(), case.weights()
        expected = upsample_conv(
            x,
            kernel,
            bias,
            size=case.size,
            interpolation=case.interpolation,
            padding=case.padding,
            dilation=case.dilation,
            groups=case.groups,
        )
        if case.data_format == "channels_first":
            x, expected = np.moveaxis(x, -1, 1), np.moveaxis(expected, -1, 1)
        layer.build(x.shape)
        layer.set_weights([kernel, bias])
        output = to_numpy(evaluate(layer, keras.ops.convert_to_tensor(x, dtype=case.dtype)))
        assert layer.compute_output_shape(x.shape) == output.shape
        scale = max(1, abs(expected).max())
        tolerance = {"float32": 1e-5, "float64": 1e-12}[case.dtype] * scale
        np.testing.assert_allclose(output, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_weights_can_be_copied_to_and_from_keras(rank, padding, kernel_size):
    x = random_input((5, 4, 3), rank)
    theirs = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            getattr(keras.layers, f"UpSampling{rank}D")(2),
            getattr(keras.layers, f"Conv{rank}D")(
                6, kernel_size, padding=padding, activation="relu", bias_initializer="normal"
            ),
        ]
    )
    ours = getattr(keras_upsampling, f"UpsampleConv{rank}D")(
        6, kernel_size, padding=padding, activation="relu"
    )
    ours.build(x.shape)
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights] == ["kernel", "bias"]
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(to_numpy(ours(x)), to_numpy(theirs(x)), atol=1e-5)
    ours.set_weights([weight + 0.1 for weight in ours.get_weights()])
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(to_numpy(ours(x)), to_numpy(theirs(x)), atol=1e-5)


@pytest.mark.parametrize(
    "layer", [lambda: UpsampleConv2D(4, 3, groups=2), lambda: DySample2D(2, groups=2)]
)
def test_a_layer_can_be_used_after_an_input_that_it_refused(layer):
    layer = layer()
    x = random_input((5, 4), 2)[..., :3]
    with pytest.raises(ValueError, match="divisible by `groups`"):
        layer(x)
    assert layer(np.concatenate([x, x], axis=-1)).shape[1:3] == (10, 8)
    with pytest.raises(ValueError, match="expected axis"):  # its weights are for six channels
        layer(np.concatenate([x, x, x, x], axis=-1))


def test_signature_has_the_names_and_defaults_of_conv():
    import inspect

    ours = inspect.signature(UpsampleConv2D).parameters
    theirs = inspect.signature(keras.layers.Conv2D).parameters
    # Decoders need `same` by default, and Conv2D writes its dilation as (1, 1).
    differing = {"padding", "dilation_rate"}
    for name in set(ours) & set(theirs) - differing:
        assert ours[name].default == theirs[name].default, name
    missing = {"strides"}  # `size` replaces it
    assert set(theirs) - set(ours) == missing


def test_regularizers_constraints_and_activity_are_applied():
    x = random_input((3, 3), 2)
    layer = UpsampleConv2D(
        2,
        3,
        kernel_regularizer="l2",
        bias_regularizer="l1",
        activity_regularizer="l1",
        bias_initializer="ones",
        kernel_constraint="non_neg",
        bias_constraint="max_norm",
    )
    layer(x)
    assert len(layer.losses) == 3
    np.testing.assert_array_equal(to_numpy(layer.bias), 1)
    assert isinstance(layer.kernel.constraint, keras.constraints.NonNeg)
    assert isinstance(layer.bias.constraint, keras.constraints.MaxNorm)
    assert isinstance(layer.kernel.regularizer, keras.regularizers.L2)
    restored = UpsampleConv2D.from_config(layer.get_config())
    assert restored.get_config() == layer.get_config()
    assert isinstance(restored.activity_regularizer, keras.regularizers.L1)


def test_without_bias_there_is_one_weight():
    layer = UpsampleConv2D(2, 3, use_bias=False)
    layer.build((None, 4, 4, 3))
    assert [w.name for w in layer.weights] == ["kernel"]
    assert layer.kernel.shape == (3, 3, 3, 2)


@pytest.mark.parametrize("padding", ["edge", "symmetric", "reflect"])
def test_replicating_paddings_leave_no_rim_on_a_constant(padding):
    layer = UpsampleConv2D(1, 3, padding=padding, kernel_initializer="ones")
    np.testing.assert_allclose(to_numpy(layer(np.ones((1, 4, 4, 1)))), 9, atol=1e-5)
    rim = UpsampleConv2D(1, 3, kernel_initializer="ones")(np.ones((1, 4, 4, 1)))
    assert to_numpy(rim)[0, 0, 0, 0] == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"filters": 0}, ValueError, r"`filters` .*filters=0"),
        ({"filters": 2.5}, TypeError, r"`filters` .*integers are needed"),
        ({"kernel_size": (3, 0)}, ValueError, r"`kernel_size` .*kernel_size=0"),
        ({"kernel_size": (3, 3, 3)}, ValueError, r"`kernel_size` .*or 2 of them, one per axis"),
        ({"size": 1.5}, TypeError, r"`size` .*integers are needed"),
        ({"dilation_rate": -1}, ValueError, r"`dilation_rate`"),
        ({"groups": 3}, ValueError, r"divisible by `groups`. Received: filters=4, groups=3"),
        ({"interpolation": "area"}, ValueError, r"expected one of: 'nearest', 'linear'"),
        (
            {"padding": "zeros"},
            ValueError,
            r"'same', 'valid', 'reflect', 'symmetric', 'edge', 'wrap'",
        ),
        ({"padding": 1}, ValueError, r"padding=1; expected one of"),
    ],
)
def test_bad_arguments_are_refused_when_the_layer_is_created(arguments, error, message):
    with pytest.raises(error, match=message):
        UpsampleConv2D(**{"filters": 4, "kernel_size": 3, **arguments})


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (UpsampleConv2D(4, 3), (None, 4, 4, None), r"channels must be known.*\(None, 4, 4, None\)"),
        (UpsampleConv2D(4, 3, groups=2), (None, 4, 4, 3), r"3 channels, and groups=2"),
        (UpsampleConv2D(4, 5, padding="valid"), (None, 2, 9, 3), r"spans 5 .* has 4 on that axis"),
        (UpsampleConv1D(4, 9, padding="reflect"), (None, 2, 3), r"add 4 samples to an axis of 4"),
        (
            UpsampleConv3D(4, 3),
            (None, 4, 4, 3),
            r"5 axes \(batch, depth, height, width, channels\)",
        ),
    ],
)
def test_invalid_inputs_are_refused_before_weights_are_created(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.build(shape)


def test_lengths_unknown_at_build_are_checked_at_call():
    layer = UpsampleConv2D(4, 5, padding="valid")
    layer.build((None, None, None, 3))
    with pytest.raises(ValueError, match="padding='valid' leaves nothing"):
        layer(np.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match=r"expected axis -?\d+ of input shape to have value 3"):
        layer(np.zeros((1, 9, 9, 4)))


def test_half_precision_composes_the_kernel_in_the_dtype_of_the_variable(monkeypatch):
    dtypes = []

    def spy(x, kernel, *arguments, **options):
        dtypes.append([keras.backend.standardize_dtype(tensor.dtype) for tensor in (x, kernel)])
        return original(x, kernel, *arguments, **options)

    original = layer_module.upsample_conv
    monkeypatch.setattr(layer_module, "upsample_conv", spy)
    layer = UpsampleConv2D(3, 3, dtype="mixed_bfloat16")
    output = layer(np.ones((1, 4, 4, 2), "float32"))
    assert dtypes == [["bfloat16", "float32"]]
    assert keras.backend.standardize_dtype(output.dtype) == "bfloat16"


@pytest.mark.parametrize("layer", [UpsampleConv2D, SubpixelConv2D])
def test_complex_numbers_are_refused(layer):
    with pytest.raises(TypeError, match=r"real numbers\. Received dtype complex64"):
        layer(2, 3)(np.zeros((1, 4, 4, 1), "complex64"))
