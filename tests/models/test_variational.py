import json

import keras
import numpy as np
import pytest

from keras_upsampling import variational_autoencoder
from keras_upsampling.models import VariationalAutoencoder
from tests.backends import evaluate, to_numpy

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
