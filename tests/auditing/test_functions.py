"""What is found inside of wrappers, functions and resizing layers, and what repair does there."""

import json
import threading

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_upsampling import Upsample2D, UpsampleConv2D, audit, audit_kernel, repair
from keras_upsampling import ops as own
from keras_upsampling.auditing.advice import advice
from keras_upsampling.auditing.functions import functions_as_operations
from keras_upsampling.auditing.survey import survey_model
from tests.backends import to_numpy

LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


def up(name="up", taps=3):
    return layers.Conv2DTranspose(2, taps, strides=2, name=name, **SAME)


def film(*inner):
    """A model that runs others at every time."""
    x = y = keras.Input((3, 6, 6, 2))
    for i, one in enumerate(inner):
        y = layers.TimeDistributed(one, name=f"times{i}")(y)
    return keras.Model(x, y)


def answer_to_a_constant(model, rows=slice(8, -8)):
    y = to_numpy(model(np.ones((1, 3, 6, 6, 2), "float32")))
    return y[..., rows, rows, :]


def spread(y):
    """The largest difference between two pixels of a channel of a picture."""
    return np.max(np.ptp(y, axis=(-3, -2)))


def test_what_runs_at_every_time_is_one_layer_and_one_move():
    model = film(up())
    (found,) = survey_model(model).changes
    assert found.call.path[-2:] == ("times0", "up")
    assert (found.kind, found.size) == ("Conv2DTranspose", (1, 2, 2))
    layer = model.get_layer("times0").layer
    np.testing.assert_equal(found.ripple, audit_kernel(layer))
    assert "UpsampleConv2D(2, 3, size=2)" in advice(found)
    repaired = repair(model)
    assert [move.layer for move in repaired.moves] == ["times0/up"]
    middle = slice(3, -3)
    assert spread(answer_to_a_constant(model, middle)) > 0.01
    assert spread(answer_to_a_constant(repaired.model, middle)) < 1e-5
    # Every picture of the film is scored.
    assert repaired.size == (1, 2, 2)
    assert repaired.db_after < repaired.db_before


def test_patterns_go_on_from_one_time_distributed_layer_to_the_next():
    survey = survey_model(film(up("first"), layers.MaxPooling2D(2, **LAST), up("second", 4)))
    kinds = ["Conv2DTranspose", "MaxPooling2D", "Conv2DTranspose"]
    assert [one.kind for one in survey.changes] == kinds
    assert survey.periods == [(1, 2, 2), (1, 2, 2), (1, 2, 2)]
    assert "BlurPool2D(2)" in advice(survey.changes[1])
    assert not survey.unknown_upsampling
    assert not survey.notes


def test_models_that_run_at_every_time_are_looked_into():
    inner = keras.Sequential([keras.Input((6, 6, 2)), up("first"), layers.ReLU(), up("second", 4)])
    model = film(inner)
    survey = survey_model(model)
    assert [one.call.path[-1] for one in survey.changes] == ["first", "second"]
    assert survey.periods == [(1, 4, 4), (1, 2, 2)]
    assert [len(way) for way in survey.chains] == [1, 2]
    assert not survey.unknown_upsampling
    assert [move.layer.split("/")[-1] for move in repair(model).moves] == ["first", "second"]


class Scaling(layers.Wrapper):
    """Runs its layer without calling it, as people write wrappers."""

    def call(self, x):
        return 2 * self.layer.call(x)


@pytest.mark.parametrize("wrapper", [Scaling, layers.SpectralNormalization])
def test_wrappers_are_looked_into(wrapper):
    model = keras.Sequential([keras.Input((4, 4, 2)), wrapper(up(), name="wrapper")])
    (found,) = survey_model(model).changes
    assert found.call.path[-2:] == ("wrapper", "up")
    assert [move.layer for move in repair(model).moves] == ["wrapper/up"]


class Layer(layers.Layer):
    """A layer of a function."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)


class Model(keras.Model):
    """A model that calls a function beside its layers."""

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
    # Keras builds it with no batch, where TensorFlow cannot count.
    layer = layers.Lambda(function, output_shape=(16, 24, 2))
    return keras.Sequential([keras.Input((8, 8, 2)), layer])


@pytest.mark.parametrize(
    ("place", "interpolation"),
    [
        (in_model, "nearest"),
        (in_model, "bilinear"),
        (in_model, "bicubic"),
        (in_layer, "nearest"),
        (in_lambda, "nearest"),
        (Model, "nearest"),
    ],
)
def test_resizing_by_whole_factors_is_an_interpolation(place, interpolation):
    survey = survey_model(place(resize(interpolation)), np.zeros((1, 8, 8, 2), "float32"))
    check_interpolation(survey, interpolation)
    assert [one.kind for one in survey.changes] == ["Resize"]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_layers_that_resize_by_whole_factors_are_interpolations(interpolation):
    survey = survey_model(in_model(resizing(interpolation)))
    check_interpolation(survey, interpolation)
    assert [one.kind for one in survey.changes] == ["Resizing"]


def check_interpolation(survey, interpolation):
    ours = Upsample2D((2, 3), interpolation=interpolation, **LAST)
    ours.build((None, 8, 8, 2))
    (found,) = survey.changes
    assert (found.size, found.enlarges) == ((2, 3), True)
    np.testing.assert_equal(found.ripple, audit_kernel(ours))
    assert not survey.unknown_upsampling
    steps = 'Upsample2D((2, 3), interpolation="linear")' in advice(found)
    assert steps == (interpolation == "nearest")


def test_repeating_is_nearest_interpolation():
    def repeated(x):
        return ops.repeat(ops.repeat(x, 2, axis=1), 3, axis=2)

    for place in (in_model, in_layer, in_lambda, Model):
        survey = survey_model(place(repeated), np.zeros((1, 8, 8, 2), "float32"))
        assert [one.size for one in survey.changes] == [(2, 1), (1, 3)]
        assert survey.periods == [(2, 3), (1, 3)]
        for one in survey.changes:
            ours = Upsample2D(one.size, **LAST)
            ours.build((None, 8, 8, 2))
            np.testing.assert_equal(one.ripple, audit_kernel(ours))
        assert not survey.unknown_upsampling


def test_resizing_to_a_fixed_size_is_measured_by_its_factors():
    keras.utils.set_random_seed(3)
    free = layers.UpSampling2D((2, 3), interpolation="bilinear", **LAST)
    last, found = up(), []
    for enlarge in (free, resize("bilinear"), resizing("bilinear")):
        x = keras.Input((8, 8, 2))
        found.append(audit(keras.Model(x, last(enlarge(x)))))
    for one in found:
        assert one.response.period == (4, 6)
        assert one.response.part == ""
        assert one.response.ripple == pytest.approx(found[0].response.ripple, rel=1e-3)
        assert one.layers[-1].compound == found[0].layers[-1].compound


def test_a_layer_that_resizes_twice_is_measured_as_it_is():
    x = keras.Input((8, 8, 2))
    resize = layers.Resizing(16, 16, **LAST)  # which leaves the second map as it is
    found = audit(keras.Model(x, up()(resize(resize(x)))))
    assert found.response.period == (4, 4)


def test_resizing_by_a_fraction_has_a_row_without_a_kernel():
    x = keras.Input((8, 8, 2))
    y = layers.Resizing(12, 12, name="larger", **LAST)(x)
    y = layers.Resizing(5, 5, name="smaller", **LAST)(y)
    found = audit(keras.Model(x, y))
    assert [str(one.size[0]) for one in found.layers] == ["3/2", "12/5"]
    assert [one.enlarges for one in found.layers] == [True, False]
    assert [one.ripple for one in found.layers] == [None, None]
    assert "| 3/2x3/2 |" in str(found)
    sizes = [one["size"] for one in json.loads(found.to_json())["layers"]]
    assert sizes == [[1.5, 1.5], [2.4, 2.4]]
    assert "larger: no kernel of a Resizing is known" in found.not_looked_at


def test_resizing_with_a_frame_is_only_named():
    x = keras.Input((8, 8, 2))
    framed = layers.Resizing(16, 24, pad_to_aspect_ratio=True, name="framed", **LAST)
    survey = survey_model(keras.Model(x, framed(x)))
    assert not survey.changes
    assert survey.unknown_upsampling == ["framed: no kernel of a Resizing is known"]


class Functions(keras.Model):
    """A model of functions with weights of its own."""

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


def test_functions_in_a_model_are_looked_at():
    model, x = Functions(), np.random.default_rng(0).random((1, 8, 8, 2), "float32")
    survey = survey_model(model, x)
    kinds = ["Conv2D + DepthToSpace", "ConvTranspose", "AveragePool", "MaxPool"]
    assert [one.kind for one in survey.changes] == kinds
    assert [one.enlarges for one in survey.changes] == [True, True, False, False]
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


def test_functions_are_left_as_they_were():
    before = ops.repeat, ops.image.resize, ops.depth_to_space, ops.nn.depth_to_space
    survey = []

    def other():
        survey.append(type(ops.repeat(np.ones(3), 2)))
        survey.append(ops.repeat(keras.Input((3,)), 2, axis=1).shape)

    with functions_as_operations(lambda _: None):
        assert ops.repeat is not before[0]
        assert ops.repeat.__doc__ == before[0].__doc__
        np.testing.assert_array_equal(to_numpy(ops.repeat(np.arange(2), repeats=2)), [0, 0, 1, 1])
        assert ops.repeat(keras.Input((3,)), 2, axis=1).shape == (None, 6)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert (ops.repeat, ops.image.resize, ops.depth_to_space, ops.nn.depth_to_space) == before
    assert survey[1] == (None, 6)


def test_a_function_of_fixed_size_does_not_hide_what_comes_before():
    x = keras.Input((8, 8, 2))
    fixed = layers.Lambda(lambda y: 2 * ops.reshape(y, (-1, 16, 16, 2)), output_shape=(16, 16, 2))
    model = keras.Model(x, fixed(up()(x)))
    assert [one.call.path[-1] for one in survey_model(model).changes] == ["up"]
    repaired = repair(model)
    assert [move.layer for move in repaired.moves] == ["up"]
    assert repaired.db_after < repaired.db_before


def test_quantized_models_are_measured_and_repaired():
    x = keras.Input((4, 4, 2))
    dense = layers.Dense(2, name="dense")
    model = keras.Model(x, up()(dense(x)))
    dense.quantize("float8")
    found = audit(model)
    assert [one.layer for one in found.layers] == ["up"]
    assert not found.not_looked_at
    assert found.response.ripple > 0.05
    assert [move.layer for move in repair(model).moves] == ["up"]


def test_functions_of_this_package_are_known_as_its_layers_are():
    rng = np.random.default_rng(1)
    kernel, shuffled = rng.normal(size=(3, 3, 2, 2)), rng.normal(size=(3, 3, 2, 8))
    kernel, shuffled = kernel.astype("float32"), shuffled.astype("float32")

    def stack(x):
        x = own.resample(x, (2, 1), interpolation="linear", **LAST)
        x = own.upsample_conv(x, kernel, 2, **LAST)
        return own.blur_pool(own.subpixel_conv(x, shuffled, 2, bias=np.ones(8), **LAST), 2, **LAST)

    survey = survey_model(in_layer(stack))
    conv = layers.Conv2D(8, 3, **SAME)
    conv.build((None, 8, 8, 2))
    conv.set_weights([shuffled, np.ones(8)])
    upsampled = UpsampleConv2D(2, 3, use_bias=False, **LAST)
    upsampled.build((None, 8, 8, 2))
    upsampled.set_weights([kernel])
    assert [one.size for one in survey.changes] == [(2, 1), (2, 2), (2, 2), (2, 2)]
    assert [one.enlarges for one in survey.changes] == [True, True, True, False]
    np.testing.assert_equal(survey.changes[1].ripple, audit_kernel(upsampled))
    np.testing.assert_equal(survey.changes[2].ripple, audit_kernel(conv, 2))
    assert not survey.unknown_upsampling


def test_functions_of_ones_own_are_copied_inside_of_wrappers():
    inner = keras.Sequential([keras.Input((6, 6, 2)), up(), layers.Lambda(lambda x: ops.relu(x))])
    found = repair(film(inner))
    assert len(found.moves) == 1
    assert found.moves[0].gain_after < 1e-5


def test_volumes_at_every_time_are_repaired_and_said_not_to_be_measured():
    x = keras.Input((2, 4, 8, 8, 2))
    layer = layers.Conv3DTranspose(2, 3, strides=2, **SAME)
    model = keras.Model(x, layers.TimeDistributed(layer)(x))
    found = audit(model)
    assert found.layers[0].period == (1, 2, 2, 2)
    assert "maps of 4 axes are not measured" in str(found)
    assert repair(model).moves[0].gain_after < 1e-5


def test_depthwise_convolutions_by_functions_are_convolutions():
    class Blurred(layers.Layer):
        def call(self, x):
            return ops.depthwise_conv(x, np.ones((3, 3, 2, 1), "float32"), **SAME)

    x = keras.Input((8, 8, 2))
    model = keras.Model(x, Blurred()(layers.UpSampling2D(2, **LAST)(x)))
    assert audit(model).layers[0].advice == ""


def test_one_function_in_two_threads_keeps_its_name():
    def bent(x):
        return ops.relu(x)

    models = [
        keras.Sequential([keras.Input((6, 6, 2)), up(), layers.Activation(bent)]) for _ in range(4)
    ]
    threads = [threading.Thread(target=repair, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bent.__name__ == "bent"


def test_a_layer_may_have_the_name_of_what_it_does():
    class DepthToSpace(layers.Layer):
        def call(self, x):
            return ops.depth_to_space(x, 2, **LAST)

    conv = layers.Conv2D(8, 3, name="conv", **SAME)
    model = keras.Sequential([keras.Input((8, 8, 2)), conv, DepthToSpace()])
    assert repair(model).moves[0].gain_after < 1e-5
