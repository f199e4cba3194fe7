"""`audit` of models with channels first, permuted axes or padded borders."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_upsampling import audit, autoencoder, repair

LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


def assert_same_audit(result, expected):
    for layer, twin in zip(result.layers, expected.layers, strict=True):
        np.testing.assert_equal(layer[:-1], twin[:-1])  # the advice names the data format
    for measured, twin in (
        (result.response, expected.response),
        (result.gradient, expected.gradient),
    ):
        assert (measured.part, measured.period) == (twin.part, twin.period)
        assert measured.ripple == pytest.approx(twin.ripple, rel=1e-4, abs=1e-6)
    assert result.not_looked_at == expected.not_looked_at


@pytest.mark.parametrize("upsampling", ["transposed", "subpixel_conv"])
def test_channels_first_and_last_give_the_same_audit(upsampling):
    models = []
    for shape, data_format in (((24, 40, 3), "channels_last"), ((3, 24, 40), "channels_first")):
        options = {"upsampling": upsampling, "downsampling": "strided", "data_format": data_format}
        models.append(autoencoder(shape, filters=(4, 6), **options))
    last, first = models
    first.set_weights(last.get_weights())
    result = audit(first)
    assert [layer.period for layer in result.layers] == [(2, 2), (4, 4), (4, 4), (2, 2)]
    assert_same_audit(result, audit(last))
    repaired, expected = repair(first), repair(last)
    assert [move.layer for move in repaired.moves] == [move.layer for move in expected.moves]
    assert repaired.size == (4, 4)
    assert repaired.db_before == pytest.approx(expected.db_before, abs=1e-3)
    assert repaired.db_after == pytest.approx(expected.db_after, abs=1e-3)


class ToLast(layers.Layer):
    def call(self, x):
        return ops.transpose(x, (0, 2, 3, 1))


class ToFirst(layers.Layer):
    def call(self, x):
        return ops.moveaxis(x, -1, 1)


PERMUTATIONS = {
    "permute": (layers.Permute((2, 3, 1)), layers.Permute((3, 1, 2))),
    "transpose": (
        lambda x: ops.transpose(x, (0, 2, 3, 1)),
        lambda x: ops.transpose(x, (0, 3, 1, 2)),
    ),
    "moveaxis": (lambda x: ops.moveaxis(x, 1, -1), lambda x: ops.moveaxis(x, -1, 1)),
    "custom layers": (ToLast(), ToFirst()),
}


def stack():
    return [
        layers.Conv2D(4, 3, strides=2, activation="relu", name="down", **SAME),
        layers.Conv2DTranspose(4, 3, strides=2, name="up_1", **SAME),
        layers.BatchNormalization(axis=-1, name="norm"),
        layers.Conv2DTranspose(2, 4, strides=2, name="up_2", **SAME),
    ]


def model_of(stack, shape, before=None, after=None):
    x = y = keras.Input(shape)
    y = before(y) if before else y
    for layer in stack:
        y = layer(y)
    return keras.Model(x, after(y) if after else y)


@pytest.mark.parametrize("size", [(16, 24), (4, 4)], ids=str)
@pytest.mark.parametrize("name", PERMUTATIONS)
def test_permuted_models_have_the_audit_of_models_without_permutations(name, size):
    before, after = (
        type(layer).from_config(layer.get_config()) if isinstance(layer, layers.Layer) else layer
        for layer in PERMUTATIONS[name]
    )
    channels = 3 if size != (4, 4) else 4  # equal lengths hide the permutation
    permuted = model_of(stack(), (channels, *size), before, after)
    plain = model_of(stack(), (*size, channels))
    plain.set_weights(permuted.get_weights())
    result, expected = audit(permuted), audit(plain)
    assert [layer.period for layer in result.layers] == [(2, 2), (4, 4), (2, 2)]
    assert_same_audit(result, expected)


def test_permutations_of_unknown_sizes_are_followed():
    before, after = PERMUTATIONS["transpose"]
    permuted = model_of(stack(), (3, None, None), before, after)
    plain = model_of(stack(), (None, None, 3))
    plain.set_weights(permuted.get_weights())
    assert_same_audit(audit(permuted), audit(plain))


class Permuting(keras.Model):
    """A model that permutes axes outside of its layers."""

    def __init__(self):
        super().__init__()
        self.stack = stack()

    def call(self, x):
        x = ops.transpose(x, (0, 2, 3, 1))
        for layer in self.stack:
            x = layer(x)
        return ops.transpose(x, (0, 3, 1, 2))


def test_permutations_between_layers_are_followed():
    model, x = Permuting(), np.ones((1, 3, 16, 24), "float32")
    model(x)
    plain = model_of(stack(), (16, 24, 3))
    plain.set_weights(model.get_weights())
    result = audit(model, x)
    assert_same_audit(result, audit(plain))
    assert not result.not_looked_at


def test_height_and_width_may_be_swapped():
    x = y = keras.Input((16, 24, 3))
    y = layers.Conv2D(2, 3, strides=(1, 2), name="down", **SAME)(y)
    y = layers.Conv2DTranspose(2, 3, strides=(1, 2), name="up", **SAME)(y)
    y = layers.Permute((2, 1, 3))(y)
    y = layers.UpSampling2D((1, 3), name="last", **LAST)(y)
    result = audit(keras.Model(x, y))
    assert [layer.period for layer in result.layers] == [(1, 2), (2, 3), (1, 3)]
    assert result.response.period == (2, 3)
    assert result.gradient.period == (1, 2)
    assert not result.not_looked_at


class ReflectionPadding2D(layers.Layer):
    def __init__(self, padding=1, **options):
        super().__init__(**options)
        self.padding = padding

    def call(self, x):
        padding = [self.padding, self.padding]
        return ops.pad(x, [[0, 0], padding, padding, [0, 0]], mode="reflect")

    def get_config(self):
        return {**super().get_config(), "padding": self.padding}


def test_padding_and_slicing_are_no_size_changes():
    x = keras.Input((4, 4, 3))
    y = layers.Conv2D(2, 5, **LAST)(ReflectionPadding2D(2, name="doubles_here")(x))
    y = layers.Conv2DTranspose(2, 3, strides=2, name="up", **SAME)(y)
    y = ops.pad(y, [[0, 0], [3, 3], [2, 2], [0, 0]])[:, 2:-2, 1:-1]
    y = layers.Lambda(lambda z: z[:, 1:-1, 1:-1])(y)
    result = audit(keras.Model(x, y))
    assert [(layer.layer, layer.period) for layer in result.layers] == [("up", (2, 2))]
    assert result.response.period == (2, 2)
    assert not result.not_looked_at


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda x: x[:, ::2, ::2], "gradient of GetItem has no known kernel"),
        (layers.Lambda(lambda x: ops.tile(x, (1, 2, 2, 1))), "Lambda has no known kernel"),
    ],
)
def test_size_changes_are_not_taken_for_padding(change, note):
    x = keras.Input((8, 8, 3))
    assert note in " ".join(audit(keras.Model(x, change(x))).not_looked_at)
