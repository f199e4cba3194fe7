"""`audit` and `repair` of wrappers, functions of tensors and resizing layers."""

import json
import threading

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_upsampling import Upsample2D, UpsampleConv2D, audit, audit_kernel, repair
from keras_upsampling import ops as upsampling_ops
from keras_upsampling.auditing.advice import advice
from keras_upsampling.auditing.functions import functions_as_operations
from keras_upsampling.auditing.survey import survey_model
from tests.backends import to_numpy

LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


def up(name="up", taps=3):
    return layers.Conv2DTranspose(2, taps, strides=2, name=name, **SAME)


def clip_model(*inner_layers):
    """A model that applies layers to each image of a clip."""
    x = y = keras.Input((3, 6, 6, 2))
    for i, layer in enumerate(inner_layers):
        y = layers.TimeDistributed(layer, name=f"times{i}")(y)
    return keras.Model(x, y)


def response_to_a_constant(model, rows=slice(8, -8)):
    y = to_numpy(model(np.ones((1, 3, 6, 6, 2), "float32")))
    return y[..., rows, rows, :]


def spread(y):
    """The largest difference between two pixels in one channel of an image."""
    return np.max(np.ptp(y, axis=(-3, -2)))


def test_a_time_distributed_layer_has_one_row_and_one_move():
    model = clip_model(up())
    (change,) = survey_model(model).changes
    assert change.call.path[-2:] == ("times0", "up")
    assert (change.kind, change.size) == ("Conv2DTranspose", (1, 2, 2))
    layer = model.get_layer("times0").layer
    np.testing.assert_equal(change.ripple, audit_kernel(layer))
    assert "UpsampleConv2D(2, 3, size=2)" in advice(change)
    repaired = repair(model)
    assert [move.layer for move in repaired.moves] == ["times0/up"]
    middle = slice(3, -3)
    assert spread(response_to_a_constant(model, middle)) > 0.01
    assert spread(response_to_a_constant(repaired.model, middle)) < 1e-5
    # Every image of the clip is scored.
    assert repaired.size == (1, 2, 2)
    assert repaired.db_after < repaired.db_before


def test_patterns_pass_through_several_time_distributed_layers():
    survey = survey_model(clip_model(up("first"), layers.MaxPooling2D(2, **LAST), up("second", 4)))
    kinds = ["Conv2DTranspose", "MaxPooling2D", "Conv2DTranspose"]
    assert [change.kind for change in survey.changes] == kinds
    assert survey.periods == [(1, 2, 2), (1, 2, 2), (1, 2, 2)]
    assert "BlurPool2D(2)" in advice(survey.changes[1])
    assert not survey.unknown_upsampling
    assert not survey.notes


def test_the_layers_of_a_time_distributed_model_are_surveyed():
    inner = keras.Sequential([keras.Input((6, 6, 2)), up("first"), layers.ReLU(), up("second", 4)])
    model = clip_model(inner)
    survey = survey_model(model)
    assert [change.call.path[-1] for change in survey.changes] == ["first", "second"]
    assert survey.periods == [(1, 4, 4), (1, 2, 2)]
    assert [len(chain) for chain in survey.chains] == [1, 2]
    assert not survey.unknown_upsampling
    assert [move.layer.split("/")[-1] for move in repair(model).moves] == ["first", "second"]


class Scaling(layers.Wrapper):
    """A wrapper that runs its layer without calling it, as some user-defined wrappers do."""

    def call(self, x):
        return 2 * self.layer.call(x)


@pytest.mark.parametrize("wrapper", [Scaling, layers.SpectralNormalization])
def test_the_layer_inside_a_wrapper_is_surveyed(wrapper):
    model = keras.Sequential([keras.Input((4, 4, 2)), wrapper(up(), name="wrapper")])
    (change,) = survey_model(model).changes
    assert change.call.path[-2:] == ("wrapper", "up")
    assert [move.layer for move in repair(model).moves] == ["wrapper/up"]


class Layer(layers.Layer):
    """A layer that calls a function."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)


class Model(keras.Model):
    """A model that calls a function after its layer."""

    def __init__(self, function):
        super().__init__(name="model")
        self.function = function
        self.conv = layers.Conv2D(2, 3, **SAME)

    def call(self, x):
        return self.function(self.conv(x))


def resize(interpolation):
    return lambda x: ops.image.resize(x, (16, 24), interpolation=interpolation, **LAST)


def resizing(interpolation):
    return lambda x: layers.Resizing(16, 24, interpolation=interpolation, **LAST)(x)


def in_model(function):
    x = keras.Input((8, 8, 2))
    return keras.Model(x, function(x))


def in_layer(function):
    return keras.Sequential([keras.Input((8, 8, 2)), Layer(function)])


def in_lambda(function):
    # Without `output_shape`, Keras cannot build the model on TensorFlow.
    layer = layers.Lambda(function, output_shape=(16, 24, 2))
    return keras.Sequential([keras.Input((8, 8, 2)), layer])


@pytest.mark.parametrize(
    ("wrap", "interpolation"),
    [
        (in_model, "nearest"),
        (in_model, "bilinear"),
        (in_model, "bicubic"),
        (in_layer, "nearest"),
        (in_lambda, "nearest"),
        (Model, "nearest"),
    ],
)
def test_resizing_by_integers_is_an_interpolation(wrap, interpolation):
    survey = survey_model(wrap(resize(interpolation)), np.zeros((1, 8, 8, 2), "float32"))
    check_interpolation(survey, interpolation)
    assert [change.kind for change in survey.changes] == ["Resize"]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_layers_that_resize_by_integers_are_interpolations(interpolation):
    survey = survey_model(in_model(resizing(interpolation)))
    check_interpolation(survey, interpolation)
    assert [change.kind for change in survey.changes] == ["Resizing"]


def check_interpolation(survey, interpolation):
    upsample = Upsample2D((2, 3), interpolation=interpolation, **LAST)
    upsample.build((None, 8, 8, 2))
    (change,) = survey.changes
    assert (change.size, change.enlarges) == ((2, 3), True)
    np.testing.assert_equal(change.ripple, audit_kernel(upsample))
    assert not survey.unknown_upsampling
    advises_linear = 'Upsample2D((2, 3), interpolation="linear")' in advice(change)
    assert advises_linear == (interpolation == "nearest")


def test_repeating_is_nearest_interpolation():
    def repeated(x):
        return ops.repeat(ops.repeat(x, 2, axis=1), 3, axis=2)

    for wrap in (in_model, in_layer, in_lambda, Model):
        survey = survey_model(wrap(repeated), np.zeros((1, 8, 8, 2), "float32"))
        assert [change.size for change in survey.changes] == [(2, 1), (1, 3)]
        assert survey.periods == [(2, 3), (1, 3)]
        for change in survey.changes:
            upsample = Upsample2D(change.size, **LAST)
            upsample.build((None, 8, 8, 2))
            np.testing.assert_equal(change.ripple, audit_kernel(upsample))
        assert not survey.unknown_upsampling


def test_resizing_to_a_fixed_size_is_measured_by_its_factors():
    keras.utils.set_random_seed(3)
    any_size = layers.UpSampling2D((2, 3), interpolation="bilinear", **LAST)
    last, results = up(), []
    for upsample in (any_size, resize("bilinear"), resizing("bilinear")):
        x = keras.Input((8, 8, 2))
        results.append(audit(keras.Model(x, last(upsample(x)))))
    for result in results:
        assert result.response.period == (4, 6)
        assert result.response.part == ""
        assert result.response.ripple == pytest.approx(results[0].response.ripple, rel=1e-3)
        assert result.layers[-1].compound == results[0].layers[-1].compound


def test_a_resizing_layer_that_is_called_twice_keeps_its_size():
    x = keras.Input((8, 8, 2))
    resize = layers.Resizing(16, 16, **LAST)  # the second call changes nothing
    result = audit(keras.Model(x, up()(resize(resize(x)))))
    assert result.response.period == (4, 4)


def test_resizing_by_a_fraction_has_a_row_without_a_kernel():
    x = keras.Input((8, 8, 2))
    y = layers.Resizing(12, 12, name="larger", **LAST)(x)
    y = layers.Resizing(5, 5, name="smaller", **LAST)(y)
    result = audit(keras.Model(x, y))
    assert [str(layer.size[0]) for layer in result.layers] == ["3/2", "12/5"]
    assert [layer.enlarges for layer in result.layers] == [True, False]
    assert [layer.ripple for layer in result.layers] == [None, None]
    assert "| 3/2x3/2 |" in str(result)
    sizes = [layer["size"] for layer in json.loads(result.to_json())["layers"]]
    assert sizes == [[1.5, 1.5], [2.4, 2.4]]
    assert "larger: Resizing has no known kernel" in result.not_looked_at


def test_resizing_with_padding_has_no_known_kernel():
    x = keras.Input((8, 8, 2))
    padded = layers.Resizing(16, 24, pad_to_aspect_ratio=True, name="padded", **LAST)
    survey = survey_model(keras.Model(x, padded(x)))
    assert not survey.changes
    assert survey.unknown_upsampling == ["padded: Resizing has no known kernel"]


class Functions(keras.Model):
    """A model that calls functions with its own weights."""

    def __init__(self, **options):
        super().__init__(name="functions", **options)
        self.conv = layers.Conv2D(8, 3, name="conv", **SAME)
        self.kernel = self.add_weight(
            shape=(3, 3, 2, 2), name="kernel", initializer=keras.initializers.HeNormal(1)
        )

    def call(self, x):
        x = ops.relu(self.conv(x))
        x = ops.depth_to_space(x, 2, **LAST)
        x = ops.conv_transpose(x, self.kernel, strides=2, **SAME)
        x = ops.average_pool(x, 2, 2, **LAST)
        return ops.max_pool(x, 3, 2, **SAME)


def test_functions_in_a_model_are_surveyed():
    model, x = Functions(), np.random.default_rng(0).random((1, 8, 8, 2), "float32")
    survey = survey_model(model, x)
    kinds = ["Conv2D + DepthToSpace", "ConvTranspose", "AveragePool", "MaxPool"]
    assert [change.kind for change in survey.changes] == kinds
    assert [change.enlarges for change in survey.changes] == [True, True, False, False]
    assert not survey.unknown_upsampling
    assert not survey.notes
    shuffled, transposed, average, maximum = survey.changes
    np.testing.assert_equal(shuffled.ripple, audit_kernel(model.conv, 2))
    np.testing.assert_equal(transposed.ripple, audit_kernel(to_numpy(model.kernel), 2))
    assert average.ripple.power == 0
    assert maximum.ripple is None
    assert "CheckerboardFree((2, 2))(kernel)" in advice(transposed)
    assert "take the maximum without strides" in advice(maximum)
    repaired = repair(model, x)
    assert [move.layer for move in repaired.moves] == ["conv"]
    assert repaired.not_moved == (
        "conv_transpose: it is a function; its kernel is not a weight of a layer",
    )


def test_functions_are_restored():
    before = ops.repeat, ops.image.resize, ops.depth_to_space, ops.nn.depth_to_space
    from_thread = []

    def run():
        from_thread.append(type(ops.repeat(np.ones(3), 2)))
        from_thread.append(ops.repeat(keras.Input((3,)), 2, axis=1).shape)

    with functions_as_operations(lambda _: None):
        assert ops.repeat is not before[0]
        assert ops.repeat.__doc__ == before[0].__doc__
        np.testing.assert_array_equal(to_numpy(ops.repeat(np.arange(2), repeats=2)), [0, 0, 1, 1])
        assert ops.repeat(keras.Input((3,)), 2, axis=1).shape == (None, 6)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert (ops.repeat, ops.image.resize, ops.depth_to_space, ops.nn.depth_to_space) == before
    assert from_thread[1] == (None, 6)


def test_a_function_of_fixed_size_does_not_hide_the_layers_before_it():
    x = keras.Input((8, 8, 2))
    fixed_size = layers.Lambda(
        lambda y: 2 * ops.reshape(y, (-1, 16, 16, 2)), output_shape=(16, 16, 2)
    )
    model = keras.Model(x, fixed_size(up()(x)))
    assert [change.call.path[-1] for change in survey_model(model).changes] == ["up"]
    repaired = repair(model)
    assert [move.layer for move in repaired.moves] == ["up"]
    assert repaired.db_after < repaired.db_before


def test_quantized_models_are_measured_and_repaired():
    x = keras.Input((4, 4, 2))
    dense = layers.Dense(2, name="dense")
    model = keras.Model(x, up()(dense(x)))
    dense.quantize("float8")
    result = audit(model)
    assert [layer.layer for layer in result.layers] == ["up"]
    assert not result.not_looked_at
    assert result.response.ripple > 0.05
    assert [move.layer for move in repair(model).moves] == ["up"]


def test_functions_of_this_package_have_the_ripple_of_its_layers():
    rng = np.random.default_rng(1)
    kernel, subpixel_kernel = rng.normal(size=(3, 3, 2, 2)), rng.normal(size=(3, 3, 2, 8))
    kernel, subpixel_kernel = kernel.astype("float32"), subpixel_kernel.astype("float32")

    def stack(x):
        x = upsampling_ops.resample(x, (2, 1), interpolation="linear", **LAST)
        x = upsampling_ops.upsample_conv(x, kernel, 2, **LAST)
        x = upsampling_ops.subpixel_conv(x, subpixel_kernel, 2, bias=np.ones(8), **LAST)
        return upsampling_ops.blur_pool(x, 2, **LAST)

    survey = survey_model(in_layer(stack))
    conv = layers.Conv2D(8, 3, **SAME)
    conv.build((None, 8, 8, 2))
    conv.set_weights([subpixel_kernel, np.ones(8)])
    upsampled = UpsampleConv2D(2, 3, use_bias=False, **LAST)
    upsampled.build((None, 8, 8, 2))
    upsampled.set_weights([kernel])
    assert [change.size for change in survey.changes] == [(2, 1), (2, 2), (2, 2), (2, 2)]
    assert [change.enlarges for change in survey.changes] == [True, True, True, False]
    np.testing.assert_equal(survey.changes[1].ripple, audit_kernel(upsampled))
    np.testing.assert_equal(survey.changes[2].ripple, audit_kernel(conv, 2))
    assert not survey.unknown_upsampling


def test_custom_functions_inside_wrappers_are_copied():
    inner = keras.Sequential([keras.Input((6, 6, 2)), up(), layers.Lambda(lambda x: ops.relu(x))])
    repaired = repair(clip_model(inner))
    assert len(repaired.moves) == 1
    assert repaired.moves[0].gain_after < 1e-5


def test_time_distributed_volumes_are_repaired_but_not_measured():
    x = keras.Input((2, 4, 8, 8, 2))
    layer = layers.Conv3DTranspose(2, 3, strides=2, **SAME)
    model = keras.Model(x, layers.TimeDistributed(layer)(x))
    result = audit(model)
    assert result.layers[0].period == (1, 2, 2, 2)
    assert "maps of 4 axes are not measured" in str(result)
    assert repair(model).moves[0].gain_after < 1e-5


def test_depthwise_convolutions_by_functions_are_convolutions():
    class Blur(layers.Layer):
        def call(self, x):
            return ops.depthwise_conv(x, np.ones((3, 3, 2, 1), "float32"), **SAME)

    x = keras.Input((8, 8, 2))
    model = keras.Model(x, Blur()(layers.UpSampling2D(2, **LAST)(x)))
    assert audit(model).layers[0].advice == ""


def test_a_function_that_several_threads_copy_keeps_its_name():
    def activation(x):
        return ops.relu(x)

    models = [
        keras.Sequential([keras.Input((6, 6, 2)), up(), layers.Activation(activation)])
        for _ in range(4)
    ]
    threads = [threading.Thread(target=repair, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert activation.__name__ == "activation"


def test_a_layer_class_may_have_the_name_of_an_operation():
    class DepthToSpace(layers.Layer):
        def call(self, x):
            return ops.depth_to_space(x, 2, **LAST)

    conv = layers.Conv2D(8, 3, name="conv", **SAME)
    model = keras.Sequential([keras.Input((8, 8, 2)), conv, DepthToSpace()])
    assert repair(model).moves[0].gain_after < 1e-5
