import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_upsampling import variational_autoencoder
from keras_upsampling.models import VariationalAutoencoder
from tests.backends import BACKEND, evaluate, gradients, to_numpy

OPTIONS = {"filters": (3, 4), "normalization": "batch"}


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype("float32")


def slow_divergence(statistics, axis=-1):
    """Divergence from the normal distribution by its definition, averaged over the batch."""
    means, logarithms = np.split(statistics.astype("float64"), 2, axis=axis)
    variances = np.exp(logarithms)
    divergences = 0.5 * (means**2 + variances - 1) - 0.5 * np.log(variances)
    return divergences.reshape(len(divergences), -1).sum(axis=1).mean()


@pytest.mark.parametrize(
    ("shape", "bottleneck", "data_format"),
    [
        ((7, 6, 1), 2, "channels_last"),
        ((7, 6, 2), None, "channels_last"),
        ((2, 9), None, "channels_first"),
    ],
)
def test_the_loss_is_reconstruction_and_divergence(shape, bottleneck, data_format):
    model = variational_autoencoder(
        shape, bottleneck=bottleneck, beta=0.5, data_format=data_format, filters=(3, 4)
    )
    model.compile("sgd", "mse")
    images = noise((6, *shape))
    metrics = model.evaluate(images, images, batch_size=4, verbose=0, return_dict=True)
    predicted = model.predict(images, verbose=0)
    assert predicted.shape == images.shape

    statistics = model.encoder.predict(images, verbose=0)
    axis = 1 if data_format == "channels_first" or bottleneck else -1
    kl = slow_divergence(statistics, axis)
    squares = np.mean((predicted.astype("float64") - images) ** 2)
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(metrics["reconstruction"], squares, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], squares + 0.5 * kl / np.prod(shape), rtol=1e-4)
    means = np.split(statistics, 2, axis=axis)[0]
    np.testing.assert_allclose(to_numpy(model.encode(images)), means, atol=1e-6)
    np.testing.assert_allclose(to_numpy(model.decode(means)), predicted, atol=1e-6)


def test_regularization_losses_are_in_neither_term():
    model = variational_autoencoder((6, 6, 1), bottleneck=2, filters=(3,))
    penalised = model.decoder.get_layer("map").kernel
    penalised.regularizer = keras.regularizers.L2(1.0)
    model.compile("sgd", "mse")
    images = noise((4, 6, 6, 1))
    metrics = model.evaluate(images, images, verbose=0, return_dict=True)
    kl = slow_divergence(model.encoder.predict(images, verbose=0))
    squares = np.mean((model.predict(images, verbose=0) - images) ** 2)
    penalty = np.sum(to_numpy(penalised) ** 2)
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(metrics["reconstruction"], squares, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], squares + kl / 36 + penalty, rtol=1e-4)


def test_a_model_trains_saves_and_loads(tmp_path):
    model = variational_autoencoder((7, 6, 1), bottleneck=2, beta=0.1, seed=3, **OPTIONS)
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    images = noise((8, 7, 6, 1)) / 4
    history = model.fit(images, images, epochs=6, batch_size=4, verbose=0).history
    assert set(history) == {"loss", "reconstruction", "kl"}
    assert history["loss"][-1] < history["loss"][0]

    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(restored) is VariationalAutoencoder
    assert restored.beta == 0.1
    assert restored.seed == 3
    assert json.dumps(restored.get_config()) == json.dumps(model.get_config())
    np.testing.assert_array_equal(
        restored.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    restored.fit(images, images, verbose=0)


def test_beta_lowers_the_divergence():
    images = noise((16, 4, 4, 1))
    divergences = {}
    for beta in (1e-3, 10.0):
        keras.utils.set_random_seed(0)
        model = variational_autoencoder((4, 4, 1), bottleneck=2, beta=beta, filters=(4,), seed=0)
        model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
        divergences[beta] = model.fit(images, images, epochs=15, verbose=0).history["kl"][-1]
    assert divergences[10.0] < divergences[1e-3] / 2


def test_codes_are_drawn_in_training_only():
    model = variational_autoencoder((4, 4, 1), bottleneck=2, filters=(4,))
    images = noise((2, 4, 4, 1))
    first, second = (to_numpy(model(images, training=True)) for _ in range(2))
    assert np.any(first != second)
    np.testing.assert_array_equal(to_numpy(model(images)), to_numpy(model(images)))


def test_the_draws_have_the_codes_variance():
    """The decoder only reshapes, so the outputs are the codes."""
    encoder = keras.Sequential([keras.Input((1, 2)), keras.layers.Flatten(), keras.layers.Dense(4)])
    encoder.set_weights([np.zeros((2, 4)), np.array([1.0, -2.0, np.log(4.0), np.log(0.25)])])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Reshape((1, 2))])
    model = VariationalAutoencoder(encoder, decoder, seed=0)
    draws = to_numpy(
        evaluate(lambda x: model(x, training=True), np.zeros((20000, 1, 2), "float32"))
    )
    np.testing.assert_allclose(draws.mean(axis=(0, 1)), [1, -2], atol=0.06)
    np.testing.assert_allclose(draws.std(axis=(0, 1)), [2, 0.5], rtol=0.03)


def test_samples_have_a_shape_and_a_seed():
    model = variational_autoencoder((7, 5, 1), bottleneck=2, filters=(4,))
    samples = to_numpy(model.sample(3, seed=1))
    assert samples.shape == (3, 7, 5, 1)
    np.testing.assert_array_equal(to_numpy(model.sample(3, seed=1)), samples)
    assert np.any(to_numpy(model.sample(3, seed=2)) != samples)
    map_code = variational_autoencoder((7, 5, 1), bottleneck=None, filters=(4,))
    assert tuple(map_code.sample(2).shape) == (2, 7, 5, 1)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "`beta` must be a number above 0", {"beta": 0}),
        (ValueError, "`beta` must be a number above 0", {"beta": float("nan")}),
        (TypeError, "`beta` must be a number above 0", {"beta": "1"}),
        (
            ValueError,
            "A code of 16 numbers needs inputs of a known size",
            {"input_shape": (None, 4, 1)},
        ),
    ],
)
def test_bad_arguments_are_refused(error, message, arguments):
    with pytest.raises(error, match=message):
        variational_autoencoder(**{"input_shape": (4, 4, 1), "filters": (2,), **arguments})


def test_samples_of_unknown_size_are_refused():
    model = variational_autoencoder((None, 4, 1), bottleneck=None, filters=(2,))
    with pytest.raises(ValueError, match=r"Draw codes .* of shape \(3, None, 2, 2\)"):
        model.sample(3)
    with pytest.raises(ValueError, match="`n` must be a positive integer"):
        model.sample(0)


def test_outputs_and_inputs_may_differ_in_number_of_values():
    encoder = keras.Sequential([keras.Input((8, 2)), keras.layers.Flatten(), keras.layers.Dense(4)])
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(8), keras.layers.Reshape((8, 1))]
    )
    model = VariationalAutoencoder(encoder, decoder)
    model.compile("sgd", "mse")
    signals = noise((4, 8, 2))
    metrics = model.evaluate(signals, signals[..., :1], verbose=0, return_dict=True)
    kl = slow_divergence(encoder.predict(signals, verbose=0))
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], metrics["reconstruction"] + kl / 8, rtol=1e-4)


def test_an_odd_number_of_statistics_is_refused():
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="a mean and a logarithm of the variance for each"):
        VariationalAutoencoder(encoder, decoder)


def test_a_decoder_for_another_code_size_is_refused():
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])
    decoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match=r"outputs of shape \(None, 3\)"):
        VariationalAutoencoder(encoder, decoder)


# Dtypes and large values


@pytest.fixture
def restore_dtypes():
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")  # of JAX, if float64 is disabled
@pytest.mark.parametrize(
    ("floatx", "policy"),
    [
        ("bfloat16", "bfloat16"),
        ("float32", "float64"),
        ("float32", "mixed_float16"),  # whose loss is scaled
        ("float64", "mixed_bfloat16"),
    ],
)
@pytest.mark.usefixtures("restore_dtypes")
def test_a_model_trains_in_every_dtype(floatx, policy):
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    model = variational_autoencoder((4, 4, 2), bottleneck=2, filters=(2,), beta=0.5)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    images = noise((4, 4, 4, 2))
    before = model.get_weights()
    history = model.fit(images, images, verbose=0).history
    assert all(np.isfinite(np.asarray(values, "float32")).all() for values in history.values())
    assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))

    metrics = model.evaluate(images, images, verbose=0, return_dict=True)
    statistics = to_numpy(model.encoder(keras.ops.cast(images, model.compute_dtype)))
    half = {"rtol": 0.03} if "16" in floatx + policy else {"rtol": 1e-4}
    np.testing.assert_allclose(metrics["kl"], slow_divergence(statistics), **half)
    squares = np.mean((to_numpy(model(images)) - images) ** 2)
    np.testing.assert_allclose(metrics["reconstruction"], squares, **half)
    assert {str(model.divergence_tracker.dtype), str(model.reconstruction_tracker.dtype)} <= {
        "float32",
        floatx,
    } - {"float16", "bfloat16"}


def code_model(statistics):
    """A model whose encoder always returns `statistics` and whose decoder returns the code."""
    encoder = keras.Sequential([keras.Input((1, 2)), keras.layers.Flatten(), keras.layers.Dense(2)])
    encoder.set_weights([np.zeros((2, 2)), np.array(statistics)])
    decoder = keras.Sequential([keras.Input((1,)), keras.layers.Reshape((1, 1))])
    return VariationalAutoencoder(encoder, decoder, seed=0)


@pytest.mark.parametrize("logarithm", [-1000.0, -3.0, 0.0, 10.0])
def test_the_divergence_is_exact_up_to_the_bound(logarithm):
    model = code_model([2.0, logarithm])
    model.compile("sgd", "mse")
    metrics = model.evaluate(np.zeros((3, 1, 2)), np.zeros((3, 1, 1)), verbose=0, return_dict=True)
    expected = (2.0**2 + np.exp(logarithm) - 1 - logarithm) / 2
    np.testing.assert_allclose(metrics["kl"], expected, rtol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.usefixtures("restore_dtypes")
def test_variances_above_the_bound_grow_linearly_and_have_a_gradient(policy):
    """They continue along the tangent of the exponential, without a jump in value or slope."""
    keras.config.set_dtype_policy(policy)
    bound, largest = np.log(2.0**15), 2.0**15
    for logarithm in (bound + 1, 100.0, 5000.0):
        model = code_model([0.0, logarithm])

        def divergence(bias, model=model):
            with keras.StatelessScope(
                state_mapping=[(model.encoder.layers[-1].bias, bias)], collect_losses=True
            ):
                drawn = model(keras.ops.zeros((3, 1, 2)), training=True)
                return keras.ops.sum(keras.ops.stack(model.losses)), drawn

        bias = keras.ops.convert_to_tensor([0.0, logarithm])
        loss, drawn = divergence(bias)
        assert np.isfinite(to_numpy(drawn)).all()
        variance = largest * (1 + logarithm - bound)
        expected = (variance - 1 - np.log(variance)) / 2
        np.testing.assert_allclose(to_numpy(loss), expected, rtol=0.01)
        (slope,) = gradients(lambda b: divergence(b)[0], [bias], keras.ops.ones(()))
        expected = (largest - 1 / (1 + logarithm - bound)) / 2
        np.testing.assert_allclose(slope[1], expected, rtol=0.01)


def test_images_from_0_to_255_train():
    """At the start the log-variances are in the hundreds: their exponential would overflow."""
    images = 255 * np.random.default_rng(0).random((16, 4, 4, 1)).round()
    model = variational_autoencoder(
        (4, 4, 1), bottleneck=2, filters=(8,), output_activation=None, seed=0
    )
    weights = model.encoder.get_layer("code").kernel
    # Raise the log-variances into the hundreds, as large images would.
    weights.assign(to_numpy(weights) * 20)
    logarithms = model.encoder.predict(images, verbose=0)[:, 2:]
    assert logarithms.max() > 89, "the exponential must overflow float32"
    model.compile(keras.optimizers.Adam(0.01), "mse")
    history = model.fit(images, images, batch_size=8, epochs=8, verbose=0).history
    assert np.isfinite([history[name] for name in ("loss", "kl", "reconstruction")]).all()
    assert history["kl"][-1] < history["kl"][0] / 2
    assert history["reconstruction"][-1] < history["reconstruction"][0]


# Several devices


DISTRIBUTED = """
import contextlib, json, sys

import keras
import numpy as np

from keras_upsampling import variational_autoencoder

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    two_devices = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope
else:
    def two_devices():
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        return contextlib.nullcontext()

rng = np.random.default_rng(0)
images = rng.random((8, 4, 4, 1)).astype("float32")
weights = rng.random((8, 1, 1)).astype("float32")


def train(scope, loss):
    keras.utils.set_random_seed(0)
    with scope():
        model = variational_autoencoder(
            (4, 4, 1), bottleneck=2, filters=(2,), beta=3.0, activation="tanh"
        )
        model.compile(keras.optimizers.SGD(0.5), loss)
    # The noise differs between devices: tiny variances remove it.
    code = model.encoder.get_layer("code")
    bias = np.array([0.0, 0.0, -30.0, -30.0], "float32")
    code.set_weights([np.array(code.kernel) * 0.1, bias])
    metrics = [
        model.evaluate(
            images, images, batch_size=4, sample_weight=weights, verbose=0, return_dict=True
        ),
    ]
    history = model.fit(
        images, images, sample_weight=weights, batch_size=4, shuffle=False, verbose=0
    ).history
    metrics.append({name: values[0] for name, values in history.items()})
    return {
        "metrics": [{name: float(value) for name, value in row.items()} for row in metrics],
        "weights": [weight.tolist() for weight in model.get_weights()],
    }


results = [train(contextlib.nullcontext, "mse"), train(two_devices, "mse")]
print("RESULTS" + json.dumps(results))
"""


@pytest.mark.skipif(BACKEND == "torch", reason="Keras does not distribute models on PyTorch")
def test_losses_on_two_devices_equal_those_on_one():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    process = subprocess.run(
        [sys.executable, "-c", DISTRIBUTED],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    expected_run, run = json.loads(process.stdout.split("RESULTS")[1])
    for expected, metrics in zip(expected_run["metrics"], run["metrics"], strict=True):
        assert set(metrics) == {"loss", "reconstruction", "kl"}
        for name, value in expected.items():
            np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
    for expected, weights in zip(expected_run["weights"], run["weights"], strict=True):
        np.testing.assert_allclose(weights, expected, atol=1e-5)
