"""The sizes in which models are measured, the memory that it takes, and that figures agree."""

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


LENGTHS = []


class RecordLength(layers.Layer):
    """Records the length of every map that it is called with."""

    def call(self, x):
        LENGTHS.append(x.shape[1] or 0)
        return x


@pytest.fixture(autouse=True)
def _clear_lengths():
    LENGTHS.clear()


def small_model():
    x = y = keras.Input((16, 16, 3))
    y = RecordLength()(y)
    y = layers.Conv2D(4, 3, strides=2, activation="relu", **SAME)(y)
    y = layers.Conv2DTranspose(4, 3, strides=2, activation="relu", **SAME)(y)
    return keras.Model(x, layers.Conv2DTranspose(2, 3, strides=2, **SAME)(y))


def test_batches_of_one_example_have_the_same_figures(monkeypatch):
    model = small_model()
    together = audit(model)
    (part,) = surveyed_parts(model)
    monkeypatch.setattr(sizes, "MAX_BYTES", sizes.bytes_for(part, (64, 64)))
    separately = audit(model)
    for measured, expected in zip(separately[1:3], together[1:3], strict=True):
        assert measured.period == expected.period
        assert measured.ripple == pytest.approx(expected.ripple, rel=1e-4)
    assert separately.not_looked_at == together.not_looked_at == ()


def surveyed_parts(model):
    survey = survey_model(model)
    return [survey_part(part, survey) for part in last_parts(survey.call)]


def test_smaller_maps_have_the_same_response(monkeypatch):
    model = small_model()
    expected = audit(model)
    assert max(LENGTHS) == 64
    (part,) = surveyed_parts(model)
    monkeypatch.setattr(sizes, "MAX_BYTES", sizes.bytes_for(part, (40, 40)))
    LENGTHS.clear()
    result = audit(model)
    assert max(LENGTHS) == 40
    assert result.response.ripple == pytest.approx(expected.response.ripple, rel=0.01)


def test_a_model_that_needs_too_much_memory_is_measured_in_its_own_size(monkeypatch):
    model = small_model()
    monkeypatch.setattr(sizes, "MAX_BYTES", 0)
    result = audit(model)
    assert max(LENGTHS) == 16
    assert result.response.period == (4, 4)
    # The response takes no more memory than the model itself. The gradient does.
    assert result.gradient is None
    assert "with maps of 16x16, the gradient would take about" in result.not_looked_at[0]


def context(size=64):
    """Half a U-Net that also concatenates the mean of the whole map and an embedding."""
    x, level = keras.Input((size, size, 2)), keras.Input((1, 1, 3))
    y = RecordLength()(x)
    y = layers.Conv2D(4, 4, strides=2, **SAME)(y)
    mean = layers.AveragePooling2D(size // 2, name="mean", **LAST)(y)
    mean = layers.UpSampling2D(size // 2, name="context", **LAST)(mean)
    wide = layers.UpSampling2D(size // 2, name="embedding", **LAST)(level)
    y = layers.Concatenate()([y, mean, wide])
    return keras.Model([x, level], layers.Conv2DTranspose(2, 3, strides=2, name="up", **SAME)(y))


def test_a_single_sample_needs_no_large_maps():
    result = audit(context())
    assert max(LENGTHS) <= 512
    assert result.response.period == result.gradient.period == (2, 2)
    assert result.response.layers == ("up",)
    for name in ("context", "embedding"):
        line_start = f"the response to constants: {name}: its map is a single sample"
        assert any(line.startswith(line_start) for line in result.not_looked_at)
    assert any("gradient: mean: its map is a single sample" in x for x in result.not_looked_at)


def test_deep_models_are_measured_in_their_own_size_where_larger_ones_do_not_fit(monkeypatch):
    x = keras.Input((64, 64, 1))
    y, skips = RecordLength()(x), []
    for _ in range(6):
        y = layers.Conv2D(2, 4, strides=2, activation="relu", **SAME)(y)
        skips.append(y)
    for skip in [*skips[-2::-1], x]:
        y = layers.Conv2DTranspose(2, 4, strides=2, **SAME)(y)
        y = layers.Concatenate()([y, skip])
    model = keras.Model(x, layers.Conv2D(1, 3, **SAME)(y))
    monkeypatch.setattr(sizes, "MAX_BYTES", 2**20)
    result = audit(model)
    assert max(LENGTHS) == 64
    assert result.response.period == (8, 8)
    assert len(result.response.layers) == 3
    reasons = [line for line in result.response.left if "contain too few periods of" in line]
    assert len(reasons) == 2
    assert all(
        "larger maps were not measured: they would take more than" in line for line in reasons
    )


def test_inputs_that_are_not_maps_keep_their_shape():
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
    result = audit(keras.Model([code, time], y))
    assert result.response.part == "after map"
    assert result.response.layers == ("up",)
    x = keras.Input((8, 8, 2))
    y = layers.Conv2DTranspose(2, 3, strides=2, name="up", **SAME)(Modulated()([x, time]))
    result = audit(keras.Model([x, time], y))
    assert result.response.part == ""
    assert result.gradient.period == (1, 1)


def test_recording_calls_keeps_no_tensors():
    references = []

    class RecordReference(layers.Layer):
        def call(self, x):
            references.append(weakref.ref(x))
            return x + 1

    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.ReLU(), RecordReference(), RecordReference()]
    )
    references.clear()  # drop those from building the graph
    _, call = record_call(model, ops.ones((1, 4, 4, 1)))
    gc.collect()
    assert len(references) == 2
    assert all(reference() is None for reference in references)
    relu, first, second = call.children if len(call.children) == 3 else call.children[-3:]
    assert relu.output_ids == first.input_ids
    assert first.output_ids == second.input_ids


@pytest.mark.parametrize(
    ("dtype", "count"), [("float32", 4), ("bfloat16", 2), ("uint8", 1), ("bool", 1)]
)
def test_bytes_of_a_tensor(dtype, count):
    assert bytes_of(ops.zeros((3, 5), dtype=dtype)) == 15 * count
    assert bytes_of(np.zeros((2, 2))) == 32


class Attending(layers.Layer):
    """Attention between all samples of a map, computed by functions alone."""

    def call(self, x):
        tokens = ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
        scores = ops.softmax(ops.matmul(tokens, ops.transpose(tokens, (0, 2, 1))))
        return ops.reshape(ops.matmul(scores, tokens), ops.shape(x))


class AttendingModel(keras.Model):
    """The same in the code of a model, before a layer."""

    def __init__(self):
        super().__init__()
        self.up = layers.Conv2DTranspose(4, 3, strides=2, **SAME)
        self.up.build((None, 16, 16, 4))

    def call(self, x):
        return self.up(Attending.call(None, x))


@pytest.mark.parametrize("subclassed", [False, True])
def test_memory_of_functions_is_counted(subclassed):
    x = keras.Input((16, 16, 4))
    if subclassed:
        model = AttendingModel()
        survey = survey_model(model, np.zeros((1, 16, 16, 4), "float32"))
        part = survey_part(next(last_parts(survey.call)), survey)
    else:
        up = layers.Conv2DTranspose(4, 3, strides=2, **SAME)
        (part,) = surveyed_parts(keras.Model(x, up(Attending()(x))))
    # Two float32 matrices of all pairs of samples grow with the square of the area.
    assert sizes.bytes_for(part, (64, 64)) > 2 * 4 * (64 * 64) ** 2
    assert sizes.bytes_for(part, (16, 16)) < 3e6


class Spreading(layers.Layer):
    """Computes a large tensor from the output of its layer, without a function of Keras."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(2, 3, **SAME)

    def call(self, x):
        y = self.conv(x)
        return y[..., :1] * ops.ones((1, 1, 1, 256))


def test_memory_of_code_after_inner_layers_is_counted():
    x = keras.Input((16, 16, 3))
    (part,) = surveyed_parts(keras.Model(x, Spreading()(x)))
    assert sizes.bytes_for(part, (64, 64)) > 4 * 64 * 64 * 256


class Holder(layers.Layer):
    """A layer without `get_config`."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


def test_an_audit_adds_the_layers_to_no_other_graph():
    x = keras.Input((16, 16, 3))
    up = layers.Conv2DTranspose(2, 3, strides=2, **SAME)
    model = keras.Model(x, Holder(up)(layers.Lambda(lambda x: 2 * x)(x)))
    before = [len(layer._inbound_nodes) for layer in model.layers]
    assert audit(model).response.ripple > 0
    assert [len(layer._inbound_nodes) for layer in model.layers] == before


class Counting(keras.Model):
    """A model that counts its calls and raises."""

    def __init__(self):
        super().__init__()
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.built = True

    def call(self, _):
        self.count.assign_add(1)
        raise ValueError("not today")


def test_counters_are_restored_when_a_model_raises():
    model = Counting()
    with pytest.raises(ValueError, match="not today"):
        audit(model, np.zeros((1, 16, 16, 3), "float32"))
    assert float(model.count) == 0
