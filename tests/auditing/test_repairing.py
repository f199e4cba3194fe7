"""`repair`: the moved kernels, the copy of the model, and its score."""

import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_upsampling import SubpixelConv2D, UpsampleConv2D, audit, repair
from keras_upsampling.constraints import CheckerboardFree
from keras_upsampling.ops._checkerboard.score import CheckerboardScore
from tests.backends import to_numpy

SAME = {"padding": "same", "data_format": "channels_last"}


def decoder(taps=3):
    """A nested transposed convolution, a sub-pixel convolution, and a layer without ripple."""
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2DTranspose(4, taps, strides=2, activation="relu", name="up", **SAME),
        ],
        name="inner",
    )
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(12, 3, bias_initializer="random_normal", name="conv", **SAME)(inner(x))
    y = ops.depth_to_space(y, 2, data_format="channels_last")
    return keras.Model(x, UpsampleConv2D(1, 3, size=1, name="last", **SAME)(y))


def weights_of(model, *path):
    for name in path:
        model = model.get_layer(name)
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def test_the_copy_has_the_nearest_kernels_and_the_model_is_unchanged():
    model = decoder()
    before = model.get_weights()
    result = repair(model)
    for weight, weight_before in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, weight_before)

    assert [move.layer for move in result.moves] == ["inner/up", "conv"]
    (kernel, bias), (moved, copied_bias) = (
        weights_of(m, "inner", "up") for m in (model, result.model)
    )
    np.testing.assert_allclose(moved, to_numpy(CheckerboardFree(2)(kernel)), atol=1e-6)
    np.testing.assert_array_equal(copied_bias, bias)
    (kernel, bias), (moved, moved_bias) = (weights_of(m, "conv") for m in (model, result.model))
    constraint = CheckerboardFree((2, 2), subpixel=True)
    np.testing.assert_allclose(moved, to_numpy(constraint(kernel)), atol=1e-6)
    np.testing.assert_allclose(moved_bias, to_numpy(constraint(bias)), atol=1e-6)
    change = np.linalg.norm(moved - kernel) / np.linalg.norm(kernel)
    assert result.moves[1].moved == pytest.approx(change, rel=1e-5)
    last = weights_of(model, "last"), weights_of(result.model, "last")
    for weight, copied_weight in zip(*last, strict=True):
        np.testing.assert_array_equal(weight, copied_weight)


def test_the_checkerboard_of_constants_is_gone():
    model = decoder()
    result = repair(model)
    assert all(move.gain_before > 0.5 and move.gain_after < 1e-5 for move in result.moves)
    assert audit(model).response.ripple > 0.1
    assert audit(result.model).response.ripple < 1e-4
    assert result.size == (4, 4)
    assert result.db_after < result.db_before - 3
    text = str(result)
    assert "| inner/up " in text
    assert f"period 4x4: {result.db_before:.1f} dB before, {result.db_after:.1f} dB after" in text


def test_other_orders_of_the_channels_are_kept():
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(8, 3, name="conv", **SAME)(x)

    class FiltersFirst(keras.layers.Layer):
        def call(self, x):
            order = np.arange(8).reshape(2, 4).T.ravel()
            return ops.depth_to_space(ops.take(x, order, axis=-1), 2, data_format="channels_last")

    result = repair(keras.Model(x, FiltersFirst()(y)))
    (kernel, _), order = weights_of(result.model, "conv"), np.arange(8).reshape(2, 4)
    sums = kernel.sum(axis=(0, 1))[:, order]  # (channels, filters, phases)
    np.testing.assert_allclose(sums, np.broadcast_to(sums[..., :1], sums.shape), atol=1e-5)
    assert audit(result.model).layers[0].ripple.gain < 1e-5


def test_the_kernel_of_a_subpixel_layer_is_moved():
    layer = SubpixelConv2D(
        2, 3, (2, 3), kernel_initializer="he_normal", bias_initializer="random_normal", name="up"
    )
    model = keras.Sequential([keras.Input((8, 8, 3)), layer])
    result = repair(model)
    assert [move.layer for move in result.moves] == ["up"]
    assert result.moves[0].gain_before > 0.5
    assert result.moves[0].gain_after < 1e-5
    constraint = CheckerboardFree((2, 3), subpixel=True)
    for weight, moved in zip(weights_of(model, "up"), weights_of(result.model, "up"), strict=True):
        np.testing.assert_allclose(moved, to_numpy(constraint(weight)), atol=1e-6)


def test_kernels_smaller_than_their_stride_are_left_and_named():
    model = decoder(taps=1)
    result = repair(model)
    assert [move.layer for move in result.moves] == ["conv"]
    assert result.not_moved == ("inner/up: its kernel is smaller than its stride, (2, 2)",)
    assert "Not moved:\n- inner/up" in str(result)


def test_a_layer_that_is_called_twice_is_moved_once():
    shared = layers.Conv2DTranspose(3, 3, strides=2, **SAME)
    x = keras.Input((4, 4, 3))
    result = repair(keras.Model(x, shared(shared(x))))
    assert len(result.moves) == 1


def test_a_model_without_upsampling_has_no_moves():
    result = repair(keras.Sequential([keras.Input((8,)), layers.Dense(3)]))
    assert result.moves == ()
    assert (result.size, result.db_before, result.db_after) == (None, None, None)
    assert str(result) == "No kernel was moved."


def test_a_model_without_get_config_is_refused():
    class Own(keras.Model):
        def __init__(self, up):
            super().__init__()
            self.up = up

        def call(self, x):
            return self.up(x)

    model = Own(layers.Conv2DTranspose(3, 3, strides=2, **SAME))
    with pytest.raises(ValueError, match=r"no copy of 'own' can be made.*get_config"):
        repair(model, np.zeros((1, 8, 8, 3), "float32"))


def test_the_score_uses_the_given_inputs():
    model = keras.Sequential(
        [keras.Input((16, 16, 1)), layers.Conv2DTranspose(1, 2, strides=2, **SAME)]
    )
    result_for_zeros = repair(model, np.zeros((2, 16, 16, 1), "float32"))
    assert result_for_zeros.db_before == pytest.approx(0, abs=1e-3)
    assert repair(model).db_before > 5


class Plain(layers.Layer):
    """A layer with an argument that Keras cannot save without `get_config`."""

    def __init__(self, inner):
        super().__init__(name="plain")
        self.inner = inner

    def call(self, x):
        return self.inner(x)


class Forgetful(layers.Layer):
    """A layer whose `get_config` lacks an argument."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return super().get_config()


def upsampling_model(*layers_after):
    up = layers.Conv2DTranspose(2, 3, strides=2, name="up", **SAME)
    return keras.Sequential([keras.Input((8, 8, 2)), up, *layers_after])


def test_classes_that_cannot_be_copied_are_named():
    with pytest.raises(ValueError, match=r"Plain \('plain'\) has no `get_config`\. Give"):
        repair(upsampling_model(Plain(layers.ReLU())))
    inner = keras.Sequential([keras.Input((16, 16, 2)), Forgetful(2, name="half")])
    with pytest.raises(ValueError, match=r"Forgetful \('half'\): .*argument: 'factor'"):
        repair(upsampling_model(inner))


def distance(y, x):
    return ops.mean(ops.square(y - x))


def doubled(x):
    return 2 * x


def named_relu(x):
    return 3 * x


named_relu.__name__ = "relu"


def test_custom_functions_are_copied_with_all_that_they_use():
    # The output is too small for a score.
    stack = [
        layers.Conv2DTranspose(2, 3, strides=2, activation=doubled, **SAME),
        layers.Lambda(lambda x: ops.relu(x) + doubled(x)),
        layers.Lambda(doubled),
        layers.Activation(lambda x: ops.relu(x)),
        layers.Activation(named_relu),
        layers.Activation("relu"),
    ]
    model = keras.Sequential([keras.Input((4, 4, 2)), *stack])
    result = repair(model)
    assert len(result.moves) == 1
    assert model.layers[1].function.__name__ == "<lambda>"
    assert named_relu.__name__ == "relu"
    x = np.random.default_rng(0).random((1, 4, 4, 2), "float32")
    model.set_weights(result.model.get_weights())
    np.testing.assert_allclose(to_numpy(result.model(x)), to_numpy(model(x)), rtol=1e-5, atol=1e-6)
    # The copy can be repaired again.
    assert repair(result.model).moves[0].moved < 1e-6


def test_a_compiled_model_keeps_its_loss_and_metrics():
    model = keras.Sequential([keras.Input((4, 4, 2)), upsampling_model().layers[0]])
    model.compile("adam", distance, metrics=[distance], jit_compile=False)
    x = np.zeros((2, 4, 4, 2), "float32")
    duplicate = repair(model).model
    assert duplicate.loss is distance
    duplicate.fit(x, np.ones((2, 8, 8, 2), "float32"), verbose=0)


class Adversaries(keras.Model):
    """A model that only trains its parts."""

    def __init__(self):
        super().__init__(name="adversaries")
        self.generator = upsampling_model()
        self._critic = keras.Sequential([keras.Input((16, 16, 2)), layers.Flatten()])
        self.others = [upsampling_model(), upsampling_model()]

    def train_step(self, _):
        return {}


@pytest.mark.parametrize("function", [audit, repair])
@pytest.mark.parametrize("inputs", [None, np.zeros((1, 8, 8, 2), "float32")], ids=["", "inputs"])
def test_a_model_without_a_call_names_its_parts(function, inputs):
    parts = r"`\.generator`, `\.others\[0\]`, `\.others\[1\]`"
    with pytest.raises(
        ValueError, match=rf"'adversaries' of type Adversaries, .* no `call`.*{parts}"
    ):
        function(Adversaries(), inputs)


@pytest.mark.parametrize("error", [MemoryError("no room"), ValueError("a bad day")])
def test_the_copy_is_returned_if_the_score_fails(error, monkeypatch):
    def failing(*_, **__):
        raise error

    module = sys.modules["keras_upsampling.auditing.repairing"]
    monkeypatch.setattr(module, "checkerboard_score", failing)
    result = repair(decoder())
    assert all(move.gain_after < 1e-5 for move in result.moves)
    assert audit(result.model).layers[0].ripple.gain < 1e-5
    assert (result.size, result.db_before, result.db_after) == (None, None, None)
    assert result.unscored == f"{type(error).__name__}: {error}"
    assert f"has no score: {result.unscored}." in str(result)


def test_a_missing_score_is_explained():
    small = layers.Conv2DTranspose(1, 3, strides=2, **SAME)
    result = repair(keras.Sequential([keras.Input((3, 3, 1)), small]))
    assert "a period of 2x2 does not fit into its shape" in result.unscored
    upsampling = keras.Sequential([keras.Input((16, 16, 1)), layers.UpSampling2D(2)])
    nan = np.full((1, 16, 16, 1), np.nan, "float32")
    assert "a NaN or an infinity" in repair(upsampling, nan).unscored


def test_only_the_middle_of_a_long_signal_is_scored(monkeypatch):
    module = sys.modules["keras_upsampling.auditing.repairing"]
    shapes = []

    def record_shape(images, *_, **__):
        shapes.append(images.shape)
        return CheckerboardScore(*np.zeros((5, 1)))

    monkeypatch.setattr(module, "checkerboard_score", record_shape)
    up = layers.Conv1DTranspose(1, 16, strides=8, **SAME)
    result = repair(keras.Sequential([keras.Input((2048, 2)), up]))
    assert shapes == [(8, 4096, 1)] * 2
    assert result.size == (8,)
    assert not result.unscored


def test_each_example_of_noise_is_scored_separately():
    batches = []

    def record_batch(x):
        batches.append(x.shape[0])
        return x

    repair(upsampling_model(layers.Lambda(record_batch, output_shape=(16, 16, 2))))
    assert set(batches) <= {None, 1}
    assert batches.count(1) >= 8


def test_the_error_for_a_failed_copy_names_the_nested_models(monkeypatch):
    def failing(*_):
        raise ValueError("not today")

    inner = upsampling_model()
    x = keras.Input((8, 8, 2))
    model = keras.Model(x, inner(x))
    monkeypatch.setattr(type(model), "__deepcopy__", failing, raising=False)
    with pytest.raises(ValueError, match=f"says: 'not today'. Repair the models .*: {inner.name}"):
        repair(model)
