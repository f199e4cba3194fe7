import json
import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_upsampling import (
    audit,
    autoencoder,
    tutorial_autoencoder,
    variational_autoencoder,
)
from keras_upsampling.models import Autoencoder
from keras_upsampling.models.stages import DOWNSAMPLINGS, UPSAMPLINGS
from tests import oracle
from tests.backends import BACKEND, evaluate, to_numpy
from tests.exporters import exported

DATA_FORMATS = ("channels_last", "channels_first")


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype("float32")


def supported(resamplings, rank):
    return [name for name, resampling in resamplings.items() if rank in resampling.ranks]


# Sizes


@st.composite
def model_arguments(draw):
    rank = draw(st.integers(1, 3))
    lengths = draw(st.tuples(*[st.integers(1, {1: 30, 2: 11, 3: 5}[rank])] * rank))
    upsampling = draw(st.sampled_from(supported(UPSAMPLINGS, rank)))
    return {
        "lengths": lengths,
        "known": draw(st.tuples(*[st.booleans()] * rank)),
        "channels": draw(st.integers(1, 3)),
        "filters": draw(st.lists(st.integers(1, 5), min_size=1, max_size=2)),
        "kernel_size": draw(st.integers(2 if upsampling == "transposed" else 1, 4)),
        "upsampling": upsampling,
        "downsampling": draw(st.sampled_from(supported(DOWNSAMPLINGS, rank))),
        "data_format": draw(st.sampled_from(DATA_FORMATS)),
    }


@settings(max_examples=5)  # every example compiles a model
@given(arguments=model_arguments())
def test_outputs_have_the_size_of_the_inputs(arguments):
    lengths, channels = arguments.pop("lengths"), arguments.pop("channels")
    pairs = zip(lengths, arguments.pop("known"), strict=True)
    input_lengths = [length if known else None for length, known in pairs]
    last = arguments["data_format"] == "channels_last"
    shape = (*lengths, channels) if last else (channels, *lengths)
    input_shape = (*input_lengths, channels) if last else (channels, *input_lengths)
    model = autoencoder(input_shape, **arguments)

    assert model.output_shape == model.input_shape == (None, *input_shape)
    images = noise((2, *shape))
    outputs = to_numpy(evaluate(model, images))
    assert outputs.shape == images.shape
    assert np.isfinite(outputs).all()
    code = to_numpy(model.encode(images))
    factor, code_channels = 2 ** len(arguments["filters"]), arguments["filters"][-1]
    expected = [-(-length // factor) for length in lengths]
    assert code.shape == ((2, *expected, code_channels) if last else (2, code_channels, *expected))


@pytest.mark.parametrize("shape", [(28, 28, 1), (37, 53, 3), (1, 1, 1), (101, 2), (5, 1, 7, 1)])
def test_outputs_have_sizes_that_are_not_powers_of_two(shape):
    model = autoencoder(shape, filters=(2, 3, 2))
    assert model.output_shape == (None, *shape)
    assert tuple(evaluate(model, np.zeros((1, *shape), "float32")).shape) == (1, *shape)


def test_models_with_unknown_and_known_sizes_agree():
    flexible = autoencoder((None, None, 2), filters=(3, 4))
    for height, width in ((1, 1), (7, 10)):
        fixed = autoencoder((height, width, 2), filters=(3, 4))
        fixed.set_weights(flexible.get_weights())
        images = noise((2, height, width, 2))
        np.testing.assert_allclose(
            to_numpy(evaluate(flexible, images)), to_numpy(evaluate(fixed, images)), atol=1e-6
        )


def test_batches_of_several_sizes_are_fitted_and_predicted():
    model = autoencoder((None, None, 1), filters=(2, 3))
    model.compile("adam", "mse")
    for height, width in ((9, 13), (6, 5)):
        images = noise((4, height, width, 1))
        before = model.get_weights()
        model.fit(images, images, verbose=0)
        assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
        assert model.predict(images, verbose=0).shape == images.shape


def test_unknown_lengths_are_decoded_without_cropping():
    model = autoencoder((None, 6, 1), filters=(2, 3))
    assert tuple(model.decode(model.encode(noise((1, 9, 6, 1)))).shape) == (1, 12, 6, 1)


# Numbers


def slow_conv(x, weights, padding):
    kernel, bias = weights
    return oracle.upsample_conv(
        x, kernel, bias, size=(1, 1), interpolation="nearest", padding=padding,
        dilation=(1, 1), groups=1,
    )  # fmt: skip


def slow_max_pool(x):
    batch, height, width, channels = x.shape
    pooled = np.empty((batch, -(-height // 2), -(-width // 2), channels))
    for i in range(pooled.shape[1]):
        for j in range(pooled.shape[2]):
            pooled[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(1, 2))
    return pooled


def test_the_model_computes_what_its_docstring_says():
    model = autoencoder((5, 7, 2), filters=(3, 4), output_activation=None)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    images = noise((2, 5, 7, 2))
    weights = [weight.astype("float64") for weight in model.get_weights()]
    pairs = list(zip(weights[::2], weights[1::2], strict=True))

    x = np.maximum(slow_conv(images.astype("float64"), pairs[0], "same"), 0)
    x = slow_max_pool(x)
    code = slow_max_pool(slow_conv(x, pairs[1], "same"))
    np.testing.assert_allclose(to_numpy(model.encode(images)), code, rtol=1e-4, atol=1e-4)
    x = code
    for pair in pairs[2:4]:
        x = np.maximum(slow_conv(oracle.upsample(x, (2, 2), "nearest"), pair, "edge"), 0)
    x = slow_conv(x, pairs[4], "edge")
    assert len(pairs) == 5
    assert x.shape == (2, 8, 8, 2)
    expected = x[:, :5, :7]
    np.testing.assert_allclose(
        to_numpy(model(images)), expected, rtol=1e-4, atol=1e-4 * abs(expected).max()
    )


@pytest.mark.parametrize("upsampling", [name for name in UPSAMPLINGS if name != "transposed"])
def test_a_constant_code_is_decoded_to_a_constant(upsampling):
    model = autoencoder((9, 11, 1), filters=(8, 8), upsampling=upsampling)
    code = np.ones((1, 3, 3, 8), "float32")
    image = to_numpy(evaluate(model.decoder, code))
    assert image.shape == (1, 9, 11, 1)
    np.testing.assert_allclose(image, image[0, 4, 4, 0], rtol=0, atol=1e-6)


def test_transposed_convolutions_leave_a_rim():
    model = autoencoder((9, 11, 1), filters=(8, 8), upsampling="transposed")
    assert np.ptp(to_numpy(evaluate(model.decoder, np.ones((1, 3, 3, 8), "float32")))) > 1e-3


# Options


# Every name once. Compiling takes longest, so several options share a model.
OPTIONS = [
    {"upsampling": "upsample_conv", "downsampling": "max_pool"},
    {"upsampling": "subpixel_conv", "downsampling": "strided", "normalization": "layer"},
    {"upsampling": "bilinear_additive", "downsampling": "blur_pool", "kernel_size": (2, 3)},
    {"upsampling": "carafe", "activation": None},
    {"upsampling": "dysample", "normalization": "batch", "activation": "gelu"},
    {"upsampling": "transposed", "bottleneck": 5},
]


def test_every_name_is_tested():
    assert {options["upsampling"] for options in OPTIONS} == set(UPSAMPLINGS)
    assert {options.get("downsampling", "max_pool") for options in OPTIONS} == set(DOWNSAMPLINGS)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options["upsampling"])
def test_models_with_every_option_train_save_and_load(options, tmp_path):
    model = autoencoder((7, 6, 1), filters=(4, 8), **options)
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    images = noise((8, 7, 6, 1)) / 4  # dark, so that learning the mean lowers the loss
    losses = model.fit(images, images, epochs=4, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]

    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(restored) is Autoencoder
    assert json.dumps(restored.get_config()) == json.dumps(model.get_config())
    np.testing.assert_array_equal(
        restored.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    assert int(restored.optimizer.iterations) == int(model.optimizer.iterations) == 8


@pytest.mark.parametrize("upsampling", supported(UPSAMPLINGS, 2))
def test_grey_images_are_fitted_in_float64(upsampling):
    if BACKEND != "torch":
        pytest.skip("only PyTorch rejects the gradient of a kernel with another memory layout")
    keras.config.set_floatx("float64")
    try:
        model = autoencoder((6, 7, 1), filters=(4,), upsampling=upsampling)
        before = model.get_weights()
        model.compile("sgd", "mse")
        model.fit(noise((2, 6, 7, 1)), noise((2, 6, 7, 1), seed=1), verbose=0)
    finally:
        keras.config.set_floatx("float32")
    for old, new in zip(before, model.get_weights(), strict=True):
        assert new.dtype == "float64"
        assert np.isfinite(new).all()
        assert not np.array_equal(old, new)


@pytest.mark.parametrize("factory", [autoencoder, variational_autoencoder])
def test_models_of_unknown_size_are_exported(factory, tmp_path):
    # To ONNX on PyTorch, whose own format fixes the padding of Keras's pooling at the traced size.
    model = factory((None, None, 2), filters=(3, 4), bottleneck=None)
    (program,) = exported(model, (None, None, None, 2), tmp_path, first=True)
    for shape in ((2, 7, 9, 2), (3, 12, 8, 2)):
        images = noise(shape)
        np.testing.assert_allclose(program(images), to_numpy(evaluate(model, images)), atol=1e-5)


def test_a_bottleneck_makes_the_code_a_vector():
    model = autoencoder((6, 5, 1), filters=(3, 4), bottleneck=7)
    images = noise((2, 6, 5, 1))
    codes = model.encode(images)
    assert tuple(codes.shape) == (2, 7)
    assert to_numpy(codes).min() < 0, "a code has no activation"
    np.testing.assert_allclose(to_numpy(model.decode(codes)), to_numpy(model(images)), atol=1e-6)


def test_custom_upsampling_and_downsampling():
    calls = []

    def upsampling(filters, size, name):
        calls.append((filters, size, name))
        return keras.layers.Conv2DTranspose(filters, 4, strides=size, padding="same", name=name)

    def downsampling(filters, size, name):
        calls.append((filters, size, name))
        return keras.layers.Conv2D(filters, 5, strides=size, padding="same", name=name)

    model = autoencoder((9, 6, 1), filters=(2, 3), upsampling=upsampling, downsampling=downsampling)
    assert calls == [(2, 2, "down_1"), (3, 2, "down_2"), (2, 2, "up_1"), (2, 2, "up_2")]
    assert model.decoder.get_layer("up_2").kernel_size == (4, 4)
    assert tuple(model(noise((1, 9, 6, 1))).shape) == (1, 9, 6, 1)


def test_custom_encoder_and_decoder():
    encoder = keras.Sequential([keras.Input((5, 1)), keras.layers.AveragePooling1D(2)])
    decoder = keras.Sequential([keras.Input((2, 1)), keras.layers.UpSampling1D(3)])
    model = Autoencoder(encoder, decoder)
    signal = np.array([1, 3, 5, 9, 100.0]).reshape(1, 5, 1)
    assert to_numpy(model(signal)).ravel().tolist() == [2, 2, 2, 7, 7]


def test_a_model_can_be_a_layer_of_a_larger_model():
    model = autoencoder((None, None, 1), filters=(2,))
    inputs = keras.Input((6, 5, 1))
    outputs = model(inputs)
    assert outputs.shape == (None, 6, 5, 1)
    outer = keras.Model(inputs, outputs)
    images = noise((2, 6, 5, 1))
    np.testing.assert_allclose(to_numpy(outer(images)), to_numpy(model(images)), atol=1e-6)


def test_mixed_precision_and_frozen_models_are_saved(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = autoencoder((5, 6, 1), filters=(2,))
    finally:
        keras.config.set_dtype_policy("float32")
    model.encoder.trainable = False
    assert keras.backend.standardize_dtype(model(noise((1, 5, 6, 1))).dtype) == "bfloat16"
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.dtype_policy.name == "mixed_bfloat16"
    assert len(restored.trainable_variables) == len(model.decoder.trainable_variables)


def test_the_audit_finds_the_layers_of_the_decoder():
    model = autoencoder((8, 8, 1), filters=(4,), upsampling="transposed")
    report = audit(model)
    assert [layer.layer for layer in report.layers if layer.enlarges] == ["decoder/up_1_conv"]
    assert not [line for line in report.not_looked_at if "crop" in line]


def test_the_audit_measures_a_decoder_of_known_size():
    ripples = {
        name: audit(autoencoder((9, 9, 1), filters=(4,), upsampling=name).decoder).response.ripple
        for name in ("upsample_conv", "transposed")
    }
    assert ripples["upsample_conv"] < 1e-4 < ripples["transposed"]


def test_the_size_of_the_tutorial_autoencoder():
    model = tutorial_autoencoder()
    assert model.count_params() == 1393
    assert model.encoder.output_shape == (None, 4, 4, 8)
    assert model.output_shape == (None, 28, 28, 1)


# Errors


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "`input_shape` must be a tuple such as", {"input_shape": 28}),
        (TypeError, "`input_shape[0]` must be a positive integer", {"input_shape": (28.0, 28, 1)}),
        (ValueError, "`input_shape[0]` must be a positive integer", {"input_shape": (0, 28, 1)}),
        (ValueError, "one, two or three spatial axes", {"input_shape": (28,)}),
        (ValueError, "The number of channels must be known", {"input_shape": (28, 28, None)}),
        (ValueError, "one positive integer for each encoder stage", {"filters": ()}),
        (ValueError, "one positive integer for each encoder stage", {"filters": 32}),
        (ValueError, "`filters[1]` must be a positive integer", {"filters": (32, 0)}),
        (TypeError, "`bottleneck` must be a positive integer", {"bottleneck": 2.5}),
        (ValueError, "`bottleneck` must be a positive integer", {"bottleneck": 0}),
        (
            ValueError,
            "A code of 8 numbers needs inputs of a known size. Received: input_shape=(None, 28, 1)",
            {"input_shape": (None, 28, 1), "bottleneck": 8},
        ),
        (ValueError, "`kernel_size` must be a positive integer", {"kernel_size": 0}),
        (
            ValueError,
            "Received: upsampling='transposed', kernel_size=(3, 1). Use kernel_size=2 or more",
            {"upsampling": "transposed", "kernel_size": (3, 1)},
        ),
        (
            ValueError,
            "Unknown `upsampling`. Received: upsampling='deconv'",
            {"upsampling": "deconv"},
        ),
        (
            ValueError,
            "is for images only. Received an input with 1 spatial axes. Use one of: "
            "'upsample_conv', 'subpixel_conv', 'transposed'",
            {"input_shape": (50, 1), "upsampling": "carafe"},
        ),
        (ValueError, "Unknown `downsampling`", {"downsampling": None}),
        (TypeError, "function that returns a layer", {"upsampling": keras.layers.UpSampling2D(2)}),
        (TypeError, "function that returns a layer", {"downsampling": keras.layers.MaxPooling2D}),
        (TypeError, "would be shared by all stages", {"activation": keras.layers.PReLU()}),
        (ValueError, "Unknown `normalization`", {"normalization": "instance"}),
        (ValueError, "Unknown `data_format`", {"data_format": "last"}),
        (
            TypeError,
            "`upsampling` must return a Keras layer. Received: None",
            {"upsampling": lambda *_: None},
        ),
        (
            ValueError,
            "The layers of 'up_1' must turn maps of shape (None, 7, 7, 64) into maps of shape "
            "(None, 14, 14, 32). Received layers that return shape (None, 21, 21, 64)",
            {"upsampling": lambda *_: keras.layers.UpSampling2D(3)},
        ),
        (
            ValueError,
            "The layers of 'down_1' must turn",
            {"downsampling": lambda filters, *_: keras.layers.Conv2D(filters, 3, strides=2)},
        ),
    ],
)
def test_bad_arguments_are_refused(error, message, arguments):
    with pytest.raises(error, match=re.escape(message)):
        autoencoder(**{"input_shape": (28, 28, 1), **arguments})


def test_one_layer_for_two_stages_is_refused():
    layer = keras.layers.UpSampling2D(2)
    with pytest.raises(ValueError, match="a new layer for each stage"):
        autoencoder((28, 28, 8), filters=(8, 8), upsampling=lambda *_: layer)


def test_models_that_do_not_fit_are_refused():
    encoder = keras.Sequential([keras.Input((8, 3)), keras.layers.AveragePooling1D(2)])
    with pytest.raises(TypeError, match="`decoder` must be a model with one input and one output"):
        Autoencoder(encoder, keras.layers.UpSampling1D(2))
    with pytest.raises(ValueError, match=r"outputs of shape \(None, 4, 3\).*\(None, 8, 3\)"):
        Autoencoder(encoder, encoder)


def sequential(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def test_decoders_of_another_size_are_refused_when_the_model_is_created():
    message = r"smaller than the inputs. Received inputs of shape \(None, 8, 3\), decoded to shape "
    message += r"\(None, 4, 3\)\. Use one upsampling"
    encoder = sequential((8, 3), keras.layers.AveragePooling1D(2))
    with pytest.raises(ValueError, match=message):
        Autoencoder(encoder, sequential((4, 3), keras.layers.Conv1D(3, 1)))
    # The sizes of the codes are known even if the decoder's input sizes are not.
    with pytest.raises(ValueError, match=message):
        Autoencoder(encoder, sequential((None, 3), keras.layers.Conv1D(3, 1)))
    with pytest.raises(ValueError, match=r"as many axes as the inputs.*to shape \(None, 12"):
        Autoencoder(encoder, sequential((4, 3), keras.layers.Flatten()))
    vectors = sequential((4,), keras.layers.Dense(2)), sequential((2,), keras.layers.Dense(4))
    with pytest.raises(ValueError, match="one, two or three spatial axes"):
        Autoencoder(*vectors)


def test_decoders_of_another_size_are_refused_once_the_size_is_known():
    encoder = sequential((None, 3), keras.layers.AveragePooling1D(4, padding="same"))
    model = Autoencoder(encoder, sequential((None, 3), keras.layers.UpSampling1D(2)))
    assert model.output_shape == (None, None, 3)
    assert tuple(model(np.zeros((1, 1, 3))).shape) == (1, 1, 3)
    for inputs in (keras.Input((8, 3)), np.zeros((1, 8, 3))):
        with pytest.raises(ValueError, match=r"smaller than the inputs.*8, 3\), decoded to shape"):
            model(inputs)
