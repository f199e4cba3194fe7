"""`audit` and `repair` of many kinds of models, and that both leave the models unchanged."""

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


def layers_by_name(model, inputs=None):
    return {layer.layer: layer for layer in audit(model, inputs).layers}


def test_depth_to_space_is_matched_to_its_convolution():
    x = keras.Input((8, 8, 3))
    shuffled = layers.Conv2D(8, 3, name="shuffled", **SAME)(x)
    plain = layers.Conv2D(8, 3, name="plain", **SAME)(x)
    model = keras.Model(x, [Shuffle()(shuffled), plain])
    assert list(layers_by_name(model)) == ["shuffled"]
    assert [move.layer for move in repair(model).moves] == ["shuffled"]


@pytest.mark.parametrize("between", [layers.BatchNormalization(), layers.Softmax()])
def test_layers_that_may_treat_phases_differently_end_a_subpixel_convolution(between):
    between = type(between).from_config(between.get_config())
    x = keras.Input((8, 8, 3))
    y = Shuffle(name="shuffle")(between(layers.Conv2D(8, 3, **SAME)(x)))
    result = audit(keras.Model(x, y))
    assert not result.layers
    assert "shuffle: Shuffle has no known kernel" in result.not_looked_at
    assert result.response.ripple > 0.01


def test_a_convolution_with_a_second_user_is_not_moved():
    x = keras.Input((8, 8, 4))
    conv = layers.Conv2D(4, 3, name="conv", **SAME)
    twice = keras.Model(x, Shuffle()(conv(conv(x))))
    y = conv(x)
    used = keras.Model(x, [Shuffle()(y), y])
    for model in (twice, used):
        assert not audit(model).layers
        repaired = repair(model)
        assert not repaired.moves
        assert len(repaired.not_moved) == 1


def test_periods_do_not_depend_on_samples_that_valid_convolutions_remove():
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
    result = audit(keras.Model(x, y))
    assert [layer.period for layer in result.layers] == [(2, 2), (4, 4), (4, 4), (2, 2)]
    assert result.response.period == result.gradient.period == (4, 4)
    assert result.response.rest < 1e-5


def test_a_pattern_is_measured_after_valid_convolutions():
    stack = [layers.Conv2DTranspose(1, 2, strides=2, **LAST)]
    stack += [layers.Conv2D(1, 5, **LAST) for _ in range(3)]
    result = audit(keras.Sequential([keras.Input((32, 32, 1)), *stack]))
    assert result.response.period == (2, 2)


def test_deep_models_are_measured_with_large_maps():
    x = y = keras.Input((64, 64, 1))
    for _ in range(5):
        y = layers.MaxPooling2D(2, **LAST)(y)
    for _ in range(5):
        y = layers.UpSampling2D(2, **LAST)(y)
    result = audit(keras.Model(x, y))
    assert result.response.period == result.gradient.period == (32, 32)
    assert result.response.ripple < 1e-6


def test_branches_do_not_compound():
    x = keras.Input((8, 8, 3))
    ups = [layers.Conv2DTranspose(2, 3, strides=2, name=name, **SAME) for name in "ab"]
    audits = layers_by_name(keras.Model(x, layers.Add()([up(x) for up in ups])))
    for name in "ab":
        assert audits[name].compound == pytest.approx(audits[name].ripple.gain)


def test_strides_of_one_and_borders_are_no_size_changes():
    x = keras.Input((8, 8, 3))
    y = layers.MaxPooling2D(3, strides=1, **SAME)(x)
    y = layers.Cropping2D(2, **LAST)(layers.ZeroPadding2D(2, **LAST)(y))
    result = audit(keras.Model(x, y))
    assert not result.layers
    assert not result.not_looked_at


def test_size_changes_without_a_known_kernel_are_named():
    x = keras.Input((8, 8, 3))
    y = layers.Resizing(12, 12, name="larger", **LAST)(x)
    y = layers.Resizing(5, 5, name="smaller", **LAST)(y)
    notes = audit(keras.Model(x, y)).not_looked_at
    assert notes[:2] == (
        "larger: Resizing has no known kernel",
        "smaller: the gradient of Resizing has no known kernel",
    )


def test_all_outputs_but_the_first_are_named_as_not_looked_at():
    x = keras.Input((8, 8, 3))
    coarse = layers.Conv2DTranspose(2, 4, strides=2, **SAME)(x)
    fine = layers.Conv2DTranspose(2, 4, strides=2, **SAME)(coarse)
    result = audit(keras.Model(x, [coarse, fine]))
    assert result.response.layers == (result.layers[0].layer,)
    name = result.layers[1].layer
    assert result.not_looked_at == (
        f"the response to constants: {name}: it leads to other outputs, and only the first is "
        "measured",
        "all outputs except the first",
    )


def test_inputs_may_be_a_dictionary_and_bytes():
    inputs = {"image": keras.Input((8, 8, 3), name="image")}
    inputs["mask"] = keras.Input((8, 8, 1), name="mask")
    both = layers.Concatenate()(list(inputs.values()))
    result = audit(keras.Model(inputs, layers.Conv2DTranspose(2, 4, strides=2, **SAME)(both)))
    assert result.response.ripple > 0.05
    assert result.gradient.period == (1, 1)
    model_of_bytes = keras.Sequential(
        [
            keras.Input((8, 8, 3), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2DTranspose(2, 4, strides=2, **SAME),
        ]
    )
    result = audit(model_of_bytes)
    assert result.response.ripple > 0.05
    assert "the gradient: " in result.not_looked_at[0]
    assert "integers, which have no gradient" in result.not_looked_at[0]


class Seeded(keras.Model):
    """A model whose random state changes with every call."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(1)
        self.up = layers.Conv2DTranspose(2, 4, strides=2, **SAME)

    def call(self, x):
        return self.up(x + keras.random.normal(ops.shape(x), seed=self.seeds))


def test_an_audit_does_not_change_the_state_of_a_model():
    model, x = Seeded(), np.ones((1, 16, 16, 2), "float32")
    model(x)
    before = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    result = audit(model, x)
    assert result.response.period == (2, 2)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    model(x)  # raises if the state is a tensor of a finished trace


def test_an_audit_and_a_repair_keep_the_random_state():
    model = keras.Sequential(
        [keras.Input((8, 8, 2)), layers.Conv2DTranspose(2, 3, strides=2, **SAME)]
    )
    draws = []
    for function in (None, audit, repair):
        keras.utils.set_random_seed(5)
        if function:
            function(model)
        draws.append((random.random(), float(keras.random.normal(()))))
    assert draws[0] == draws[1] == draws[2]


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
        names[i] = [layer.layer for layer in audit(models[i]).layers]

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
            # TensorFlow's convolutions need channels last on a CPU; upsampling does not.
            stack = [layers.UpSampling2D(2)]
        else:
            stack = [layers.Conv2DTranspose(2, 3, strides=2, padding="same")]
        result = audit(keras.Sequential([keras.Input((3, 12, 16)), *stack]))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert result.layers[0].period == result.response.period == (2, 2)
    assert not result.not_looked_at


def test_mixed_precision_is_audited():
    options = {"dtype": "mixed_bfloat16", **SAME}
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(8, 3, name="conv", **options)(x)
    y = Shuffle(dtype="mixed_bfloat16")(layers.ReLU(dtype="mixed_bfloat16")(y))
    y = layers.Conv2DTranspose(1, 3, strides=2, name="up", **options)(y)
    result = audit(keras.Model(x, y))
    assert [layer.layer for layer in result.layers] == ["conv", "up"]
    assert result.response.period == (4, 4)


def test_patterns_are_followed_through_casts():
    mixed = {"dtype": "mixed_bfloat16", **LAST}
    x = keras.Input((30, 30, 1))
    y = layers.Conv2DTranspose(2, 3, strides=2, **mixed)(layers.Conv2D(2, 5, **mixed)(x))
    y = layers.Conv2DTranspose(1, 2, strides=2, dtype="float32", **LAST)(y)
    first, second = audit(keras.Model(x, layers.Conv2D(1, 9, dtype="float32", **LAST)(y))).layers
    assert (first.period, second.period) == ((4, 4), (2, 2))
    expected = np.sqrt((1 + first.ripple.gain**2) * (1 + second.ripple.gain**2) - 1)
    assert second.compound == pytest.approx(expected)


@pytest.mark.parametrize("between", [layers.Dropout(0.1), layers.Identity(), layers.ReLU()])
def test_a_subpixel_convolution_may_have_an_activation_or_an_identity_inside(between):
    between = type(between).from_config(between.get_config())
    x = keras.Input((8, 8, 3))
    y = Shuffle()(between(layers.Conv2D(8, 3, name="conv", **SAME)(x)))
    assert list(layers_by_name(keras.Model(x, y))) == ["conv"]


def test_depth_to_space_by_reshapes_is_named_as_not_looked_at():
    x = keras.Input((8, 8, 3))
    y = ops.reshape(layers.Conv2D(8, 3, **SAME)(x), (-1, 8, 8, 2, 2, 2))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, 16, 16, 2))
    notes = audit(keras.Model(x, y)).not_looked_at
    assert any(line.endswith("it computes maps from a tensor of another rank") for line in notes)


def test_periods_do_not_pass_through_the_mean_of_a_map():
    x = keras.Input((16, 16, 2))
    pooled = layers.GlobalAveragePooling2D(keepdims=True, **LAST)(x)
    pooled = layers.UpSampling2D(16, name="wide", **LAST)(pooled)
    both = layers.Concatenate()([x, pooled])
    audits = layers_by_name(keras.Model(x, layers.UpSampling2D(4, name="last", **LAST)(both)))
    assert (audits["wide"].period, audits["last"].period) == ((64, 64), (4, 4))


def test_inner_calls_of_keras_layers_are_not_named():
    x = keras.Input((8, 8, 4))
    y = layers.Reshape((64, 4))(x)
    y = layers.MultiHeadAttention(2, 4, dropout=0.1, name="attention")(y, y)
    notes = audit(keras.Model(x, y)).not_looked_at
    assert not any(line.startswith("attention") for line in notes)


def test_a_model_that_refuses_the_default_inputs_raises():
    x = keras.Input((None, None, 1))
    model = keras.Model(x, layers.Conv2D(1, 99, name="wide", **LAST)(x))
    with pytest.raises(ValueError, match=r"noise of the shapes .*64, 64.*Pass `inputs`"):
        audit(model)
    assert not audit(model, np.zeros((1, 128, 128, 1), "float32")).layers


def test_an_output_of_zeros_has_no_response():
    zeros = layers.Conv2DTranspose(2, 3, strides=2, kernel_initializer="zeros", **SAME)
    result = audit(keras.Sequential([keras.Input((8, 8, 2)), zeros]))
    assert result.response is None
    assert "zero everywhere" in result.not_looked_at[0]


def test_repair_scores_both_models_on_the_same_noise():
    model, x = Seeded(), np.ones((2, 16, 16, 2), "float32")
    model(x)
    model.up.kernel.assign(CheckerboardFree(2)(model.up.kernel))
    before = ops.convert_to_numpy(model.seeds.state)
    repaired = repair(model, x)
    assert repaired.moves[0].layer == "conv2d_transpose"
    assert repaired.moves[0].moved < 1e-6
    assert repaired.db_after == pytest.approx(repaired.db_before, abs=0.1)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.seeds.state), before)


def test_a_subpixel_convolution_may_be_dilated_but_not_grouped():
    layer = layers.Conv2D(4, 3, dilation_rate=2, use_bias=False, **SAME)
    layer.build((None, 12, 12, 1))
    kernel = ops.convert_to_numpy(layer.kernel)
    dilated = np.zeros((5, 5, 1, 4))
    dilated[::2, ::2] = kernel
    dense = layers.Conv2D(4, 5, use_bias=False, **SAME)
    dense.build((None, 12, 12, 1))
    dense.set_weights([dilated])
    result, expected = audit_kernel(layer, 2), audit_kernel(dense, 2)
    np.testing.assert_allclose(result[:3], expected[:3], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(result.overlap, 9)
    grouped = layers.Conv2D(4, 1, groups=4, **SAME)
    grouped.build((None, 8, 8, 4))
    with pytest.raises(ValueError, match="of one group"):
        audit_kernel(grouped, 2)


def test_the_gradient_of_signals_is_measured():
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        layer = layers.Conv1D(4, 4, strides=2, use_bias=False, padding="same")
        result = audit(keras.Sequential([keras.Input((64, 1)), layer]))
        power = result.layers[0].ripple.power
        assert result.gradient.ripple == pytest.approx(power, abs=0.06)


def class_with_the_name_of_keras(factor):
    class Conv2DTranspose(layers.Conv2DTranspose):
        def call(self, x):
            return factor * super().call(x)

    return Conv2DTranspose


def test_classes_with_the_same_name_are_not_confused():
    first, second = class_with_the_name_of_keras(3), class_with_the_name_of_keras(5)
    from_keras = layers.Conv2DTranspose
    x = keras.Input((8, 8, 2))
    options = {"filters": 2, "kernel_size": 3, "strides": 2, **SAME}
    duplicate = repair(keras.Model(x, from_keras(**options)(first(**options)(x)))).model
    assert [type(layer) for layer in duplicate.layers[1:]] == [first, from_keras]
    with pytest.raises(ValueError, match="have the same name"):
        repair(keras.Model(x, second(**options)(first(**options)(x))))


def test_kernels_with_lora_are_not_moved_but_named():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(8, 3, name="conv", **SAME), Shuffle()]
    )
    model.get_layer("conv").enable_lora(2)
    repaired = repair(model)
    assert not repaired.moves
    assert repaired.not_moved == ("conv: its kernel is computed from other weights, as with LoRA",)
