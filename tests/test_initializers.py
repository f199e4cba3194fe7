import json

import keras
import numpy as np
import pytest
from keras import initializers, layers

from keras_upsampling.initializers import ICNR
from tests.backends import to_numpy


@pytest.mark.parametrize(
    ("size", "shape"),
    [(3, (5, 2, 6)), (2, (3, 3, 2, 12)), ((2, 3), (3, 2, 2, 12)), ((1, 2, 2), (2, 1, 3, 2, 8))],
)
def test_every_phase_is_the_kernel_of_the_inner_initializer(size, shape):
    found = to_numpy(ICNR(initializers.HeNormal(seed=1), size)(shape))
    phases = np.prod(size) if isinstance(size, tuple) else size ** (len(shape) - 2)
    filters = shape[-1] // phases
    shared = to_numpy(initializers.HeNormal(seed=1)((*shape[:-1], filters)))
    assert found.shape == shape
    for phase in range(phases):
        part = found[..., phase * filters : (phase + 1) * filters]
        np.testing.assert_array_equal(part, shared)


def test_the_fan_out_is_counted_without_the_phases():
    inner = initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=0)
    kernel = to_numpy(ICNR(inner, 2)((3, 3, 16, 4 * 32)))
    assert kernel.var() == pytest.approx(2 / (3 * 3 * 32), rel=0.1)


def test_a_bias_is_tied_as_well_and_needs_one_size_per_axis():
    found = to_numpy(ICNR(initializers.RandomNormal(seed=1), (2, 2))((12,)))
    np.testing.assert_array_equal(found.reshape(4, 3), [found[:3]] * 4)
    assert len(set(found)) == 3
    with pytest.raises(ValueError, match=r"one integer per axis.* write size=\(2, 2\)"):
        ICNR("zeros", 2)((12,))


def test_the_dtype_is_the_one_that_is_asked_for():
    found = ICNR("zeros", 2)((3, 3, 1, 4), dtype="float16")
    assert keras.backend.standardize_dtype(found.dtype) == "float16"


def test_seeds_are_those_of_the_inner_initializer():
    shape = (3, 3, 2, 8)
    for make in (lambda: ICNR(initializers.GlorotUniform(seed=3)), ICNR):
        keras.utils.set_random_seed(0)
        first = make()
        keras.utils.set_random_seed(0)
        np.testing.assert_array_equal(to_numpy(first(shape)), to_numpy(make()(shape)))
    drawing = ICNR(initializers.GlorotUniform(seed=keras.random.SeedGenerator(3)))
    assert not np.array_equal(to_numpy(drawing(shape)), to_numpy(drawing(shape)))


@pytest.mark.parametrize("size", [2, (2, 3)])
def test_it_is_what_it_was_after_a_trip_through_its_configuration(size):
    one = ICNR(initializers.HeNormal(seed=3), size)
    config = json.loads(json.dumps(initializers.serialize(one)))
    assert config["registered_name"] == "keras_upsampling>ICNR"
    shape = (3, 3, 2, 12)
    for other in (initializers.get(config), one.clone(), ICNR.from_config(one.get_config())):
        assert other is not one
        assert other.get_config() == one.get_config()
        np.testing.assert_array_equal(to_numpy(other(shape)), to_numpy(one(shape)))


def test_keras_layers_take_it_and_save_it(tmp_path):
    layer = layers.Conv2D(8, 3, kernel_initializer=ICNR("he_normal"))
    model = keras.Sequential([keras.Input((4, 4, 2)), layer])
    kernel = to_numpy(layer.kernel).reshape(3, 3, 2, 4, 2)
    np.testing.assert_array_equal(kernel, kernel[..., :1, :].repeat(4, axis=3))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert isinstance(again.layers[0].kernel_initializer, ICNR)


def test_what_cannot_be_tied_is_refused():
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        ICNR("zeros", 2.0)
    with pytest.raises(ValueError, match=r"`size` must be a positive integer.* use 1 or more"):
        ICNR("zeros", (2, 0))
    with pytest.raises(ValueError, match="Could not interpret initializer identifier: nothing"):
        ICNR("nothing")
    with pytest.raises(ValueError, match="Received: initializer=None; for example"):
        ICNR(None)
    with pytest.raises(ValueError, match=r"the 4 phases of size=2.* shape \(3, 3, 1, 6\)"):
        ICNR("zeros", 2)((3, 3, 1, 6))
    with pytest.raises(ValueError, match="`size` must be a positive integer, or 2 of them"):
        ICNR("zeros", (2, 2, 2))((3, 3, 1, 8))
    with pytest.raises(ValueError, match=r"one to three axes of taps.* shape \(4, 8\)"):
        ICNR("zeros", 2)((4, 8))
