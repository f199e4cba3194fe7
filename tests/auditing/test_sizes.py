"""In which sizes models are measured, what that takes, and that it changes no figure."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_upsampling import audit
from keras_upsampling.auditing import sizes
from keras_upsampling.auditing.parts import last_parts
from keras_upsampling.auditing.runs import survey_part
from keras_upsampling.auditing.survey import survey_model
from keras_upsampling.auditing.trace import bytes_of, record_call

LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


SEEN = []


class Witness(layers.Layer):
    """Notes the length of every map that it is called with."""

    def call(self, x):
        SEEN.append(x.shape[1] or 0)
        return x


@pytest.fixture(autouse=True)
def _none_seen():
    SEEN.clear()


def small_model():
    x = y = keras.Input((16, 16, 3))
    y = Witness()(y)
    y = layers.Conv2D(4, 3, strides=2, activation="relu", **SAME)(y)
    y = layers.Conv2DTranspose(4, 3, strides=2, activation="relu", **SAME)(y)
    return keras.Model(x, layers.Conv2DTranspose(2, 3, strides=2, **SAME)(y))


def test_one_sample_at_a_time_gives_the_same_figures(monkeypatch):
    model = small_model()
    together = audit(model)
    (subject,) = subjects(model)
    one = sizes.bytes_for(subject, (64, 64))
    monkeypatch.setattr(sizes, "MAX_BYTES", one)
    apart = audit(model)
    for found, expected in zip(apart[1:3], together[1:3], strict=True):
        assert found.period == expected.period
        assert found.ripple == pytest.approx(expected.ripple, rel=1e-4)
    assert apart.not_looked_at == together.not_looked_at == ()


def subjects(model):
    survey = survey_model(model)
    return [survey_part(part, survey) for part in last_parts(survey.call)]


def test_smaller_maps_give_the_same_answer(monkeypatch):
    model = small_model()
    expected = audit(model)
    assert max(SEEN) == 64
    (subject,) = subjects(model)
    monkeypatch.setattr(sizes, "MAX_BYTES", sizes.bytes_for(subject, (40, 40)))
    SEEN.clear()
    found = audit(model)
    assert max(SEEN) == 40
    assert found.response.ripple == pytest.approx(expected.response.ripple, rel=0.01)


def test_what_needs_too_much_is_measured_in_its_own_size(monkeypatch):
    model = small_model()
    monkeypatch.setattr(sizes, "MAX_BYTES", 0)
    found = audit(model)
    assert max(SEEN) == 16
    assert found.response.period == (4, 4)
    # The model itself needs no more than that for its answer; a gradient does.
    assert found.gradient is None
    assert "with maps of 16x16, the gradient would take about" in found.not_looked_at[0]


def context(size=64):
    """A U-Net's half with a mean of the whole map beside it, and an embedding."""
    x, level = keras.Input((size, size, 2)), keras.Input((1, 1, 3))
    y = Witness()(x)
    y = layers.Conv2D(4, 4, strides=2, **SAME)(y)
    mean = layers.AveragePooling2D(size // 2, name="mean", **LAST)(y)
    mean = layers.UpSampling2D(size // 2, name="context", **LAST)(mean)
    wide = layers.UpSampling2D(size // 2, name="embedding", **LAST)(level)
    y = layers.Concatenate()([y, mean, wide])
    return keras.Model([x, level], layers.Conv2DTranspose(2, 3, strides=2, name="up", **SAME)(y))


def test_a_single_sample_asks_for_no_large_maps():
    found = audit(context())
    assert max(SEEN) <= 512
    assert found.response.period == found.gradient.period == (2, 2)
    assert found.response.layers == ("up",)
    for name in ("context", "embedding"):
        said = f"the response to constants: {name}: its map is a single sample"
        assert any(line.startswith(said) for line in found.not_looked_at)
    assert any("gradient: mean: its map is a single sample" in x for x in found.not_looked_at)


def test_deep_models_are_measured_in_their_own_size_where_larger_ones_do_not_fit(monkeypatch):
    x = keras.Input((64, 64, 1))
    y, skips = Witness()(x), []
    for _ in range(6):
        y = layers.Conv2D(2, 4, strides=2, activation="relu", **SAME)(y)
        skips.append(y)
    for skip in [*skips[-2::-1], x]:
        y = layers.Conv2DTranspose(2, 4, strides=2, **SAME)(y)
        y = layers.Concatenate()([y, skip])
    model = keras.Model(x, layers.Conv2D(1, 3, **SAME)(y))
    monkeypatch.setattr(sizes, "MAX_BYTES", 2**20)
    found = audit(model)
    assert max(SEEN) == 64
    assert found.response.period == (8, 8)
    assert len(found.response.layers) == 3
    why = [line for line in found.response.left if "contain too few periods of" in line]
    assert len(why) == 2
    assert all("larger maps were not measured: they would take more than" in line for line in why)


def test_codes_beside_maps_are_given_as_they_are():
    class Modulated(layers.Layer):
        def build(self, shapes):
            self.scale = layers.Dense(shapes[0][-1], bias_initializer="ones")
            self.scale.build(shapes[1])

        def call(self, inputs):
            x, code = inputs
            return x * self.scale(code)[:, None, None, :]

        def compute_output_shape(self, shapes):
            return shapes[0]

    code, time = keras.Input((4,)), keras.Input((2,))
    y = layers.Reshape((4, 4, 2), name="map")(layers.Dense(32)(code))
    y = layers.Conv2DTranspose(2, 3, strides=2, name="up", **SAME)(Modulated()([y, time]))
    found = audit(keras.Model([code, time], y))
    assert found.response.part == "after map"
    assert found.response.layers == ("up",)
    x = keras.Input((8, 8, 2))
    y = layers.Conv2DTranspose(2, 3, strides=2, name="up", **SAME)(Modulated()([x, time]))
    found = audit(keras.Model([x, time], y))
    assert found.response.part == ""
    assert found.gradient.period == (1, 1)


def test_tensors_are_not_kept_while_calls_are_recorded():
    kept = []

    class Noting(layers.Layer):
        def call(self, x):
            kept.append(weakref.ref(x))
            return x + 1

    model = keras.Sequential([keras.Input((4, 4, 1)), layers.ReLU(), Noting(), Noting()])
    kept.clear()  # those of the graph
    _, call = record_call(model, ops.ones((1, 4, 4, 1)))
    gc.collect()
    assert len(kept) == 2
    assert all(reference() is None for reference in kept)
    relu, first, second = call.children if len(call.children) == 3 else call.children[-3:]
    assert relu.output_ids == first.input_ids
    assert first.output_ids == second.input_ids


@pytest.mark.parametrize(
    ("dtype", "count"), [("float32", 4), ("bfloat16", 2), ("uint8", 1), ("bool", 1)]
)
def test_bytes_are_counted(dtype, count):
    assert bytes_of(ops.zeros((3, 5), dtype=dtype)) == 15 * count
    assert bytes_of(np.zeros((2, 2))) == 32


class Attending(layers.Layer):
    """Compares every sample of a map with every other, by functions alone."""

    def call(self, x):
        tokens = ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
        scores = ops.softmax(ops.matmul(tokens, ops.transpose(tokens, (0, 2, 1))))
        return ops.reshape(ops.matmul(scores, tokens), ops.shape(x))


class AttendingModel(keras.Model):
    """The same in the code of a model, after a layer."""

    def __init__(self):
        super().__init__()
        self.up = layers.Conv2DTranspose(4, 3, strides=2, **SAME)
        self.up.build((None, 16, 16, 4))

    def call(self, x):
        return self.up(Attending.call(None, x))


@pytest.mark.parametrize("subclassed", [False, True])
def test_what_code_makes_by_functions_is_counted(subclassed):
    x = keras.Input((16, 16, 4))
    if subclassed:
        model = AttendingModel()
        survey = survey_model(model, np.zeros((1, 16, 16, 4), "float32"))
        subject = survey_part(next(last_parts(survey.call)), survey)
    else:
        up = layers.Conv2DTranspose(4, 3, strides=2, **SAME)
        (subject,) = subjects(keras.Model(x, up(Attending()(x))))
    # Two matrices of all samples by all, of four bytes each, grow with the square of the area.
    assert sizes.bytes_for(subject, (64, 64)) > 2 * 4 * (64 * 64) ** 2
    assert sizes.bytes_for(subject, (16, 16)) < 3e6


class Spreading(layers.Layer):
    """Has a layer, and makes far more of what that makes, by no function of Keras's."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(2, 3, **SAME)

    def call(self, x):
        y = self.conv(x)
        return y[..., :1] * ops.ones((1, 1, 1, 256))


def test_what_a_layer_makes_of_its_layers_is_counted():
    x = keras.Input((16, 16, 3))
    (subject,) = subjects(keras.Model(x, Spreading()(x)))
    assert sizes.bytes_for(subject, (64, 64)) > 4 * 64 * 64 * 256


class Holder(layers.Layer):
    """Has no `get_config`."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


def test_the_model_is_in_no_other_graph_after_it():
    x = keras.Input((16, 16, 3))
    up = layers.Conv2DTranspose(2, 3, strides=2, **SAME)
    model = keras.Model(x, Holder(up)(layers.Lambda(lambda x: 2 * x)(x)))
    before = [len(layer._inbound_nodes) for layer in model.layers]
    assert audit(model).response.ripple > 0
    assert [len(layer._inbound_nodes) for layer in model.layers] == before


class Counting(keras.Model):
    """Counts its calls, and refuses them."""

    def __init__(self):
        super().__init__()
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.built = True

    def call(self, _):
        self.count.assign_add(1)
        raise ValueError("not today")


def test_counters_stay_where_they_are_when_a_model_raises():
    model = Counting()
    with pytest.raises(ValueError, match="not today"):
        audit(model, np.zeros((1, 16, 16, 3), "float32"))
    assert float(model.count) == 0
