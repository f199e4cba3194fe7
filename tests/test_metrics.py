import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from keras_upsampling import checkerboard_score
from keras_upsampling.metrics import Checkerboard
from tests.backends import to_numpy


def images(count=6, seed=0, stripes=0.0):
    x = np.random.default_rng(seed).normal(0.5, 0.05, (count, 24, 26, 1))
    x[:, ::2] += stripes
    return x.astype("float32")


def metric(**options):
    return Checkerboard(**{"size": 2, "data_format": "channels_last", **options})


def test_the_result_is_the_mean_of_the_ratios():
    x = np.concatenate([images(), images(3, seed=1, stripes=0.02)])
    one = metric()
    one.update_state(x, x)
    score = checkerboard_score(x, 2, data_format="channels_last")
    expected = 10 * np.log10(np.mean(10 ** (score.db / 10)))
    np.testing.assert_allclose(to_numpy(one.result()), expected, rtol=1e-4)
    details = one.details()
    np.testing.assert_allclose(details["db"], expected, rtol=1e-4)
    np.testing.assert_allclose(
        details["amplitude"], np.sqrt(np.mean(score.amplitude**2)), rtol=1e-4
    )
    np.testing.assert_allclose(details["detection_rate"], np.mean(score.detected), rtol=1e-6)
    assert details["images"] == 9


@pytest.mark.parametrize("cuts", [(), (1,), (2, 5)])
def test_merged_parts_give_the_whole(cuts):
    x = images(8, stripes=0.01)
    whole, *parts = (metric() for _ in range(len(cuts) + 2))
    whole.update_state(x, x)
    for one, part in zip(parts, np.split(x, cuts), strict=True):
        one.update_state(part, part)
    parts[0].merge_state(parts[1:])
    for name, value in whole.details().items():
        np.testing.assert_allclose(parts[0].details()[name], value, rtol=1e-5)


def test_what_measures_something_else_is_not_merged():
    one = metric()
    for other in (metric(data_range=2.0), metric(size=4), keras.metrics.Mean()):
        with pytest.raises(ValueError, match="Only metrics that measure the same"):
            one.merge_state([metric(), other])
    assert one.details()["images"] == 0


def test_sample_weights_count_images():
    x = np.concatenate([images(2), images(2, stripes=0.1)])
    weighted, few = metric(), metric()
    weighted.update_state(x, x, sample_weight=np.array([1.0, 1.0, 0.0, 0.0]))
    few.update_state(x[:2], x[:2])
    np.testing.assert_allclose(to_numpy(weighted.result()), to_numpy(few.result()), rtol=1e-5)


def test_it_starts_and_starts_again_at_nothing():
    one = metric()
    assert float(one.result()) == 0
    one.update_state(images(), images(stripes=0.1))
    assert float(one.result()) > 10
    one.reset_state()
    assert one.details() == {"db": 0, "amplitude": 0, "detection_rate": 0, "images": 0}


def test_a_reference_shows_weaker_patterns():
    clean = images(seed=3)
    x = images(seed=3)
    x[:, ::2] += 0.01
    x += np.random.default_rng(4).normal(0, 0.002, x.shape).astype("float32")
    alone, compared = metric(), metric(use_reference=True)
    for one in (alone, compared):
        one.update_state(clean, x)
    assert float(compared.result()) > float(alone.result()) + 10


def test_models_are_compiled_with_it_and_saved(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((12, 13, 1)),
            layers.Conv2DTranspose(1, 3, strides=2, padding="same", data_format="channels_last"),
        ]
    )
    model.compile("sgd", "mse", metrics=[metric()])
    x, y = images()[:, ::2, ::2], images()
    history = model.fit(x, y, verbose=0)
    assert np.isfinite(history.history["checkerboard"]).all()
    # An untrained transposed convolution has a pattern in all it makes.
    assert model.evaluate(x, y, verbose=0, return_dict=True)["checkerboard"] > 5
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.evaluate(x, y, verbose=0, return_dict=True)["checkerboard"],
        model.evaluate(x, y, verbose=0, return_dict=True)["checkerboard"],
        rtol=1e-3,
    )


def test_importing_the_package_is_enough_to_load_it():
    program = "import keras, keras_upsampling as k; print(k.metrics.Checkerboard.__name__, "
    program += "keras.saving.get_registered_object('keras_upsampling>Checkerboard').__name__)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["Checkerboard", "Checkerboard"]


def test_weights_are_one_for_each_image():
    x = np.concatenate([images(2), images(2, stripes=0.1)])
    flat, column = metric(), metric()
    flat.update_state(x, x, sample_weight=np.array([1.0, 1.0, 0.0, 0.0]))
    column.update_state(x, x, sample_weight=np.array([[1.0], [1.0], [0.0], [0.0]]))
    assert column.details() == flat.details()
    for wrong in (np.ones(3), np.ones((4, 24))):
        with pytest.raises(ValueError, match=r"one weight for each of the images.* shape \("):
            flat.update_state(x, x, sample_weight=wrong)


@pytest.mark.parametrize("size", [2, (2, 4), np.array([2, 4])])
def test_the_configuration_makes_it_again(size):
    one = metric(size=size, use_reference=True, data_range=255, name="cb", dtype="float32")
    again = keras.metrics.deserialize(keras.metrics.serialize(one))
    assert again.get_config() == one.get_config()
    assert isinstance(again, Checkerboard)


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        Checkerboard(2.0)
    with pytest.raises(ValueError, match="`size` must be 2 or more"):
        Checkerboard((1, 1))
    for data_range in (0, np.inf, np.nan):
        with pytest.raises(ValueError, match="`data_range` must be positive and finite"):
            Checkerboard(data_range=data_range)
    with pytest.raises(ValueError, match="needs an axis of 10 samples or more"):
        metric().update_state(images()[:, :9], images()[:, :9])
