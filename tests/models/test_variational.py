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
    """Mean over a batch of the Gaussians' divergence from the normal, from the definition."""
    means, logarithms = np.split(statistics.astype("float64"), 2, axis=axis)
    variances = np.exp(logarithms)
    each = 0.5 * (means**2 + variances - 1) - 0.5 * np.log(variances)
    return each.reshape(len(each), -1).sum(axis=1).mean()


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
    found = model.evaluate(images, images, batch_size=4, verbose=0, return_dict=True)
    predicted = model.predict(images, verbose=0)
    assert predicted.shape == images.shape

    statistics = model.encoder.predict(images, verbose=0)
    axis = 1 if data_format == "channels_first" or bottleneck else -1
    kl = slow_divergence(statistics, axis)
    squares = np.mean((predicted.astype("float64") - images) ** 2)
    np.testing.assert_allclose(found["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(found["reconstruction"], squares, rtol=1e-4)
    np.testing.assert_allclose(found["loss"], squares + 0.5 * kl / np.prod(shape), rtol=1e-4)
    means = np.split(statistics, 2, axis=axis)[0]
    np.testing.assert_allclose(to_numpy(model.encode(images)), means, atol=1e-6)
    np.testing.assert_allclose(to_numpy(model.decode(means)), predicted, atol=1e-6)


def test_what_regularizers_add_is_in_neither_part():
    model = variational_autoencoder((6, 6, 1), bottleneck=2, filters=(3,))
    penalised = model.decoder.get_layer("map").kernel
    penalised.regularizer = keras.regularizers.L2(1.0)
    model.compile("sgd", "mse")
    images = noise((4, 6, 6, 1))
    found = model.evaluate(images, images, verbose=0, return_dict=True)
    kl = slow_divergence(model.encoder.predict(images, verbose=0))
    squares = np.mean((model.predict(images, verbose=0) - images) ** 2)
    penalty = np.sum(to_numpy(penalised) ** 2)
    np.testing.assert_allclose(found["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(found["reconstruction"], squares, rtol=1e-4)
    np.testing.assert_allclose(found["loss"], squares + kl / 36 + penalty, rtol=1e-4)


def test_it_trains_saves_and_loads(tmp_path):
    model = variational_autoencoder((7, 6, 1), bottleneck=2, beta=0.1, seed=3, **OPTIONS)
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    images = noise((8, 7, 6, 1)) / 4
    history = model.fit(images, images, epochs=6, batch_size=4, verbose=0).history
    assert set(history) == {"loss", "reconstruction", "kl"}
    assert history["loss"][-1] < history["loss"][0]

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(again) is VariationalAutoencoder
    assert again.beta == 0.1
    assert again.seed == 3
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    again.fit(images, images, verbose=0)


def test_the_divergence_pulls_codes_to_the_normal():
    images = noise((16, 4, 4, 1))
    ends = {}
    for beta in (1e-3, 10.0):
        keras.utils.set_random_seed(0)
        model = variational_autoencoder((4, 4, 1), bottleneck=2, beta=beta, filters=(4,), seed=0)
        model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
        ends[beta] = model.fit(images, images, epochs=15, verbose=0).history["kl"][-1]
    assert ends[10.0] < ends[1e-3] / 2


def test_codes_are_drawn_while_training_only():
    model = variational_autoencoder((4, 4, 1), bottleneck=2, filters=(4,))
    images = noise((2, 4, 4, 1))
    first, second = (to_numpy(model(images, training=True)) for _ in range(2))
    assert np.any(first != second)
    np.testing.assert_array_equal(to_numpy(model(images)), to_numpy(model(images)))


def test_the_draws_have_the_codes_variance():
    """With a decoder that hands codes through, outputs are codes."""
    encoder = keras.Sequential([keras.Input((1, 2)), keras.layers.Flatten(), keras.layers.Dense(4)])
    encoder.set_weights([np.zeros((2, 4)), np.array([1.0, -2.0, np.log(4.0), np.log(0.25)])])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Reshape((1, 2))])
    model = VariationalAutoencoder(encoder, decoder, seed=0)
    draws = to_numpy(
        evaluate(lambda x: model(x, training=True), np.zeros((20000, 1, 2), "float32"))
    )
    np.testing.assert_allclose(draws.mean(axis=(0, 1)), [1, -2], atol=0.06)
    np.testing.assert_allclose(draws.std(axis=(0, 1)), [2, 0.5], rtol=0.03)


def test_samples():
    model = variational_autoencoder((7, 5, 1), bottleneck=2, filters=(4,))
    samples = to_numpy(model.sample(3, seed=1))
    assert samples.shape == (3, 7, 5, 1)
    np.testing.assert_array_equal(to_numpy(model.sample(3, seed=1)), samples)
    assert np.any(to_numpy(model.sample(3, seed=2)) != samples)
    map_code = variational_autoencoder((7, 5, 1), bottleneck=None, filters=(4,))
    assert tuple(map_code.sample(2).shape) == (2, 7, 5, 1)


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (ValueError, "`beta` must be a number above 0", {"beta": 0}),
        (ValueError, "`beta` must be a number above 0", {"beta": float("nan")}),
        (TypeError, "`beta` must be a number above 0", {"beta": "1"}),
        (ValueError, "A code of 16 numbers needs maps of one size", {"input_shape": (None, 4, 1)}),
    ],
)
def test_bad_plans_are_refused(error, message, make):
    with pytest.raises(error, match=message):
        variational_autoencoder(**{"input_shape": (4, 4, 1), "filters": (2,), **make})


def test_samples_of_no_size_are_refused():
    model = variational_autoencoder((None, 4, 1), bottleneck=None, filters=(2,))
    with pytest.raises(ValueError, match=r"Draw codes .* of shape \(3, None, 2, 2\)"):
        model.sample(3)
    with pytest.raises(ValueError, match="`n` must be a positive integer"):
        model.sample(0)


def test_outputs_of_another_number_of_values_than_inputs():
    encoder = keras.Sequential([keras.Input((8, 2)), keras.layers.Flatten(), keras.layers.Dense(4)])
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(8), keras.layers.Reshape((8, 1))]
    )
    model = VariationalAutoencoder(encoder, decoder)
    model.compile("sgd", "mse")
    signals = noise((4, 8, 2))
    found = model.evaluate(signals, signals[..., :1], verbose=0, return_dict=True)
    kl = slow_divergence(encoder.predict(signals, verbose=0))
    np.testing.assert_allclose(found["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(found["loss"], found["reconstruction"] + kl / 8, rtol=1e-4)


def test_an_odd_number_of_statistics_is_refused():
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="a mean and a logarithm of the variance for each"):
        VariationalAutoencoder(encoder, decoder)


def test_a_decoder_for_other_codes_is_refused():
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])
    decoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match=r"outputs of shape \(None, 3\)"):
        VariationalAutoencoder(encoder, decoder)


# Numbers that dtypes hold


@pytest.fixture
def dtypes_set_back():
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")  # JAX's, where it has no float64
@pytest.mark.parametrize(
    ("floatx", "policy"),
    [
        ("bfloat16", "bfloat16"),
        ("float32", "float64"),
        ("float32", "mixed_float16"),  # whose loss is scaled
        ("float64", "mixed_bfloat16"),
    ],
)
@pytest.mark.usefixtures("dtypes_set_back")
def test_it_trains_in_every_dtype(floatx, policy):
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    model = variational_autoencoder((4, 4, 2), bottleneck=2, filters=(2,), beta=0.5)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    images = noise((4, 4, 4, 2))
    before = model.get_weights()
    history = model.fit(images, images, verbose=0).history
    assert all(np.isfinite(np.asarray(values, "float32")).all() for values in history.values())
    assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))

    found = model.evaluate(images, images, verbose=0, return_dict=True)
    statistics = to_numpy(model.encoder(keras.ops.cast(images, model.compute_dtype)))
    half = {"rtol": 0.03} if "16" in floatx + policy else {"rtol": 1e-4}
    np.testing.assert_allclose(found["kl"], slow_divergence(statistics), **half)
    squares = np.mean((to_numpy(model(images)) - images) ** 2)
    np.testing.assert_allclose(found["reconstruction"], squares, **half)
    assert {str(model.divergence_tracker.dtype), str(model.reconstruction_tracker.dtype)} <= {
        "float32",
        floatx,
    } - {"float16", "bfloat16"}


def coder(statistics):
    """A model of codes alone: it takes the means and logarithms, and decodes to the codes."""
    encoder = keras.Sequential([keras.Input((1, 2)), keras.layers.Flatten(), keras.layers.Dense(2)])
    encoder.set_weights([np.zeros((2, 2)), np.array(statistics)])
    decoder = keras.Sequential([keras.Input((1,)), keras.layers.Reshape((1, 1))])
    return VariationalAutoencoder(encoder, decoder, seed=0)


@pytest.mark.parametrize("logarithm", [-1000.0, -3.0, 0.0, 10.0])
def test_the_divergence_is_exact_up_to_the_bound(logarithm):
    model = coder([2.0, logarithm])
    model.compile("sgd", "mse")
    found = model.evaluate(np.zeros((3, 1, 2)), np.zeros((3, 1, 1)), verbose=0, return_dict=True)
    expected = (2.0**2 + np.exp(logarithm) - 1 - logarithm) / 2
    np.testing.assert_allclose(found["kl"], expected, rtol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.usefixtures("dtypes_set_back")
def test_variances_past_the_bound_go_on_as_a_line_and_have_a_gradient(policy):
    """The tangent of the exponential at the bound, so values and slopes have no jump there."""
    keras.config.set_dtype_policy(policy)
    bound, largest = np.log(2.0**15), 2.0**15
    for logarithm in (bound + 1, 100.0, 5000.0):
        model = coder([0.0, logarithm])

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


def test_pictures_from_0_to_255_train():
    """Their statistics are hundreds as the training begins: the exponential overflowed."""
    images = 255 * np.random.default_rng(0).random((16, 4, 4, 1)).round()
    model = variational_autoencoder(
        (4, 4, 1), bottleneck=2, filters=(8,), output_activation=None, seed=0
    )
    weights = model.encoder.get_layer("code").kernel
    weights.assign(to_numpy(weights) * 20)  # hundreds with so few pixels too
    logarithms = model.encoder.predict(images, verbose=0)[:, 2:]
    assert logarithms.max() > 89, "float32 holds no exponential of this"
    model.compile(keras.optimizers.Adam(0.01), "mse")
    history = model.fit(images, images, batch_size=8, epochs=8, verbose=0).history
    assert np.isfinite([history[name] for name in ("loss", "kl", "reconstruction")]).all()
    assert history["kl"][-1] < history["kl"][0] / 2
    assert history["reconstruction"][-1] < history["reconstruction"][0]


# Over several devices


PARTED = """
import contextlib, json, sys

import keras
import numpy as np

from keras_upsampling import variational_autoencoder

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope
else:
    def both():
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        return contextlib.nullcontext()

rng = np.random.default_rng(0)
images = rng.random((8, 4, 4, 1)).astype("float32")
weights = rng.random((8, 1, 1)).astype("float32")


def numbers(scope, loss):
    keras.utils.set_random_seed(0)
    with scope():
        model = variational_autoencoder(
            (4, 4, 1), bottleneck=2, filters=(2,), beta=3.0, activation="tanh"
        )
        model.compile(keras.optimizers.SGD(0.5), loss)
    # The noise differs, so the codes get none.
    code = model.encoder.get_layer("code")
    bias = np.array([0.0, 0.0, -30.0, -30.0], "float32")
    code.set_weights([np.array(code.kernel) * 0.1, bias])
    found = [
        model.evaluate(
            images, images, batch_size=4, sample_weight=weights, verbose=0, return_dict=True
        ),
    ]
    history = model.fit(
        images, images, sample_weight=weights, batch_size=4, shuffle=False, verbose=0
    ).history
    found.append({name: values[0] for name, values in history.items()})
    return {
        "numbers": [{name: float(value) for name, value in one.items()} for one in found],
        "weights": [weight.tolist() for weight in model.get_weights()],
    }


results = [numbers(contextlib.nullcontext, "mse"), numbers(both, "mse")]
print("RESULTS" + json.dumps(results))
"""


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no such strategy on PyTorch")
def test_numbers_over_two_devices_are_those_of_one():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run(
        [sys.executable, "-c", PARTED],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = json.loads(done.stdout.split("RESULTS")[1])
    for expected, found in zip(one["numbers"], two["numbers"], strict=True):
        assert set(found) == {"loss", "reconstruction", "kl"}
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)
    for expected, found in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
