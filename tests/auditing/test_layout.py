"""Maps whose channels come first, whose axes change places, and whose borders are padded."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_upsampling import audit, autoencoder, repair

LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


def assert_same_audit(one, other):
    for layer, twin in zip(one.layers, other.layers, strict=True):
        np.testing.assert_equal(layer[:-1], twin[:-1])  # the advice names the data format
    for measured, twin in ((one.response, other.response), (one.gradient, other.gradient)):
        assert (measured.part, measured.period) == (twin.part, twin.period)
        assert measured.ripple == pytest.approx(twin.ripple, rel=1e-4, abs=1e-6)
    assert one.not_looked_at == other.not_looked_at


@pytest.mark.parametrize("way", ["transposed", "subpixel_conv"])
def test_an_autoencoder_is_audited_alike_with_channels_first(way):
    models = []
    for shape, data_format in (((24, 40, 3), "channels_last"), ((3, 24, 40), "channels_first")):
        options = {"upsampling": way, "downsampling": "strided", "data_format": data_format}
        models.append(autoencoder(shape, filters=(4, 6), **options))
    last, first = models
    first.set_weights(last.get_weights())
    found = audit(first)
    assert [layer.period for layer in found.layers] == [(2, 2), (4, 4), (4, 4), (2, 2)]
    assert_same_audit(found, audit(last))
    one, other = repair(first), repair(last)
    assert [move.layer for move in one.moves] == [move.layer for move in other.moves]
    assert one.size == (4, 4)
    assert one.db_before == pytest.approx(other.db_before, abs=1e-3)
    assert one.db_after == pytest.approx(other.db_after, abs=1e-3)


class ToLast(layers.Layer):
    def call(self, x):
        return ops.transpose(x, (0, 2, 3, 1))


class ToFirst(layers.Layer):
    def call(self, x):
        return ops.moveaxis(x, -1, 1)


TURNS = {
    "permute": (layers.Permute((2, 3, 1)), layers.Permute((3, 1, 2))),
    "transpose": (
        lambda x: ops.transpose(x, (0, 2, 3, 1)),
        lambda x: ops.transpose(x, (0, 3, 1, 2)),
    ),
    "moveaxis": (lambda x: ops.moveaxis(x, 1, -1), lambda x: ops.moveaxis(x, -1, 1)),
    "own layers": (ToLast(), ToFirst()),
}


def stack():
    return [
        layers.Conv2D(4, 3, strides=2, activation="relu", name="down", **SAME),
        layers.Conv2DTranspose(4, 3, strides=2, name="up_1", **SAME),
        layers.BatchNormalization(axis=-1, name="norm"),
        layers.Conv2DTranspose(2, 4, strides=2, name="up_2", **SAME),
    ]


def model_of(parts, shape, before=None, after=None):
    x = y = keras.Input(shape)
    y = before(y) if before else y
    for layer in parts:
        y = layer(y)
    return keras.Model(x, after(y) if after else y)


@pytest.mark.parametrize("size", [(16, 24), (4, 4)], ids=str)
@pytest.mark.parametrize("way", TURNS)
def test_permuted_models_are_audited_as_they_are_without(way, size):
    before, after = (
        type(turn).from_config(turn.get_config()) if isinstance(turn, layers.Layer) else turn
        for turn in TURNS[way]
    )
    channels = 3 if size != (4, 4) else 4  # all lengths alike: shapes do not tell
    permuted = model_of(stack(), (channels, *size), before, after)
    plain = model_of(stack(), (*size, channels))
    plain.set_weights(permuted.get_weights())
    found, expected = audit(permuted), audit(plain)
    assert [one.period for one in found.layers] == [(2, 2), (4, 4), (2, 2)]
    assert_same_audit(found, expected)


def test_permutations_of_unknown_sizes_are_seen_through():
    before, after = TURNS["transpose"]
    permuted = model_of(stack(), (3, None, None), before, after)
    plain = model_of(stack(), (None, None, 3))
    plain.set_weights(permuted.get_weights())
    assert_same_audit(audit(permuted), audit(plain))


class Permuting(keras.Model):
    """Its axes change places outside of its layers."""

    def __init__(self):
        super().__init__()
        self.parts = stack()

    def call(self, x):
        x = ops.transpose(x, (0, 2, 3, 1))
        for layer in self.parts:
            x = layer(x)
        return ops.transpose(x, (0, 3, 1, 2))


def test_axes_may_change_places_between_layers():
    model, x = Permuting(), np.ones((1, 3, 16, 24), "float32")
    model(x)
    plain = model_of(stack(), (16, 24, 3))
    plain.set_weights(model.get_weights())
    found = audit(model, x)
    assert_same_audit(found, audit(plain))
    assert not found.not_looked_at


def test_height_and_width_may_change_places():
    x = y = keras.Input((16, 24, 3))
    y = layers.Conv2D(2, 3, strides=(1, 2), name="down", **SAME)(y)
    y = layers.Conv2DTranspose(2, 3, strides=(1, 2), name="up", **SAME)(y)
    y = layers.Permute((2, 1, 3))(y)
    y = layers.UpSampling2D((1, 3), name="last", **LAST)(y)
    found = audit(keras.Model(x, y))
    assert [one.period for one in found.layers] == [(1, 2), (2, 3), (1, 3)]
    assert found.response.period == (2, 3)
    assert found.gradient.period == (1, 2)
    assert not found.not_looked_at


class ReflectionPadding2D(layers.Layer):
    def __init__(self, padding=1, **options):
        super().__init__(**options)
        self.padding = padding

    def call(self, x):
        around = [self.padding, self.padding]
        return ops.pad(x, [[0, 0], around, around, [0, 0]], mode="reflect")

    def get_config(self):
        return {**super().get_config(), "padding": self.padding}


def test_padding_by_hand_changes_no_size():
    x = keras.Input((4, 4, 3))
    y = layers.Conv2D(2, 5, **LAST)(ReflectionPadding2D(2, name="doubles_here")(x))
    y = layers.Conv2DTranspose(2, 3, strides=2, name="up", **SAME)(y)
    y = ops.pad(y, [[0, 0], [3, 3], [2, 2], [0, 0]])[:, 2:-2, 1:-1]
    y = layers.Lambda(lambda z: z[:, 1:-1, 1:-1])(y)
    found = audit(keras.Model(x, y))
    assert [(one.layer, one.period) for one in found.layers] == [("up", (2, 2))]
    assert found.response.period == (2, 2)
    assert not found.not_looked_at


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x[:, ::2, ::2], "gradient of GetItem has no known kernel"),
        (layers.Lambda(lambda x: ops.tile(x, (1, 2, 2, 1))), "Lambda has no known kernel"),
    ],
)
def test_what_changes_sizes_is_not_taken_for_padding(change, said):
    x = keras.Input((8, 8, 3))
    assert said in " ".join(audit(keras.Model(x, change(x))).not_looked_at)
