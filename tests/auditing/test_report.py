"""`audit`: the layers that it finds, what it measures, and what it prints."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_upsampling import (
    BilinearAdditiveUpsampling2D,
    BlurPool2D,
    SubpixelConv2D,
    UpsampleConv2D,
    audit,
    audit_kernel,
)
from keras_upsampling.auditing.advice import advice
from keras_upsampling.auditing.survey import survey_model
from keras_upsampling.constraints import CheckerboardFree

LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


def encoder():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(4, 3, strides=2, activation="relu", name="strided", **SAME),
            layers.MaxPooling2D(name="pool", **LAST),
            layers.Flatten(name="flatten"),
            layers.Dense(10),
        ],
        name="encoder",
    )


def decoder():
    return keras.Sequential(
        [
            keras.Input((10,)),
            layers.Dense(7 * 7 * 4),
            layers.Reshape((7, 7, 4), name="map"),
            layers.Conv2DTranspose(4, 3, strides=2, activation="relu", name="up", **SAME),
            layers.Conv2D(4, 3, name="before_shuffle", **SAME),
        ],
        name="decoder",
    )


def autoencoder():
    """Two nested models, followed by depth to space as an operation of the graph."""
    x = keras.Input((28, 28, 1))
    y = ops.depth_to_space(decoder()(encoder()(x)), 2, data_format="channels_last")
    return keras.Model(x, y, name="autoencoder")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = encoder(), decoder()
        self.spare = layers.Identity(name="spare")

    def call(self, x):
        return self.decoder(self.encoder(x))


class Shuffling(Subclassed):
    def call(self, x):
        return shuffled(super().call(x))


def audits_by_name(model):
    return {layer.layer: layer for layer in audit(model).layers}


def test_layers_of_nested_models_are_found():
    model = autoencoder()
    audits = audits_by_name(model)
    assert list(audits) == [
        "encoder/strided", "encoder/pool", "decoder/up", "decoder/before_shuffle",
    ]  # fmt: skip
    kinds = ["Conv2D", "MaxPooling2D", "Conv2DTranspose", "Conv2D + DepthToSpace"]
    assert [layer.kind for layer in audits.values()] == kinds
    assert [layer.enlarges for layer in audits.values()] == [False, False, True, True]
    assert [layer.period for layer in audits.values()] == [(2, 2), (4, 4), (4, 4), (2, 2)]
    inner, outer = (model.get_layer("decoder").get_layer(n) for n in ("up", "before_shuffle"))
    first, second = audit_kernel(inner), audit_kernel(outer, 2)
    np.testing.assert_equal(audits["decoder/up"].ripple, first)
    np.testing.assert_equal(audits["decoder/before_shuffle"].ripple, second)
    compound = np.sqrt((1 + first.gain**2) * (1 + second.gain**2) - 1)
    assert audits["decoder/up"].compound == pytest.approx(first.gain)
    assert audits["decoder/before_shuffle"].compound == pytest.approx(compound)
    # A maximum has no kernel, so no compound ripple passes through it.
    assert audits["encoder/pool"].ripple is None
    assert audits["encoder/strided"].compound is None


def test_subclassed_models_need_inputs():
    model = Subclassed()
    with pytest.raises(ValueError, match=r"input shape of .* must be known.*Pass `inputs`"):
        audit(model)
    result = audit(model, np.zeros((1, 28, 28, 1), "float32"))
    assert [layer.layer for layer in result.layers] == [
        "encoder/strided", "encoder/pool", "decoder/up",
    ]  # fmt: skip
    assert "spare: it was not called" in result.not_looked_at
    assert result.response.part == "after map in decoder"
    assert result.response.period == (2, 2)
    assert result.gradient.part == "before flatten in encoder"
    assert result.gradient.period == (4, 4)


def test_size_changes_outside_of_layers_are_reported_as_not_looked_at():
    result = audit(Shuffling(), np.zeros((1, 28, 28, 1), "float32"))
    assert "shuffling: it changes the size of maps outside of its layers" in result.not_looked_at
    assert result.response is None
    reasons = [line for line in result.not_looked_at if "with larger maps: " in line]
    assert len(reasons) == 1
    assert reasons[0].startswith("the response to constants: ")
    assert "Measured response to constants: not measured" in str(result)


def linear_decoder(taps=4):
    """Two transposed convolutions without biases or activations, whose response can be computed."""
    options = {"strides": 2, "use_bias": False, **SAME}
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2DTranspose(1, taps, kernel_initializer="random_uniform", **options),
            layers.Conv2DTranspose(1, taps, kernel_initializer="random_uniform", **options),
        ]
    )


def test_the_measured_response_is_the_compound_of_the_kernels():
    model = linear_decoder(taps=2)  # the second layer does not mix samples
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    result = audit(model)
    assert result.response.period == (4, 4)
    assert result.response.rest < 1e-6
    # With one channel the compound is exact. It is relative to the mean, the measured ripple to the
    # root mean square.
    compound = result.layers[-1].compound
    assert result.response.ripple == pytest.approx(compound / np.sqrt(1 + compound**2), rel=1e-5)
    assert not result.not_looked_at


def test_projected_kernels_keep_constants_constant():
    model = linear_decoder()
    for weight in model.weights:
        weight.assign(CheckerboardFree(2)(weight))
    result = audit(model)
    assert result.response.ripple < 1e-5
    assert all(layer.ripple.gain < 1e-5 for layer in result.layers)
    # Only the steps of slopes remain. They are explained once.
    assert not any(layer.advice for layer in result.layers)
    assert str(result).count("slopes become steps") == 1


def test_the_gradient_of_noise_is_as_uneven_as_the_kernel():
    model = keras.Sequential(
        [
            keras.Input((16, 16, 2)),
            layers.Conv2D(3, 3, strides=2, use_bias=False, kernel_initializer="ones", **SAME),
        ]
    )
    result = audit(model)
    assert result.gradient.period == (2, 2)
    # The ripple of a kernel of ones. The measured one contains noise.
    assert result.layers[0].ripple.power == pytest.approx(0.484, abs=1e-3)
    assert result.gradient.ripple == pytest.approx(result.layers[0].ripple.power, rel=0.1)
    even = keras.Sequential([keras.Input((16, 16, 2)), layers.AveragePooling2D(2, **LAST)])
    assert audit(even).gradient.ripple < 0.03


def test_the_part_that_takes_any_size_is_measured_and_the_rest_is_named():
    result = audit(autoencoder())
    assert result.response.part == "after map"
    assert result.response.period == (4, 4)
    assert result.gradient.part == "before flatten"
    assert result.not_looked_at == (
        "the response to constants: only the part after map was measured",
        "the gradient: only the part before flatten was measured",
    )


def test_effects_of_the_borders_are_separated_from_the_pattern():
    # A wide kernel brings the zeros outside the border to the middle.
    wide = layers.Conv2D(1, 61, kernel_initializer="ones", use_bias=False, **SAME)
    model = keras.Sequential([keras.Input((16, 16, 1)), layers.UpSampling2D(2, **LAST), wide])
    result = audit(model)
    assert result.response.rest > 0.01
    assert result.response.ripple < 0.1 * result.response.rest


def test_unknown_layers_are_reported():
    class Twice(keras.layers.Layer):
        def call(self, x):
            indices = np.arange(2 * x.shape[1]) // 2
            return ops.take(ops.take(x, indices, axis=1), indices, axis=2)

        def compute_output_shape(self, shape):
            return (shape[0], *(n and 2 * n for n in shape[1:3]), shape[3])

    x = keras.Input((8, 8, 4))
    y = layers.Resizing(4, 4, name="smaller", **LAST)(Twice(name="twice")(x))
    result = audit(keras.Model(x, y))
    assert result.not_looked_at[:2] == (
        "twice: Twice has no known kernel",
        "smaller: the gradient of Resizing has no known kernel",
    )
    (smaller,) = result.layers
    assert (smaller.layer, smaller.size, smaller.ripple) == ("smaller", (4, 4), None)
    assert smaller.advice == ""


def shuffled(x):
    """Depth to space with the filters before the phases, as in PyTorch."""
    _, height, width, channels = x.shape
    x = ops.reshape(x, (-1, height, width, channels // 4, 2, 2))
    x = ops.transpose(x, (0, 1, 4, 2, 5, 3))
    return ops.reshape(x, (-1, 2 * height, 2 * width, channels // 4))


def test_the_order_of_the_channels_is_found_by_a_trial_run():
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(8, 3, name="conv", **SAME)(x)
    shuffle = layers.Lambda(shuffled, output_shape=(16, 16, 2), name="shuffle")
    model = keras.Model(x, shuffle(layers.ReLU()(y)))
    conv = model.get_layer("conv")
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=conv.kernel.shape), rng.normal(size=8)
    conv.set_weights([kernel, bias])
    # The same layer for the order of Keras, filters last.
    order = np.arange(8).reshape(2, 4).T.ravel()
    reordered = layers.Conv2D(8, 3, **SAME)
    reordered.build((None, 8, 8, 3))
    reordered.set_weights([kernel[..., order], bias[order]])
    result = audit(model)
    assert result.layers[0].kind == "Conv2D + Lambda"
    assert result.layers[0].ripple.gain == pytest.approx(audit_kernel(reordered, 2).gain)


def test_advice_names_a_replacement():
    def advice(layer, channels=4):
        model = keras.Sequential([keras.Input((8, 8, channels)), layer])
        return audits_by_name(model)[layer.name].advice

    transposed = advice(layers.Conv2DTranspose(3, 3, strides=2, **SAME))
    assert "use UpsampleConv2D(3, 3, size=2) instead" in transposed
    assert "kernel_constraint=CheckerboardFree(2)" in transposed
    block = advice(layers.Conv2DTranspose(3, (2, 3), strides=(2, 3), **SAME))
    assert "UpsampleConv2D(3, 3, size=(2, 3))" in block
    assert "has no ripple only if it copies" in block
    gaps = advice(layers.Conv2DTranspose(3, 2, strides=(3, 2), **SAME))
    assert "smaller than the stride" in gaps
    assert "size=(3, 2)" in gaps
    assert advice(UpsampleConv2D(3, 3, **LAST)) == ""
    assert 'Upsample2D(2, interpolation="linear")' in advice(layers.UpSampling2D(2, **LAST))
    assert advice(UpsampleConv2D(3, 3, interpolation="linear", **LAST)) == ""
    assert "overlap unevenly" in advice(layers.Conv2D(3, 3, strides=2, **LAST))
    assert "convolve without strides" in advice(layers.Conv2D(3, 4, strides=2, **LAST))
    assert "without strides, and add BlurPool2D(2) after it" in advice(layers.MaxPooling2D(**LAST))
    assert "and add BlurPool2D(2) after it" in advice(layers.Conv2D(3, 4, strides=2, **LAST))
    assert advice(BlurPool2D(2, order=2, **LAST)) == ""
    assert advice(layers.AveragePooling2D(2, **LAST)) == ""


def test_advice_on_subpixel_convolutions():
    def advice_on(*stack):
        # Without `audit`, whose measurement takes JAX long to compile.
        (change,) = survey_model(keras.Sequential([keras.Input((8, 8, 4)), *stack])).changes
        return advice(change)

    def subpixel(**options):
        return SubpixelConv2D(3, 5, kernel_initializer="he_normal", **options, **LAST)

    depth_to_space = layers.Lambda(lambda x: ops.depth_to_space(x, 2, data_format="channels_last"))
    convolution = advice_on(layers.Conv2D(12, 5, **SAME), depth_to_space)
    for text in (convolution, advice_on(subpixel())):
        assert "use UpsampleConv2D(3, 5, size=2) instead" in text
        assert "CheckerboardFree((2, 2), subpixel=True) as kernel_constraint" in text
        assert "ICNR as kernel_initializer prevents the ripple only at the start" in text
    other_order = advice_on(layers.Conv2D(12, 5, **SAME), layers.Lambda(shuffled))
    assert "UpsampleConv2D(3, 5, size=2) instead" in other_order
    assert "SubpixelConv2D(3, 5, size=2) starts without the ripple" in other_order
    # Before training, the advice is about the ripple that training may bring.
    untrained = SubpixelConv2D(3, 5, **LAST)
    assert "now, but training may bring a ripple: use UpsampleConv2D(3, 5" in advice_on(untrained)
    free = CheckerboardFree((2, 2), subpixel=True)
    without_bias_constraint = SubpixelConv2D(3, 5, kernel_constraint=free, **LAST)
    assert "training may bring a ripple" in advice_on(without_bias_constraint)
    constrained = SubpixelConv2D(3, 5, kernel_constraint=free, bias_constraint=free, **LAST)
    assert advice_on(constrained) == ""
    assert advice_on(BilinearAdditiveUpsampling2D(2, **LAST)) == ""


def test_subpixel_layers_are_found_in_models():
    x = keras.Input((8, 8, 3))
    y = SubpixelConv2D(8, 3, name="subpixel", bias_initializer="normal", **LAST)(x)
    y = BilinearAdditiveUpsampling2D(2, name="additive", **LAST)(y)
    survey = survey_model(keras.Model(x, y))
    assert [change.kind for change in survey.changes] == [
        "SubpixelConv2D",
        "BilinearAdditiveUpsampling2D",
    ]
    assert survey.periods == [(4, 4), (2, 2)]
    # The bias alone makes a checkerboard.
    assert survey.changes[0].ripple.gain > 0.005
    assert survey.changes[1].ripple.gain < 1e-12
    assert not survey.unknown_upsampling
    assert not survey.notes


def test_an_audit_prints_and_exports_to_json():
    result = audit(autoencoder())
    text = str(result)
    for line in (
        "Layers that upsample:", "| decoder/up ", "Gradients of layers", "- decoder/up: use ",
        "repeats every 4x4 samples",
        "Not looked at:\n- the response to constants: only the part after map was measured",
    ):  # fmt: skip
        assert line in text
    records = json.loads(result.to_json())
    assert records == result.records()
    assert records["layers"][2]["layer"] == "decoder/up"
    assert records["layers"][2]["ripple"]["overlap"] == [[4, 2], [2, 1]]
    assert records["response"]["ripple"] == result.response.ripple


def test_an_infinite_ripple_is_null_in_json():
    model = linear_decoder()
    # The sums of the phases are 1 and -1: their mean is 0.
    kernel = np.zeros((4, 4, 1, 1))
    kernel[0, :2] = kernel[1, :2] = [[[1.0]], [[-1.0]]]
    model.set_weights([kernel, kernel])
    result = audit(model)
    assert result.layers[0].ripple.gain == np.inf
    assert json.loads(result.to_json())["layers"][0]["ripple"]["gain"] is None
    assert "no mean" in str(result)


def test_the_model_is_not_modified():
    model = autoencoder()
    before = model.get_weights()
    x = np.random.default_rng(0).normal(size=(1, 28, 28, 1)).astype("float32")
    expected = model.predict(x, verbose=0)
    call = keras.Operation.__call__
    audit(model)
    assert keras.Operation.__call__ is call
    for weight, weight_before in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, weight_before)
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    assert model.get_layer("decoder").get_layer("up").output.shape == (None, 14, 14, 4)


def test_a_layer_is_refused():
    with pytest.raises(TypeError, match="Use `audit_kernel` for a single layer"):
        audit(layers.Conv2DTranspose(3, 3, strides=2))


@pytest.mark.parametrize("rank", [1, 3])
def test_signals_and_volumes_are_audited_too(rank):
    layer = getattr(layers, f"Conv{rank}DTranspose")(2, 3, strides=2, **SAME)
    model = keras.Sequential([keras.Input((*(8,) * rank, 2)), layer])
    result = audit(model)
    assert result.response.period == (2,) * rank
    assert result.response.ripple > 0.05
