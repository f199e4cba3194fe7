"""Models as people write them: what is found in them, and that they are left as they were."""

import random
import threading

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_upsampling import audit, audit_kernel, repair
from keras_upsampling.constraints import CheckerboardFree

LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


class Shuffle(layers.Layer):
    def call(self, x):
        return ops.depth_to_space(x, 2, data_format="channels_last")


def found_in(model, inputs=None):
    return {one.layer: one for one in audit(model, inputs).layers}


def test_a_convolution_is_matched_to_what_shuffles_it():
    x = keras.Input((8, 8, 3))
    shuffled = layers.Conv2D(8, 3, name="shuffled", **SAME)(x)
    plain = layers.Conv2D(8, 3, name="plain", **SAME)(x)
    model = keras.Model(x, [Shuffle()(shuffled), plain])
    assert list(found_in(model)) == ["shuffled"]
    assert [move.layer for move in repair(model).moves] == ["shuffled"]


@pytest.mark.parametrize("between", [layers.BatchNormalization(), layers.Softmax()])
def test_what_may_treat_phases_differently_is_not_seen_through(between):
    between = type(between).from_config(between.get_config())
    x = keras.Input((8, 8, 3))
    y = Shuffle(name="shuffle")(between(layers.Conv2D(8, 3, **SAME)(x)))
    found = audit(keras.Model(x, y))
    assert not found.layers
    assert "shuffle: no kernel of a Shuffle is known" in found.not_looked_at
    assert found.response.ripple > 0.01


def test_a_convolution_that_others_use_too_is_left_alone():
    x = keras.Input((8, 8, 4))
    conv = layers.Conv2D(4, 3, name="conv", **SAME)
    twice = keras.Model(x, Shuffle()(conv(conv(x))))
    y = conv(x)
    used = keras.Model(x, [Shuffle()(y), y])
    for model in (twice, used):
        assert not audit(model).layers
        found = repair(model)
        assert not found.moves
        assert len(found.not_moved) == 1


def test_periods_do_not_depend_on_what_convolutions_take_off():
    x = keras.Input((140, 140, 1))
    y, skips = x, []
    for _ in range(2):
        y = layers.Conv2D(2, 3, **LAST)(layers.Conv2D(2, 3, **LAST)(y))
        skips.append(y)
        y = layers.MaxPooling2D(2, **LAST)(y)
    for skip in skips[::-1]:
        y = layers.Conv2DTranspose(2, 2, strides=2, **LAST)(layers.Conv2D(2, 3, **LAST)(y))
        cut = [(a - b) // 2 for a, b in zip(skip.shape[1:3], y.shape[1:3], strict=True)]
        skip = layers.Cropping2D([(c, c) for c in cut], **LAST)(skip)
        y = layers.Concatenate()([skip, y])
    found = audit(keras.Model(x, y))
    assert [one.period for one in found.layers] == [(2, 2), (4, 4), (4, 4), (2, 2)]
    assert found.response.period == found.gradient.period == (4, 4)
    assert found.response.rest < 1e-5


def test_a_pattern_is_seen_behind_valid_convolutions():
    stack = [layers.Conv2DTranspose(1, 2, strides=2, **LAST)]
    stack += [layers.Conv2D(1, 5, **LAST) for _ in range(3)]
    found = audit(keras.Sequential([keras.Input((32, 32, 1)), *stack]))
    assert found.response.period == (2, 2)


def test_deep_models_get_maps_that_last():
    x = y = keras.Input((64, 64, 1))
    for _ in range(5):
        y = layers.MaxPooling2D(2, **LAST)(y)
    for _ in range(5):
        y = layers.UpSampling2D(2, **LAST)(y)
    found = audit(keras.Model(x, y))
    assert found.response.period == found.gradient.period == (32, 32)
    assert found.response.ripple < 1e-6


def test_branches_do_not_compound():
    x = keras.Input((8, 8, 3))
    ups = [layers.Conv2DTranspose(2, 3, strides=2, name=name, **SAME) for name in "ab"]
    found = found_in(keras.Model(x, layers.Add()([up(x) for up in ups])))
    for name in "ab":
        assert found[name].compound == pytest.approx(found[name].ripple.gain)


def test_strides_of_one_and_borders_are_nothing_to_find():
    x = keras.Input((8, 8, 3))
    y = layers.MaxPooling2D(3, strides=1, **SAME)(x)
    y = layers.Cropping2D(2, **LAST)(layers.ZeroPadding2D(2, **LAST)(y))
    found = audit(keras.Model(x, y))
    assert not found.layers
    assert not found.not_looked_at


def test_any_change_of_size_by_an_unknown_layer_is_said():
    x = keras.Input((8, 8, 3))
    y = layers.Resizing(12, 12, name="larger", **LAST)(x)
    y = layers.Resizing(5, 5, name="smaller", **LAST)(y)
    said = audit(keras.Model(x, y)).not_looked_at
    assert said[:2] == (
        "larger: no kernel of a Resizing is known",
        "smaller: no kernel of a Resizing's gradient is known",
    )


def test_outputs_but_the_first_are_said_not_to_be_looked_at():
    x = keras.Input((8, 8, 3))
    coarse = layers.Conv2DTranspose(2, 4, strides=2, **SAME)(x)
    fine = layers.Conv2DTranspose(2, 4, strides=2, **SAME)(coarse)
    found = audit(keras.Model(x, [coarse, fine]))
    assert found.response.layers == (found.layers[0].layer,)
    name = found.layers[1].layer
    assert found.not_looked_at == (
        f"the response to constants: {name}: it leads to other outputs, and only the first is "
        "measured",
        "all outputs except the first",
    )


def test_inputs_may_be_a_dictionary_and_bytes():
    given = {"image": keras.Input((8, 8, 3), name="image"), "mask": keras.Input((8, 8, 1))}
    given["mask"] = keras.Input((8, 8, 1), name="mask")
    both = layers.Concatenate()(list(given.values()))
    found = audit(keras.Model(given, layers.Conv2DTranspose(2, 4, strides=2, **SAME)(both)))
    assert found.response.ripple > 0.05
    assert found.gradient.period == (1, 1)
    of_bytes = keras.Sequential(
        [
            keras.Input((8, 8, 3), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2DTranspose(2, 4, strides=2, **SAME),
        ]
    )
    found = audit(of_bytes)
    assert found.response.ripple > 0.05
    assert "the gradient: " in found.not_looked_at[0]
    assert "integers, which have no gradient" in found.not_looked_at[0]


class Seeded(keras.Model):
    """A model with state of its own, that every call changes."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(1)
        self.up = layers.Conv2DTranspose(2, 4, strides=2, **SAME)

    def call(self, x):
        return self.up(x + keras.random.normal(ops.shape(x), seed=self.seeds))


def test_state_stays_where_it_was():
    model, x = Seeded(), np.ones((1, 16, 16, 2), "float32")
    model(x)
    before = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    found = audit(model, x)
    assert found.response.period == (2, 2)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    model(x)  # what a trace had left behind would be refused here


def test_random_numbers_go_on_as_without_it():
    model = keras.Sequential(
        [keras.Input((8, 8, 2)), layers.Conv2DTranspose(2, 3, strides=2, **SAME)]
    )
    drawn = []
    for question in (None, audit, repair):
        keras.utils.set_random_seed(5)
        if question:
            question(model)
        drawn.append((random.random(), float(keras.random.normal(()))))
    assert drawn[0] == drawn[1] == drawn[2]


def test_threads_do_not_mix_their_calls():
    original = keras.Operation.__call__
    models = [
        keras.Sequential(
            [keras.Input((8, 8, 2)), layers.Conv2DTranspose(2, 3, strides=2, name=f"up{i}", **SAME)]
        )
        for i in range(3)
    ]
    names = [None] * len(models)

    def run(i):
        names[i] = [one.layer for one in audit(models[i]).layers]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == [["up0"], ["up1"], ["up2"]]
    assert keras.Operation.__call__ is original


def test_channels_may_come_first():
    keras.config.set_image_data_format("channels_first")
    try:
        if keras.backend.backend() == "tensorflow":
            # Its convolutions have the channels last on a CPU; enlarging does not mind.
            stack = [layers.UpSampling2D(2)]
        else:
            stack = [layers.Conv2DTranspose(2, 3, strides=2, padding="same")]
        found = audit(keras.Sequential([keras.Input((3, 12, 16)), *stack]))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert found.layers[0].period == found.response.period == (2, 2)
    assert not found.not_looked_at


def test_mixed_precision_is_audited():
    options = {"dtype": "mixed_bfloat16", **SAME}
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(8, 3, name="conv", **options)(x)
    y = Shuffle(dtype="mixed_bfloat16")(layers.ReLU(dtype="mixed_bfloat16")(y))
    found = audit(keras.Model(x, layers.Conv2DTranspose(1, 3, strides=2, name="up", **options)(y)))
    assert [one.layer for one in found.layers] == ["conv", "up"]
    assert found.response.period == (4, 4)


def test_casts_do_not_hide_what_follows_from_what():
    mixed = {"dtype": "mixed_bfloat16", **LAST}
    x = keras.Input((30, 30, 1))
    y = layers.Conv2DTranspose(2, 3, strides=2, **mixed)(layers.Conv2D(2, 5, **mixed)(x))
    y = layers.Conv2DTranspose(1, 2, strides=2, dtype="float32", **LAST)(y)
    first, second = audit(keras.Model(x, layers.Conv2D(1, 9, dtype="float32", **LAST)(y))).layers
    assert (first.period, second.period) == ((4, 4), (2, 2))
    both = np.sqrt((1 + first.ripple.gain**2) * (1 + second.ripple.gain**2) - 1)
    assert second.compound == pytest.approx(both)


@pytest.mark.parametrize("between", [layers.Dropout(0.1), layers.Identity(), layers.ReLU()])
def test_activations_and_what_does_nothing_are_seen_through(between):
    between = type(between).from_config(between.get_config())
    x = keras.Input((8, 8, 3))
    y = Shuffle()(between(layers.Conv2D(8, 3, name="conv", **SAME)(x)))
    assert list(found_in(keras.Model(x, y))) == ["conv"]


def test_shuffling_by_hand_is_said_not_to_be_looked_at():
    x = keras.Input((8, 8, 3))
    y = ops.reshape(layers.Conv2D(8, 3, **SAME)(x), (-1, 8, 8, 2, 2, 2))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, 16, 16, 2))
    said = audit(keras.Model(x, y)).not_looked_at
    assert any(line.endswith("it makes maps of what has other axes") for line in said)


def test_the_mean_of_a_map_begins_a_map_of_its_own():
    x = keras.Input((16, 16, 2))
    pooled = layers.GlobalAveragePooling2D(keepdims=True, **LAST)(x)
    pooled = layers.UpSampling2D(16, name="wide", **LAST)(pooled)
    both = layers.Concatenate()([x, pooled])
    found = found_in(keras.Model(x, layers.UpSampling2D(4, name="last", **LAST)(both)))
    assert (found["wide"].period, found["last"].period) == ((64, 64), (4, 4))


def test_layers_that_call_others_by_themselves_are_no_secret():
    x = keras.Input((8, 8, 4))
    y = layers.Reshape((64, 4))(x)
    y = layers.MultiHeadAttention(2, 4, dropout=0.1, name="attention")(y, y)
    said = audit(keras.Model(x, y)).not_looked_at
    assert not any(line.startswith("attention") for line in said)


def test_sizes_that_do_not_do_are_asked_for():
    x = keras.Input((None, None, 1))
    model = keras.Model(x, layers.Conv2D(1, 99, name="wide", **LAST)(x))
    with pytest.raises(ValueError, match=r"noise of the shapes .*64, 64.*pass `inputs`"):
        audit(model)
    assert not audit(model, np.zeros((1, 128, 128, 1), "float32")).layers


def test_a_dead_model_is_not_called_healthy():
    dead = layers.Conv2DTranspose(2, 3, strides=2, kernel_initializer="zeros", **SAME)
    found = audit(keras.Sequential([keras.Input((8, 8, 2)), dead]))
    assert found.response is None
    assert "zero everywhere" in found.not_looked_at[0]


def test_repair_scores_both_models_on_the_same_noise():
    model, x = Seeded(), np.ones((2, 16, 16, 2), "float32")
    model(x)
    model.up.kernel.assign(CheckerboardFree(2)(model.up.kernel))
    before = ops.convert_to_numpy(model.seeds.state)
    found = repair(model, x)
    assert found.moves[0].layer == "conv2d_transpose"
    assert found.moves[0].moved < 1e-6
    assert found.db_after == pytest.approx(found.db_before, abs=0.1)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.seeds.state), before)


def test_a_subpixel_convolution_may_have_holes_and_no_groups():
    layer = layers.Conv2D(4, 3, dilation_rate=2, use_bias=False, **SAME)
    layer.build((None, 12, 12, 1))
    kernel = ops.convert_to_numpy(layer.kernel)
    wide = np.zeros((5, 5, 1, 4))
    wide[::2, ::2] = kernel
    dense = layers.Conv2D(4, 5, use_bias=False, **SAME)
    dense.build((None, 12, 12, 1))
    dense.set_weights([wide])
    one, other = audit_kernel(layer, 2), audit_kernel(dense, 2)
    np.testing.assert_allclose(one[:3], other[:3], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(one.overlap, 9)
    grouped = layers.Conv2D(4, 1, groups=4, **SAME)
    grouped.build((None, 8, 8, 4))
    with pytest.raises(ValueError, match="of one group"):
        audit_kernel(grouped, 2)


def test_the_gradient_of_signals_is_measured_as_well():
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        layer = layers.Conv1D(4, 4, strides=2, use_bias=False, padding="same")
        found = audit(keras.Sequential([keras.Input((64, 1)), layer]))
        power = found.layers[0].ripple.power
        assert found.gradient.ripple == pytest.approx(power, abs=0.06)


def named_alike(factor):
    class Conv2DTranspose(layers.Conv2DTranspose):
        def call(self, x):
            return factor * super().call(x)

    return Conv2DTranspose


def test_classes_of_one_name_are_not_mixed_up():
    one, other, kerass = named_alike(3), named_alike(5), layers.Conv2DTranspose
    x = keras.Input((8, 8, 2))
    options = {"filters": 2, "kernel_size": 3, "strides": 2, **SAME}
    again = repair(keras.Model(x, kerass(**options)(one(**options)(x)))).model
    assert [type(layer) for layer in again.layers[1:]] == [one, kerass]
    with pytest.raises(ValueError, match="have the same name"):
        repair(keras.Model(x, other(**options)(one(**options)(x))))


def test_kernels_made_of_others_are_left_and_named():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(8, 3, name="conv", **SAME), Shuffle()]
    )
    model.get_layer("conv").enable_lora(2)
    found = repair(model)
    assert not found.moves
    assert found.not_moved == ("conv: its kernel is computed from other weights, as with LoRA",)
