import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from keras_upsampling import checkerboard_score
from keras_upsampling.metrics import Checkerboard
from tests.backends import float64_allowed, to_numpy

LAST = {"data_format": "channels_last"}


def images(count=6, seed=0, stripes=0.0):
    x = np.random.default_rng(seed).normal(0.5, 0.05, (count, 24, 26, 1))
    x[:, ::2] += stripes
    return x.astype("float32")


def metric(**options):
    return Checkerboard(**{"size": 2, "data_format": "channels_last", **options})


def test_the_result_is_the_mean_of_the_ratios():
    x = np.concatenate([images(), images(3, seed=1, stripes=0.02)])
    checkerboard = metric()
    checkerboard.update_state(x, x)
    score = checkerboard_score(x, 2, data_format="channels_last")
    expected = 10 * np.log10(np.mean(10 ** (score.db / 10)))
    np.testing.assert_allclose(to_numpy(checkerboard.result()), expected, rtol=1e-4)
    details = checkerboard.details()
    np.testing.assert_allclose(details["db"], expected, rtol=1e-4)
    np.testing.assert_allclose(
        details["amplitude"], np.sqrt(np.mean(score.amplitude**2)), rtol=1e-4
    )
    np.testing.assert_allclose(details["detection_rate"], np.mean(score.detected), rtol=1e-6)
    assert details["images"] == 9


@pytest.mark.parametrize("cuts", [(), (1,), (2, 5)])
def test_merged_metrics_have_the_result_of_one(cuts):
    x = images(8, stripes=0.01)
    complete, *partials = (metric() for _ in range(len(cuts) + 2))
    complete.update_state(x, x)
    for partial, split in zip(partials, np.split(x, cuts), strict=True):
        partial.update_state(split, split)
    partials[0].merge_state(partials[1:])
    for name, value in complete.details().items():
        np.testing.assert_allclose(partials[0].details()[name], value, rtol=1e-5)


def test_metrics_with_other_arguments_are_not_merged():
    target = metric()
    for different in (metric(data_range=2.0), metric(size=4), keras.metrics.Mean()):
        with pytest.raises(ValueError, match="Only metrics that measure the same"):
            target.merge_state([metric(), different])
    assert target.details()["images"] == 0


def test_sample_weights_count_images():
    x = np.concatenate([images(2), images(2, stripes=0.1)])
    weighted, subset = metric(), metric()
    weighted.update_state(x, x, sample_weight=np.array([1.0, 1.0, 0.0, 0.0]))
    subset.update_state(x[:2], x[:2])
    np.testing.assert_allclose(to_numpy(weighted.result()), to_numpy(subset.result()), rtol=1e-5)


def test_state_is_zero_at_the_start_and_after_a_reset():
    checkerboard = metric()
    assert float(checkerboard.result()) == 0
    checkerboard.update_state(images(), images(stripes=0.1))
    assert float(checkerboard.result()) > 10
    checkerboard.reset_state()
    assert checkerboard.details() == {"db": 0, "amplitude": 0, "detection_rate": 0, "images": 0}


def test_a_reference_reveals_weaker_patterns():
    clean = images(seed=3)
    x = images(seed=3)
    x[:, ::2] += 0.01
    x += np.random.default_rng(4).normal(0, 0.002, x.shape).astype("float32")
    without, with_reference = metric(), metric(use_reference=True)
    for checkerboard in (without, with_reference):
        checkerboard.update_state(clean, x)
    assert float(with_reference.result()) > float(without.result()) + 10


def test_models_can_be_compiled_with_the_metric_and_saved(tmp_path):
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
    # The outputs of an untrained transposed convolution have a pattern.
    assert model.evaluate(x, y, verbose=0, return_dict=True)["checkerboard"] > 5
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.evaluate(x, y, verbose=0, return_dict=True)["checkerboard"],
        model.evaluate(x, y, verbose=0, return_dict=True)["checkerboard"],
        rtol=1e-3,
    )


def test_importing_the_package_registers_the_metric():
    program = "import keras, keras_upsampling as k; print(k.metrics.Checkerboard.__name__, "
    program += "keras.saving.get_registered_object('keras_upsampling>Checkerboard').__name__)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["Checkerboard", "Checkerboard"]


def test_weights_are_one_number_per_image():
    x = np.concatenate([images(2), images(2, stripes=0.1)])
    weights = np.array([1.0, 1.0, 0.0, 0.0])
    flat = metric()
    flat.update_state(x, x, sample_weight=weights)
    for axes in range(1, 4):
        column = metric()
        column.update_state(x, x, sample_weight=weights.reshape(4, *[1] * axes))
        assert column.details() == flat.details()
    for wrong in (np.ones(3), np.ones((4, 24)), np.ones((4, 1, 26)), np.ones((3, 1, 1))):
        with pytest.raises(ValueError, match=r"one weight for each of the images.* shape \("):
            flat.update_state(x, x, sample_weight=wrong)


def test_metric_and_loss_accept_the_same_weights():
    model = keras.Sequential([keras.Input((24, 26, 1)), layers.Conv2D(1, 1, **LAST)])
    model.compile("sgd", "mse", weighted_metrics=[metric()])
    weights = np.array([1.0, 2.0, 0.0, 1.0]).reshape(4, 1, 1)
    history = model.fit(images(4), images(4), sample_weight=weights, verbose=0)
    assert np.isfinite(history.history["checkerboard"]).all()


def test_reference_is_required_with_use_reference():
    x = images(2)
    with pytest.raises(ValueError, match=r"use_reference=True.*Received: y_true=None"):
        metric(use_reference=True).update_state(None, x)
    metric().update_state(None, x)
    with pytest.raises(ValueError, match="`reference` must have the shape"):
        metric(use_reference=True).update_state(x[:, :-1], x)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float64", "float64"), ("float32", "float32"), ("float16", "float32"), (None, "float32")],
)
def test_state_is_float64_if_requested_else_float32(dtype, expected):
    with float64_allowed():
        checkerboard = metric(dtype=dtype)
        checkerboard.update_state(None, images(2, stripes=0.02))
        assert {keras.backend.standardize_dtype(v.dtype) for v in checkerboard.variables} == {
            expected
        }
        exact = metric(dtype="float64")
        exact.update_state(None, images(2, stripes=0.02).astype("float64"))
        tolerance = 1e-12 if expected == "float64" else 1e-4
        np.testing.assert_allclose(
            checkerboard.details()["db"], exact.details()["db"], rtol=tolerance
        )


def test_strong_patterns_do_not_overflow_with_half_precision():
    before = keras.config.floatx()
    keras.config.set_floatx("float16")
    try:
        checkerboard = metric()
        checkerboard.update_state(None, images(2, stripes=0.5))
        assert 40 < checkerboard.details()["db"] < 200
        assert keras.backend.standardize_dtype(checkerboard.result().dtype) == "float32"
    finally:
        keras.config.set_floatx(before)


@pytest.mark.parametrize("size", [2, (2, 4), np.array([2, 4])])
def test_metric_is_restored_from_its_configuration(size):
    checkerboard = metric(size=size, use_reference=True, data_range=255, name="cb", dtype="float32")
    restored = keras.metrics.deserialize(keras.metrics.serialize(checkerboard))
    assert restored.get_config() == checkerboard.get_config()
    assert isinstance(restored, Checkerboard)


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        Checkerboard(2.0)
    with pytest.raises(ValueError, match="`size` must be 2 or more"):
        Checkerboard((1, 1))
    for data_range in (0, np.inf, np.nan):
        with pytest.raises(ValueError, match="`data_range` must be a number above 0"):
            Checkerboard(data_range=data_range)
    for data_range in ("1", None, np.ones(3), True):
        with pytest.raises(TypeError, match="`data_range` must be a number above 0"):
            Checkerboard(data_range=data_range)
    with pytest.raises(TypeError, match="`y_pred` must be real numbers"):
        metric().update_state(None, images().astype("complex64"))
    with pytest.raises(ValueError, match="needs an axis of 10 samples or more"):
        metric().update_state(images()[:, :9], images()[:, :9])


@pytest.mark.parametrize("use_reference", [False, True])
def test_an_empty_batch_adds_nothing(use_reference):
    # What a device gets if a batch has fewer images than there are devices.
    checkerboard, nothing = metric(use_reference=use_reference), images(4, stripes=0.02)[:0]
    checkerboard.update_state(nothing, nothing)
    assert checkerboard.details() == {"db": 0, "amplitude": 0, "detection_rate": 0, "images": 0}
    checkerboard.update_state(images(3), images(3))
    before = checkerboard.details()
    checkerboard.update_state(nothing, nothing)
    assert checkerboard.details() == before
