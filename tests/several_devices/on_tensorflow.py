"""Training on two devices of TensorFlow equals that on one. `test_engines.py` runs this file."""

import numpy as np
import pytest
import tensorflow as tf

from tests.several_devices.common import (
    BATCH_SIZE,
    EPOCHS,
    assert_same_training,
    chain,
    chain_data,
    digits_model,
    import_program,
    normalization,
    plain,
    train_by_program,
)


@pytest.fixture(scope="module")
def program():
    return import_program("several_devices_tensorflow")


@pytest.fixture(scope="module")
def two_devices(program):
    return program.all_devices()


def test_the_program_trains_as_on_one_device(program, two_devices, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(program, "all_devices", lambda: two_devices)
    digits, history = train_by_program(program, 15, tmp_path / "digits.npz", monkeypatch)
    assert "CPU:0, /job:localhost/replica:0/task:0/device:CPU:1\n" in capsys.readouterr().out
    one = digits_model()
    kept = digits[:14]
    expected = one.fit(kept, kept, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
    assert_same_training(
        history.history, history.model.get_weights(), expected.history, one.get_weights()
    )


def test_other_layers_train_as_on_one_device(two_devices):
    one = chain()
    expected = one.fit(*chain_data(), batch_size=8, verbose=0)
    with two_devices.scope():
        two = chain()
    history = two.fit(*chain_data(), batch_size=8, verbose=0)
    assert_same_training(history.history, two.get_weights(), expected.history, one.get_weights())


def test_parts_of_different_lengths_weigh_the_same_as_in_a_plain_model(two_devices):
    # The guide says so. Once Keras weighs them by their lengths, the guide and the program change.
    x = np.random.default_rng(0).random((7, 6, 6, 1)).astype("float32")
    x[6] += 1  # alone in its part
    one = plain()
    one.fit(x, x / 2, batch_size=4, shuffle=False, verbose=0)
    with two_devices.scope():
        two = plain()
    two.fit(x, x / 2, batch_size=4, shuffle=False, verbose=0)
    pairs = zip(one.get_weights(), two.get_weights(), strict=True)
    assert max(abs(a - b).max() for a, b in pairs) > 1e-3


def test_a_first_batch_that_does_not_divide_is_refused(two_devices):
    x = np.zeros((7, 6, 6, 1), "float32")
    with two_devices.scope():
        model = plain()
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.fit(x, x, batch_size=7, verbose=0)


def test_batch_normalization_takes_the_statistics_of_parts(two_devices):
    with two_devices.scope():
        model, layer, x = normalization()
    model.fit(x, x, batch_size=8, shuffle=False, verbose=0)
    # What is kept, and saved, is that of the first part.
    np.testing.assert_allclose(layer.moving_variance, x[:4].var(axis=0), rtol=1e-5)
