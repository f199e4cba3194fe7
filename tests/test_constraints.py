import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from keras_upsampling import audit_kernel
from keras_upsampling.constraints import CheckerboardFree
from tests.backends import evaluate, to_numpy


def project(constraint, weights):
    return to_numpy(evaluate(constraint, keras.ops.convert_to_tensor(weights, "float32")))


def nearest_by_least_squares(kernel, size):
    """The nearest kernel whose phases have equal sums, by a general solver."""
    rank = len(size)
    positions = list(itertools.product(*map(range, kernel.shape[:rank])))
    phases = list(itertools.product(*map(range, size)))
    # One equation for each phase except the first: its sum equals the sum of the first.
    sums = np.array(
        [
            [
                all(t % s == p for t, s, p in zip(position, size, phase, strict=True))
                for position in positions
            ]
            for phase in phases
        ],
        dtype=float,
    )
    equations = sums[1:] - sums[0]
    flat = kernel.reshape(len(positions), -1)
    change = np.linalg.lstsq(equations, equations @ flat, rcond=None)[0]
    return (flat - change).reshape(kernel.shape)


@given(
    rank=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 3), min_size=3, max_size=3),
    extras=st.lists(st.integers(0, 2), min_size=3, max_size=3),
    seed=st.integers(0, 100),
)
def test_projection_is_nearest_kernel_without_gain_ripple(rank, sizes, extras, seed):
    size = tuple(sizes[:rank])
    taps = [s + extra for s, extra in zip(size, extras, strict=False)]
    kernel = np.random.default_rng(seed).normal(size=(*taps, 2, 1)).astype("float32")
    constraint = CheckerboardFree(size)
    projected = project(constraint, kernel)
    np.testing.assert_allclose(projected, nearest_by_least_squares(kernel, size), rtol=0, atol=1e-5)
    original = audit_kernel(kernel, size)
    # Relative to the original ripple, which is large if the mean is close to zero.
    assert audit_kernel(projected, size).gain <= 1e-5 * max(1, original.gain)
    np.testing.assert_allclose(project(constraint, projected), projected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [2, (2, 3)])
def test_subpixel_kernel_is_projected(size):
    sizes = (size, size) if isinstance(size, int) else size
    phases = int(np.prod(sizes))
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 2, 4, phases * 2)).astype("float32")
    layer = layers.Conv2D(phases * 2, (3, 2))
    layer.build((None, 8, 8, 4))
    constraint = CheckerboardFree(size, subpixel=True)
    layer.kernel.assign(constraint(keras.ops.convert_to_tensor(kernel)))
    assert audit_kernel(layer, sizes).gain < 1e-5
    # All taps of a phase change by the same value, and the changes have mean zero.
    change = (to_numpy(layer.kernel) - kernel).reshape(6, 4, phases, 2)
    np.testing.assert_allclose(change, np.broadcast_to(change[:1], change.shape), atol=1e-6)
    np.testing.assert_allclose(change.sum(axis=2), 0, atol=1e-5)


def test_subpixel_bias_is_projected():
    bias = project(CheckerboardFree((2, 2), subpixel=True), np.arange(8.0))
    np.testing.assert_allclose(bias, [3, 4] * 4, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"one integer per axis.* Use size=\(2, 2\)"):
        project(CheckerboardFree(2, subpixel=True), np.arange(8.0))


def test_training_applies_constraint_and_saving_keeps_it(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.Conv2DTranspose(
                3, 3, strides=2, data_format="channels_last", kernel_constraint=CheckerboardFree(2)
            ),
        ]
    )
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 4, 4, 2))
    before = model.get_weights()[0]
    assert audit_kernel(model.layers[0]).gain > 0.5
    model.fit(x, rng.normal(size=(4, *model.output_shape[1:])), epochs=2, verbose=0)
    assert audit_kernel(model.layers[0]).gain < 1e-5
    assert abs(model.get_weights()[0] - before).max() > 1e-3
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.layers[0].kernel_constraint.get_config() == {"size": 2, "subpixel": False}


def test_invalid_arguments_and_weights_raise():
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        CheckerboardFree(2.0)
    with pytest.raises(ValueError, match=r"at least `size` taps.* Use kernel_size=\(3, 3\)"):
        CheckerboardFree(3)(np.ones((2, 3, 1, 1)))
    with pytest.raises(ValueError, match="`size` must be a positive integer, or 2 of them"):
        CheckerboardFree((2, 2, 2))(np.ones((3, 3, 1, 1)))
    with pytest.raises(ValueError, match="a transposed convolution's bias needs no constraint"):
        CheckerboardFree(2)(np.ones(3))
    with pytest.raises(ValueError, match="divisible by the 4 phases"):
        CheckerboardFree(2, subpixel=True)(np.ones((3, 3, 1, 6)))
