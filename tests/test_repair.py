import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_upsampling import SubpixelConv2D, UpsampleConv2D, audit, repair
from keras_upsampling.constraints import CheckerboardFree
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
