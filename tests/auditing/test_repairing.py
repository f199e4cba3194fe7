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
    """A transposed convolution in a model in the model, a sub-pixel one, and one without ripple."""
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


def test_a_copy_has_the_nearest_kernels_and_the_model_keeps_its_own():
    model = decoder()
    before = model.get_weights()
    found = repair(model)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)

    assert [move.layer for move in found.moves] == ["inner/up", "conv"]
    (kernel, bias), (moved, same) = (weights_of(m, "inner", "up") for m in (model, found.model))
    np.testing.assert_allclose(moved, to_numpy(CheckerboardFree(2)(kernel)), atol=1e-6)
    np.testing.assert_array_equal(same, bias)
    (kernel, bias), (moved, same) = (weights_of(m, "conv") for m in (model, found.model))
    phases = CheckerboardFree((2, 2), subpixel=True)
    np.testing.assert_allclose(moved, to_numpy(phases(kernel)), atol=1e-6)
    np.testing.assert_allclose(same, to_numpy(phases(bias)), atol=1e-6)
    change = np.linalg.norm(moved - kernel) / np.linalg.norm(kernel)
    assert found.moves[1].moved == pytest.approx(change, rel=1e-5)
    for one, other in zip(weights_of(model, "last"), weights_of(found.model, "last"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_checkerboard_of_constants_is_gone():
    model = decoder()
    found = repair(model)
    assert all(move.gain_before > 0.5 and move.gain_after < 1e-5 for move in found.moves)
    assert audit(model).response.ripple > 0.1
    assert audit(found.model).response.ripple < 1e-4
    assert found.size == (4, 4)
    assert found.db_after < found.db_before - 3
    text = str(found)
    assert "| inner/up " in text
    assert f"period 4x4: {found.db_before:.1f} dB before, {found.db_after:.1f} dB after" in text


def test_other_orders_of_the_channels_are_kept():
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(8, 3, name="conv", **SAME)(x)

    class FiltersFirst(keras.layers.Layer):
        def call(self, x):
            order = np.arange(8).reshape(2, 4).T.ravel()
            return ops.depth_to_space(ops.take(x, order, axis=-1), 2, data_format="channels_last")

    found = repair(keras.Model(x, FiltersFirst()(y)))
    (kernel, _), order = weights_of(found.model, "conv"), np.arange(8).reshape(2, 4)
    sums = kernel.sum(axis=(0, 1))[:, order]  # (channels, filters, phases)
    np.testing.assert_allclose(sums, np.broadcast_to(sums[..., :1], sums.shape), atol=1e-5)
    assert audit(found.model).layers[0].ripple.gain < 1e-5


def test_a_subpixel_layer_is_moved_as_any_subpixel_convolution():
    layer = SubpixelConv2D(
        2, 3, (2, 3), kernel_initializer="he_normal", bias_initializer="random_normal", name="up"
    )
    model = keras.Sequential([keras.Input((8, 8, 3)), layer])
    found = repair(model)
    assert [move.layer for move in found.moves] == ["up"]
    assert found.moves[0].gain_before > 0.5
    assert found.moves[0].gain_after < 1e-5
    phases = CheckerboardFree((2, 3), subpixel=True)
    for weight, moved in zip(weights_of(model, "up"), weights_of(found.model, "up"), strict=True):
        np.testing.assert_allclose(moved, to_numpy(phases(weight)), atol=1e-6)


def test_kernels_smaller_than_their_stride_are_left_and_named():
    model = decoder(taps=1)
    found = repair(model)
    assert [move.layer for move in found.moves] == ["conv"]
    assert found.not_moved == ("inner/up: its kernel is smaller than its stride, (2, 2)",)
    assert "Not moved:\n- inner/up" in str(found)


def test_a_layer_that_is_called_twice_is_moved_once():
    shared = layers.Conv2DTranspose(3, 3, strides=2, **SAME)
    x = keras.Input((4, 4, 3))
    found = repair(keras.Model(x, shared(shared(x))))
    assert len(found.moves) == 1


def test_nothing_to_repair_is_said():
    found = repair(keras.Sequential([keras.Input((8,)), layers.Dense(3)]))
    assert found.moves == ()
    assert (found.size, found.db_before, found.db_after) == (None, None, None)
    assert str(found) == "No kernel was moved."


def test_what_cannot_be_copied_is_refused():
    class Own(keras.Model):
        def __init__(self, up):
            super().__init__()
            self.up = up

        def call(self, x):
            return self.up(x)

    model = Own(layers.Conv2DTranspose(3, 3, strides=2, **SAME))
    with pytest.raises(ValueError, match=r"no copy of 'own' can be made.*get_config"):
        repair(model, np.zeros((1, 8, 8, 3), "float32"))


def test_inputs_of_ones_own_are_what_is_scored():
    model = keras.Sequential(
        [keras.Input((16, 16, 1)), layers.Conv2DTranspose(1, 2, strides=2, **SAME)]
    )
    nothing = repair(model, np.zeros((2, 16, 16, 1), "float32"))
    assert nothing.db_before == pytest.approx(0, abs=1e-3)
    assert repair(model).db_before > 5


class Plain(layers.Layer):
    """A layer whose arguments Keras cannot save by itself."""

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


def enlarging(*after):
    up = layers.Conv2DTranspose(2, 3, strides=2, name="up", **SAME)
    return keras.Sequential([keras.Input((8, 8, 2)), up, *after])


def test_classes_that_cannot_be_copied_are_named():
    with pytest.raises(ValueError, match=r"Plain \('plain'\) has no `get_config`\. Give"):
        repair(enlarging(Plain(layers.ReLU())))
    inner = keras.Sequential([keras.Input((16, 16, 2)), Forgetful(2, name="half")])
    with pytest.raises(ValueError, match=r"Forgetful \('half'\): .*argument: 'factor'"):
        repair(enlarging(inner))


def distance(y, x):
    return ops.mean(ops.square(y - x))


def doubled(x):
    return 2 * x


def named_relu(x):
    return 3 * x


named_relu.__name__ = "relu"


def test_functions_of_ones_own_are_copied_with_all_that_they_use():
    # So small that nothing is scored.
    stack = [
        layers.Conv2DTranspose(2, 3, strides=2, activation=doubled, **SAME),
        layers.Lambda(lambda x: ops.relu(x) + doubled(x)),
        layers.Lambda(doubled),
        layers.Activation(lambda x: ops.relu(x)),
        layers.Activation(named_relu),
        layers.Activation("relu"),
    ]
    model = keras.Sequential([keras.Input((4, 4, 2)), *stack])
    found = repair(model)
    assert len(found.moves) == 1
    assert model.layers[1].function.__name__ == "<lambda>"
    assert named_relu.__name__ == "relu"
    x = np.random.default_rng(0).random((1, 4, 4, 2), "float32")
    model.set_weights(found.model.get_weights())
    np.testing.assert_allclose(to_numpy(found.model(x)), to_numpy(model(x)), rtol=1e-5, atol=1e-6)
    # What was copied can be copied again.
    assert repair(found.model).moves[0].moved < 1e-6


def test_a_compiled_model_keeps_its_loss_and_metrics():
    model = keras.Sequential([keras.Input((4, 4, 2)), enlarging().layers[0]])
    model.compile("adam", distance, metrics=[distance], jit_compile=False)
    x = np.zeros((2, 4, 4, 2), "float32")
    again = repair(model).model
    assert again.loss is distance
    again.fit(x, np.ones((2, 8, 8, 2), "float32"), verbose=0)


class Adversaries(keras.Model):
    """A model that only trains others."""

    def __init__(self):
        super().__init__(name="adversaries")
        self.generator = enlarging()
        self._critic = keras.Sequential([keras.Input((16, 16, 2)), layers.Flatten()])
        self.others = [enlarging(), enlarging()]

    def train_step(self, _):
        return {}


@pytest.mark.parametrize("question", [audit, repair])
@pytest.mark.parametrize("inputs", [None, np.zeros((1, 8, 8, 2), "float32")], ids=["", "inputs"])
def test_a_model_without_a_call_names_its_parts(question, inputs):
    parts = r"`\.generator`, `\.others\[0\]`, `\.others\[1\]`"
    with pytest.raises(ValueError, match=rf"'adversaries' has no `call`.* Adversaries; .*{parts}"):
        question(Adversaries(), inputs)


@pytest.mark.parametrize("error", [MemoryError("no room"), ValueError("a bad day")])
def test_the_copy_comes_back_whatever_the_score_does(error, monkeypatch):
    def failing(*_, **__):
        raise error

    module = sys.modules["keras_upsampling.auditing.repairing"]
    monkeypatch.setattr(module, "checkerboard_score", failing)
    found = repair(decoder())
    assert all(move.gain_after < 1e-5 for move in found.moves)
    assert audit(found.model).layers[0].ripple.gain < 1e-5
    assert (found.size, found.db_before, found.db_after) == (None, None, None)
    assert found.unscored == f"{type(error).__name__}: {error}"
    assert f"has no score: {found.unscored}." in str(found)


def test_why_there_is_no_score_is_said():
    small = layers.Conv2DTranspose(1, 3, strides=2, **SAME)
    found = repair(keras.Sequential([keras.Input((3, 3, 1)), small]))
    assert "a period of 2x2 does not fit into its shape" in found.unscored
    broken = keras.Sequential([keras.Input((16, 16, 1)), layers.UpSampling2D(2)])
    nan = np.full((1, 16, 16, 1), np.nan, "float32")
    assert "a NaN or an infinity" in repair(broken, nan).unscored


def test_only_the_middle_of_a_long_signal_is_scored(monkeypatch):
    module = sys.modules["keras_upsampling.auditing.repairing"]
    shapes = []

    def scored(images, *_, **__):
        shapes.append(images.shape)
        return CheckerboardScore(*np.zeros((5, 1)))

    monkeypatch.setattr(module, "checkerboard_score", scored)
    up = layers.Conv1DTranspose(1, 16, strides=8, **SAME)
    found = repair(keras.Sequential([keras.Input((2048, 2)), up]))
    assert shapes == [(8, 4096, 1)] * 2
    assert found.size == (8,)
    assert not found.unscored


def test_noise_is_scored_one_example_after_the_other():
    batches = []

    def noted(x):
        batches.append(x.shape[0])
        return x

    repair(enlarging(layers.Lambda(noted, output_shape=(16, 16, 2))))
    assert set(batches) <= {None, 1}
    assert batches.count(1) >= 8


def test_what_keras_cannot_copy_names_the_models_inside(monkeypatch):
    def failing(*_):
        raise ValueError("not today")

    inner = enlarging()
    x = keras.Input((8, 8, 2))
    model = keras.Model(x, inner(x))
    monkeypatch.setattr(type(model), "__deepcopy__", failing, raising=False)
    with pytest.raises(ValueError, match=f"says: 'not today'. Repair the models .*: {inner.name}"):
        repair(model)
