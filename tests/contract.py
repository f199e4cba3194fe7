"""The one contract that every layer of the library passes, on every backend.

A `Contract` says how to make a layer and what to feed it; `CHECKS` are what must then
hold. `tests/test_contract.py` crosses the two, and refuses a public layer without a contract.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import pytest

from tests import derivatives
from tests.backends import (
    BACKEND,
    evaluate,
    float64_allowed,
    gradients,
    jax_compiled,
    jitted,
    to_numpy,
)
from tests.exporters import exported
from tests.saved_models import BACKENDS, saved_model


@dataclass(frozen=True)
class Contract:
    """A layer, ready to be held to the contract.

    Attributes:
        name: What the case is called, and its saved models with it.
        make: Makes the layer; takes keywords that override (`dtype`, `data_format`).
        shape: Of the input, `(batch, *spatial, channels)`.
    """

    name: str
    make: Callable[..., keras.Layer]
    shape: tuple

    def input(self):
        """A fixed input of that shape."""
        return np.random.default_rng(0).standard_normal(self.shape).astype("float32")

    def model(self, spatial=None, **overrides):
        """A functional model of this layer alone, with seeded weights."""
        keras.utils.set_random_seed(0)
        spatial = self.shape[1:-1] if spatial is None else spatial
        inputs = keras.Input((*spatial, self.shape[-1]))
        return keras.Model(inputs, self.make(**overrides)(inputs))


def config_round_trip(contract):
    layer = contract.make()
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    named = set(inspect.signature(type(layer).__init__).parameters) - {"self", "kwargs"}
    assert named <= set(layer.get_config()), "an argument is missing from get_config"


def symbolic_shape_is_eager_shape(contract):
    x = contract.input()
    layer = contract.make()
    layer.build(x.shape)
    eager = evaluate(layer, keras.ops.convert_to_tensor(x))
    spec = layer.compute_output_spec(keras.KerasTensor(x.shape, "float32"))
    assert spec.shape == tuple(eager.shape) == layer.compute_output_shape(x.shape)
    assert spec.dtype == keras.backend.standardize_dtype(eager.dtype)
    unknown = (None,) * (len(x.shape) - 1) + x.shape[-1:]
    for found, known in zip(layer.compute_output_shape(unknown), eager.shape, strict=True):
        assert found in (None, known)
    assert layer.compute_output_shape(unknown)[-1] == eager.shape[-1]


def unknown_sizes_run_at_any_size(contract):
    model = contract.model(spatial=(None,) * (len(contract.shape) - 2))
    fixed = contract.model()
    fixed.set_weights(model.get_weights())
    x = contract.input()
    expected = to_numpy(fixed(x))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    wider = np.concatenate([x, x], axis=1)
    fixed = contract.model(spatial=wider.shape[1:-1])
    fixed.set_weights(model.get_weights())
    expected = to_numpy(evaluate(fixed, wider))
    np.testing.assert_allclose(model.predict(wider, verbose=0), expected, atol=1e-5)


def an_empty_batch_stays_empty(contract):
    x = keras.ops.zeros((0, *contract.shape[1:]))
    layer = contract.make()
    layer.build(contract.shape)
    shape = layer.compute_output_shape(x.shape)
    assert tuple(evaluate(layer, x).shape) == shape
    if BACKEND != "jax":  # where compiling takes long, and shapes are known before
        (slope,) = gradients(layer, [x], keras.ops.zeros(shape))
        assert slope.shape == x.shape


def both_data_formats(contract):
    x = contract.input()
    last = contract.make(data_format="channels_last")
    first = contract.make(data_format="channels_first")
    expected = to_numpy(last(x))
    turned = np.moveaxis(x, -1, 1)
    first.build(turned.shape)
    first.set_weights(last.get_weights())
    found = to_numpy(evaluate(first, keras.ops.convert_to_tensor(turned)))
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), expected, atol=1e-5)
    assert first.compute_output_shape(turned.shape) == found.shape


def integers_become_what_the_spec_says(contract):
    x = np.random.default_rng(0).integers(0, 5, contract.shape).astype("uint8")
    for dtype in ("float32", "float16"):
        layer = contract.make(dtype=dtype)
        spec = layer.compute_output_spec(keras.KerasTensor(x.shape, "uint8"))
        assert keras.backend.standardize_dtype(layer(x).dtype) == spec.dtype


def complex_numbers_are_refused_or_kept(contract):
    x = contract.input().astype("complex64")
    layer = contract.make()
    layer.build(x.shape)
    if getattr(layer, "interpolation", "") == "nearest" and not layer.weights:
        assert keras.backend.standardize_dtype(layer(x).dtype) == "complex64"
        return
    with pytest.raises(TypeError, match="real and the imaginary part separately"):
        layer(x)


def mixed_precision(contract):
    x = contract.input()
    exact = contract.model()
    expected = to_numpy(exact(x))
    for policy, tolerance in (("mixed_float16", 4e-3), ("mixed_bfloat16", 3e-2)):
        model = contract.model(dtype=policy)
        model.set_weights(exact.get_weights())
        found = model(x)
        assert keras.backend.standardize_dtype(found.dtype) == policy.removeprefix("mixed_")
        assert all(variable.dtype == "float32" for variable in model.variables)
        np.testing.assert_allclose(
            to_numpy(found), expected, atol=tolerance * max(1, abs(expected).max())
        )


def _trains(contract, **compile_options):
    # A dense layer before it, so that a layer without weights has a gradient to pass on.
    inputs = keras.Input(contract.shape[1:])
    hidden = keras.layers.Dense(contract.shape[-1])(inputs)
    model = keras.Model(inputs, contract.make(**compile_options.pop("layer", {}))(hidden))
    model.compile("sgd", "mse", **compile_options)
    before = [np.array(weight) for weight in model.get_weights()]
    x = contract.input()
    y = np.ones(model.compute_output_shape(x.shape))
    losses = model.fit(x, y, batch_size=len(x), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        assert not np.array_equal(old, new)
    return model


def training_step(contract):
    model = _trains(contract)
    assert model.jit_compile is True or BACKEND != "jax"  # see `training_step_jit_compiled`


def training_step_in_mixed_precision(contract):
    _trains(contract, layer={"dtype": "mixed_bfloat16"})


def jit_compiled(contract):
    model = contract.model()
    x = keras.ops.convert_to_tensor(contract.input())
    expected = model(x)
    found = jitted(model)(x)
    cotangent = keras.ops.ones(expected.shape)
    (slope,) = gradients(jitted(model), [x], cotangent)
    np.testing.assert_allclose(to_numpy(found), to_numpy(expected), atol=1e-5)
    (eager_slope,) = gradients(model, [x], cotangent)
    np.testing.assert_allclose(slope, eager_slope, atol=1e-4)


def training_step_jit_compiled(contract):
    if BACKEND == "torch":
        pytest.skip("needs a C++ compiler; `jit_compiled` traces the same graphs without one")
    if BACKEND == "jax":
        pytest.skip("`training_step` is compiled already: Keras does so by default on JAX")
    _trains(contract, jit_compile=True)


def second_derivatives(contract):
    layer = derivatives.built_layer(contract, "float32")
    arrays = [contract.input().astype(float), *derivatives.random_weights(layer)]
    rng = np.random.default_rng(2)
    directions = [rng.standard_normal(array.shape) for array in arrays]
    with float64_allowed():
        exact = derivatives.stateless(derivatives.built_layer(contract, "float64"))
        penalty = jax_compiled(partial(derivatives.gradient_penalty, exact))
        expected = [
            to_numpy(slope) for slope in penalty(*derivatives.tensors(arrays, "float64"))[1]
        ]
        change = derivatives.central_difference(lambda *a: penalty(*a)[0], arrays, directions)
    along = sum(np.vdot(slope, way) for slope, way in zip(expected, directions, strict=True))
    np.testing.assert_allclose(along, change, rtol=1e-5)
    penalty = partial(derivatives.gradient_penalty, derivatives.stateless(layer))
    # PyTorch's compiler knows first derivatives only.
    found = (jax_compiled if BACKEND == "torch" else jitted)(penalty)(
        *derivatives.tensors(arrays, "float32")
    )[1]
    for one, other in zip(found, expected, strict=True):
        scale = max(1, abs(other).max())
        np.testing.assert_allclose(to_numpy(one), other, rtol=0, atol=1e-4 * scale)


def forward_mode_and_jacobians(contract):
    layer = derivatives.built_layer(contract, "float32")
    x, weights = contract.input().astype(float), derivatives.random_weights(layer)
    direction = np.random.default_rng(2).standard_normal(x.shape)
    with float64_allowed():
        exact = derivatives.stateless(derivatives.built_layer(contract, "float64"))
        of_weights = derivatives.tensors(weights, "float64")
        expected = derivatives.central_difference(lambda x: exact(x, *of_weights), [x], [direction])
    of_weights = derivatives.tensors(weights, "float32")

    def run(x):
        return derivatives.stateless(layer)(x, *of_weights)

    given = derivatives.tensors([x, direction], "float32")
    forwards = partial(derivatives.forward_derivative, run)
    tangent = (jax_compiled if BACKEND == "torch" else jitted)(forwards)(*given)
    for one in [to_numpy(tangent), *derivatives.jacobian_derivatives(run, *given)]:
        np.testing.assert_allclose(one, expected, rtol=0, atol=1e-4 * max(1, abs(expected).max()))


def saves_and_loads(contract, tmp_path):
    model = contract.model()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = contract.input()
    np.testing.assert_array_equal(to_numpy(again(x)), to_numpy(model(x)))


def loads_what_any_backend_saved(contract, tmp_path):
    """`python -m tests.saved_models` writes what is read here."""
    for backend in BACKENDS:
        model_bytes, expected = saved_model(contract.name, backend)
        (tmp_path / "model.keras").write_bytes(model_bytes)
        model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        np.testing.assert_allclose(to_numpy(model(contract.input())), expected, atol=1e-5)


def exports(contract, tmp_path):
    model, x = contract.model(), contract.input()
    expected = to_numpy(model(x))
    for program in exported(model, x.shape, tmp_path):
        np.testing.assert_allclose(program(x), expected, atol=1e-5)


def exports_with_unknown_sizes(contract, tmp_path):
    model = contract.model(spatial=(None,) * (len(contract.shape) - 2))
    even = contract.input()
    # Twice as long, for PyTorch's programs take no map that becomes one of a single sample.
    for axis in range(1, even.ndim - 1):
        even = np.concatenate([even, even], axis)
    odd = np.concatenate([even, even[:1]])
    for axis in range(1, even.ndim - 1):
        odd = np.concatenate([odd, odd.take([0], axis)], axis)
    expected = [to_numpy(evaluate(model, batch)) for batch in (even, odd)]
    for program in exported(model, (*[None] * (even.ndim - 1), even.shape[-1]), tmp_path):
        for batch, wanted in zip((even, odd), expected, strict=True):
            np.testing.assert_allclose(program(batch), wanted, atol=1e-5)
        if BACKEND == "tensorflow":  # the only one whose programs take batches of nothing
            assert program(even[:0]).shape == (0, *expected[0].shape[1:])


CHECKS = (
    config_round_trip,
    symbolic_shape_is_eager_shape,
    unknown_sizes_run_at_any_size,
    an_empty_batch_stays_empty,
    both_data_formats,
    integers_become_what_the_spec_says,
    complex_numbers_are_refused_or_kept,
    mixed_precision,
    training_step,
    training_step_in_mixed_precision,
    training_step_jit_compiled,
    jit_compiled,
    second_derivatives,
    forward_mode_and_jacobians,
    saves_and_loads,
    loads_what_any_backend_saved,
    exports,
    exports_with_unknown_sizes,
)
