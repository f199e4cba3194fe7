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
def test_every_phase_equals_kernel_of_inner_initializer(size, shape):
    kernel = to_numpy(ICNR(initializers.HeNormal(seed=1), size)(shape))
    phases = np.prod(size) if isinstance(size, tuple) else size ** (len(shape) - 2)
    filters = shape[-1] // phases
    shared = to_numpy(initializers.HeNormal(seed=1)((*shape[:-1], filters)))
    assert kernel.shape == shape
    for phase in range(phases):
        polyphase = kernel[..., phase * filters : (phase + 1) * filters]
        np.testing.assert_array_equal(polyphase, shared)


def test_fan_out_does_not_count_phases():
    inner = initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=0)
    kernel = to_numpy(ICNR(inner, 2)((3, 3, 16, 4 * 32)))
    assert kernel.var() == pytest.approx(2 / (3 * 3 * 32), rel=0.1)


def test_bias_has_equal_phases_and_needs_one_size_per_axis():
    bias = to_numpy(ICNR(initializers.RandomNormal(seed=1), (2, 2))((12,)))
    np.testing.assert_array_equal(bias.reshape(4, 3), [bias[:3]] * 4)
    assert len(set(bias)) == 3
    with pytest.raises(ValueError, match=r"one integer per axis.* Use size=\(2, 2\)"):
        ICNR("zeros", 2)((12,))


def test_kernel_has_requested_dtype():
    kernel = ICNR("zeros", 2)((3, 3, 1, 4), dtype="float16")
    assert keras.backend.standardize_dtype(kernel.dtype) == "float16"


def test_seeds_are_those_of_inner_initializer():
    shape = (3, 3, 2, 8)
    for create in (lambda: ICNR(initializers.GlorotUniform(seed=3)), ICNR):
        keras.utils.set_random_seed(0)
        first = create()
        keras.utils.set_random_seed(0)
        np.testing.assert_array_equal(to_numpy(first(shape)), to_numpy(create()(shape)))
    unseeded = ICNR(initializers.GlorotUniform(seed=keras.random.SeedGenerator(3)))
    assert not np.array_equal(to_numpy(unseeded(shape)), to_numpy(unseeded(shape)))


@pytest.mark.parametrize("size", [2, (2, 3)])
def test_config_round_trip_restores_initializer(size):
    original = ICNR(initializers.HeNormal(seed=3), size)
    config = json.loads(json.dumps(initializers.serialize(original)))
    assert config["registered_name"] == "keras_upsampling>ICNR"
    shape = (3, 3, 2, 12)
    from_config = ICNR.from_config(original.get_config())
    for restored in (initializers.get(config), original.clone(), from_config):
        assert restored is not original
        assert restored.get_config() == original.get_config()
        np.testing.assert_array_equal(to_numpy(restored(shape)), to_numpy(original(shape)))


def test_keras_layer_uses_and_saves_initializer(tmp_path):
    layer = layers.Conv2D(8, 3, kernel_initializer=ICNR("he_normal"))
    model = keras.Sequential([keras.Input((4, 4, 2)), layer])
    kernel = to_numpy(layer.kernel).reshape(3, 3, 2, 4, 2)
    np.testing.assert_array_equal(kernel, kernel[..., :1, :].repeat(4, axis=3))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert isinstance(loaded.layers[0].kernel_initializer, ICNR)


def test_invalid_arguments_and_shapes_raise():
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        ICNR("zeros", 2.0)
    with pytest.raises(ValueError, match=r"`size` must be a positive integer.* use 1 or more"):
        ICNR("zeros", (2, 0))
    with pytest.raises(ValueError, match="Could not interpret initializer identifier: nothing"):
        ICNR("nothing")
    with pytest.raises(ValueError, match=r"Received: initializer=None\. Use 'glorot_uniform'"):
        ICNR(None)
    with pytest.raises(ValueError, match=r"the 4 phases of size=2.* shape \(3, 3, 1, 6\)"):
        ICNR("zeros", 2)((3, 3, 1, 6))
    with pytest.raises(ValueError, match="`size` must be a positive integer, or 2 of them"):
        ICNR("zeros", (2, 2, 2))((3, 3, 1, 8))
    with pytest.raises(ValueError, match=r"one to three spatial axes.* shape \(4, 8\)"):
        ICNR("zeros", 2)((4, 8))
