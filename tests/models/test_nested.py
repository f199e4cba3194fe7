"""Autoencoders in files, as whole models and as layers of other models."""

import copy
import io
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_upsampling import audit, autoencoder, repair, variational_autoencoder
from keras_upsampling.models import Autoencoder
from tests.backends import evaluate, to_numpy

SHAPE = (5, 4, 2)
SAVED = Path(__file__).parents[1] / "data" / "autoencoders_0.1.0.zip"


@keras.saving.register_keras_serializable(package="tests")
class Holder(keras.Model):
    """A subclassed model that calls its `held` model twice."""

    def __init__(self, held, **kwargs):
        super().__init__(**kwargs)
        self.held = held
        self.between = keras.layers.Dense(2)

    def call(self, inputs):
        return self.held(self.between(self.held(inputs)))

    def get_config(self):
        return {"name": self.name, "held": keras.saving.serialize_keras_object(self.held)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "held": keras.saving.deserialize_keras_object(config["held"])})


def small_model(factory=autoencoder, **options):
    shape = options.pop("shape", SHAPE)
    return factory(shape, **{"filters": (2,), "bottleneck": None, **options})


def functional_model(*models):
    """Return a functional model that calls `models` in order, with a dense layer after each."""
    outputs = inputs = keras.Input(SHAPE)
    for model in models:
        outputs = keras.layers.Dense(2)(model(outputs))
    return keras.Model(inputs, outputs)


def model_shared_at_two_depths():
    shared = small_model(variational_autoencoder)
    inner = functional_model(shared, shared)
    inputs = keras.Input(SHAPE)
    both = keras.layers.Concatenate()([inner(inputs), keras.layers.Dense(2)(inputs)])
    return keras.Model(inputs, inner(inner(keras.layers.Dense(2)(both))))


def model_with_two_outputs():
    inputs = keras.Input(SHAPE)
    model = small_model(shape=(None, None, 2), upsampling="subpixel_conv")
    first = model(inputs)
    second = model(keras.layers.Dense(2)(first))
    return keras.Model(inputs, [second, first])


def subclassed_model():
    model = Holder(small_model())
    model(keras.Input(SHAPE))
    return model


def model_called_before():
    """The first call of the autoencoder is in another graph."""
    model = small_model(variational_autoencoder)
    model(keras.layers.Dense(2)(keras.Input(SHAPE)))
    return functional_model(model)


MODELS = {
    "alone": lambda: small_model(variational_autoencoder, bottleneck=2),
    "twice": lambda: functional_model(*[small_model()] * 2),
    "sequential": lambda: keras.Sequential(
        [
            keras.Input(SHAPE),
            small_model(),
            keras.layers.Dense(2),
            small_model(variational_autoencoder),
        ]
    ),
    "shared at two depths": model_shared_at_two_depths,
    "two outputs": model_with_two_outputs,
    "in a subclassed model in a functional one": lambda: functional_model(subclassed_model()),
    "called before": model_called_before,
}


def saved_and_loaded(model, path):
    model.save(path / "model.keras")
    return keras.saving.load_model(path / "model.keras", safe_mode=True)


def with_weights_of(model, restored, path):
    model.save_weights(path / "model.weights.h5")
    restored.load_weights(path / "model.weights.h5")
    return restored


COPIERS = {
    "file": saved_and_loaded,
    "json": lambda model, path: with_weights_of(
        model, keras.models.model_from_json(model.to_json()), path
    ),
    "clone": lambda model, path: with_weights_of(model, keras.models.clone_model(model), path),
}


def outputs_of(model, x):
    return [to_numpy(y) for y in keras.tree.flatten(evaluate(model, x))]


@pytest.mark.parametrize("name", MODELS)
def test_copies_of_every_kind_compute_the_same(name, tmp_path):
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    x = np.random.default_rng(0).random((2, *SHAPE)).astype("float32")
    expected = outputs_of(model, x)
    for kind, copy_model in COPIERS.items():
        restored = copy_model(model, tmp_path)
        assert restored is not model
        for output, expected_output in zip(outputs_of(restored, x), expected, strict=True):
            np.testing.assert_allclose(output, expected_output, atol=1e-6, err_msg=kind)


def test_a_nested_model_is_copied_and_repaired():
    inputs = keras.Input(SHAPE)
    model = small_model(upsampling="transposed")
    outer = keras.Model(inputs, model(keras.layers.Dense(2)(model(inputs))))
    x = np.random.default_rng(0).random((2, *SHAPE)).astype("float32")
    expected = outputs_of(outer, x)[0]
    np.testing.assert_allclose(outputs_of(copy.deepcopy(outer), x)[0], expected, atol=1e-6)
    repaired = repair(outer, x)
    assert [move.layer for move in repaired.moves] == ["autoencoder/decoder/up_1_conv"]
    assert repaired.moves[0].gain_after < 1e-5 < repaired.moves[0].gain_before
    np.testing.assert_allclose(outputs_of(outer, x)[0], expected)


def test_training_continues_from_a_file(tmp_path):
    model = functional_model(*[small_model(variational_autoencoder)] * 2)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    x = np.random.default_rng(0).random((4, *SHAPE)).astype("float32")
    model.fit(x, x, verbose=0)
    restored = saved_and_loaded(model, tmp_path)
    for restored_weight, weight in zip(
        restored.optimizer.variables, model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(to_numpy(restored_weight), to_numpy(weight))
    for trained_model in (model, restored):
        for seed in seeds_of(trained_model):
            seed.assign(np.zeros(seed.shape))
        trained_model.fit(x, x, shuffle=False, verbose=0)
    for restored_weight, weight in zip(restored.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(restored_weight, weight, atol=1e-6)


def seeds_of(model):
    return [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]


@pytest.mark.parametrize("name", ["autoencoder", "variational", "around"])
def test_files_of_version_0_1_0_load(name, tmp_path):
    """In version 0.1.0 an autoencoder called itself in `__init__`. "around" calls one twice."""
    with zipfile.ZipFile(SAVED) as archive:
        archive.extractall(tmp_path)
    model = keras.saving.load_model(tmp_path / f"{name}.keras", safe_mode=True)
    x = np.random.default_rng(0).random((2, 7, 6, 1)).astype("float32")
    expected = np.load(io.BytesIO((tmp_path / f"{name}.npy").read_bytes()))
    np.testing.assert_allclose(to_numpy(evaluate(model, x)), expected, atol=1e-5)


def test_weights_of_version_0_1_0_load(tmp_path):
    with zipfile.ZipFile(SAVED) as archive:
        archive.extractall(tmp_path)
    model = autoencoder((7, 6, 1), filters=(2, 3), normalization="batch")
    model.load_weights(tmp_path / "autoencoder.weights.h5")
    x = np.random.default_rng(0).random((2, 7, 6, 1)).astype("float32")
    expected = np.load(io.BytesIO((tmp_path / "autoencoder.npy").read_bytes()))
    np.testing.assert_allclose(to_numpy(evaluate(model, x)), expected, atol=1e-5)


# Models that have not been called.


def test_inputs_and_outputs_before_any_call():
    model = small_model()
    functional = keras.Model(model.input, model.output)
    assert functional.output_shape == model.output_shape == (None, *SHAPE)
    assert model.output is model.output
    x = np.random.default_rng(0).random((2, *SHAPE)).astype("float32")
    np.testing.assert_allclose(to_numpy(evaluate(functional, x)), to_numpy(evaluate(model, x)))


def test_inputs_and_outputs_after_the_first_call():
    model = small_model()
    inputs = keras.Input(SHAPE)
    outputs = model(inputs)
    keras.Model(inputs, keras.layers.Dense(1)(outputs))
    assert model.input is inputs
    assert model.output is outputs


def test_a_model_is_audited_before_any_call():
    report = audit(autoencoder((8, 8, 1), filters=(4,), upsampling="transposed"))
    assert [layer.layer for layer in report.layers if layer.enlarges] == ["decoder/up_1_conv"]


def test_the_decoder_is_in_the_summary_before_any_call():
    lines = []
    small_model().summary(print_fn=lines.append)
    assert "decoder" in "\n".join(lines)


def test_custom_layers_are_saved_and_loaded(tmp_path):
    """The functions are called once, and the file contains the layers."""
    model = autoencoder(
        SHAPE,
        filters=(2,),
        upsampling=lambda filters, size, name: keras.layers.Conv2DTranspose(
            filters, 4, strides=size, padding="same", name=name
        ),
        downsampling=lambda filters, size, name: keras.layers.Conv2D(
            filters, 3, strides=size, padding="same", name=name
        ),
        activation=keras.activations.gelu,
        name="mine",
    )
    outer = functional_model(model, model)
    restored = saved_and_loaded(outer, tmp_path)
    nested = next(layer for layer in restored.layers if isinstance(layer, Autoencoder))
    assert nested.name == "mine"
    assert isinstance(nested.decoder.get_layer("up_1"), keras.layers.Conv2DTranspose)
    x = np.random.default_rng(0).random((2, *SHAPE)).astype("float32")
    np.testing.assert_allclose(to_numpy(evaluate(restored, x)), to_numpy(evaluate(outer, x)))
