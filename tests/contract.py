"""The checks that every layer of the library passes, on every backend.

A `Contract` describes how to create a layer and its input. `CHECKS` are functions that test a
contract. `tests/test_contract.py` runs every check on every contract, and fails for a public layer
without a contract.
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
    """A layer with its arguments, and the shape of its input.

    Attributes:
        name: Name of the case and of its saved models.
        make: Function that creates the layer. Keywords such as `dtype` override its arguments.
        shape: Shape of the input, `(batch, *spatial, channels)`.
    """

    name: str
    make: Callable[..., keras.Layer]
    shape: tuple

    def input(self):
        """Return a fixed input of this shape."""
        return np.random.default_rng(0).standard_normal(self.shape).astype("float32")

    def model(self, spatial=None, **overrides):
        """Return a functional model with this one layer and seeded weights."""
        keras.utils.set_random_seed(0)
        spatial = self.shape[1:-1] if spatial is None else spatial
        inputs = keras.Input((*spatial, self.shape[-1]))
        return keras.Model(inputs, self.make(**overrides)(inputs))


def config_round_trip(contract):
    layer = contract.make()
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    restored = keras.saving.deserialize_keras_object(config)
    assert type(restored) is type(layer)
    assert restored.get_config() == layer.get_config()
    arguments = set(inspect.signature(type(layer).__init__).parameters) - {"self", "kwargs"}
    assert arguments <= set(layer.get_config()), "an argument is missing from get_config"


def symbolic_shape_is_eager_shape(contract):
    x = contract.input()
    layer = contract.make()
    layer.build(x.shape)
    eager = evaluate(layer, keras.ops.convert_to_tensor(x))
    spec = layer.compute_output_spec(keras.KerasTensor(x.shape, "float32"))
    assert spec.shape == tuple(eager.shape) == layer.compute_output_shape(x.shape)
    assert spec.dtype == keras.backend.standardize_dtype(eager.dtype)
    unknown = (None,) * (len(x.shape) - 1) + x.shape[-1:]
    for length, eager_length in zip(layer.compute_output_shape(unknown), eager.shape, strict=True):
        assert length in (None, eager_length)
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
    if BACKEND != "jax":  # compilation takes long there, and shapes are known before
        (gradient,) = gradients(layer, [x], keras.ops.zeros(shape))
        assert gradient.shape == x.shape


def both_data_formats(contract):
    x = contract.input()
    last = contract.make(data_format="channels_last")
    first = contract.make(data_format="channels_first")
    expected = to_numpy(last(x))
    transposed = np.moveaxis(x, -1, 1)
    first.build(transposed.shape)
    first.set_weights(last.get_weights())
    output = to_numpy(evaluate(first, keras.ops.convert_to_tensor(transposed)))
    np.testing.assert_allclose(np.moveaxis(output, 1, -1), expected, atol=1e-5)
    assert first.compute_output_shape(transposed.shape) == output.shape


def integers_become_the_dtype_of_the_spec(contract):
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
        output = model(x)
        assert keras.backend.standardize_dtype(output.dtype) == policy.removeprefix("mixed_")
        assert all(variable.dtype == "float32" for variable in model.variables)
        np.testing.assert_allclose(
            to_numpy(output), expected, atol=tolerance * max(1, abs(expected).max())
        )


def _trains(contract, **compile_options):
    # The dense layer before it has weights, so a layer without weights must pass a gradient on.
    inputs = keras.Input(contract.shape[1:])
    hidden = keras.layers.Dense(contract.shape[-1])(inputs)
    model = keras.Model(inputs, contract.make(**compile_options.pop("layer", {}))(hidden))
    model.compile("sgd", "mse", **compile_options)
    old_weights = [np.array(weight) for weight in model.get_weights()]
    x = contract.input()
    y = np.ones(model.compute_output_shape(x.shape))
    losses = model.fit(x, y, batch_size=len(x), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for old_weight, new_weight in zip(old_weights, model.get_weights(), strict=True):
        assert np.isfinite(new_weight).all()
        assert not np.array_equal(old_weight, new_weight)
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
    output = jitted(model)(x)
    cotangent = keras.ops.ones(expected.shape)
    (gradient,) = gradients(jitted(model), [x], cotangent)
    np.testing.assert_allclose(to_numpy(output), to_numpy(expected), atol=1e-5)
    (eager_gradient,) = gradients(model, [x], cotangent)
    np.testing.assert_allclose(gradient, eager_gradient, atol=1e-4)


def training_step_jit_compiled(contract):
    if BACKEND == "torch":
        pytest.skip("needs a C++ compiler; `jit_compiled` traces the same graphs without it")
    if BACKEND == "jax":
        pytest.skip("`training_step` is already compiled: Keras compiles by default on JAX")
    _trains(contract, jit_compile=True)


def second_derivatives(contract):
    layer = derivatives.built_layer(contract, "float32")
    arrays = [contract.input().astype(float), *derivatives.random_weights(layer)]
    rng = np.random.default_rng(2)
    directions = [rng.standard_normal(array.shape) for array in arrays]
    with float64_allowed():
        exact = derivatives.stateless(derivatives.built_layer(contract, "float64"))
        penalty = jax_compiled(partial(derivatives.gradient_penalty, exact))
        expected_gradients = [
            to_numpy(gradient) for gradient in penalty(*derivatives.tensors(arrays, "float64"))[1]
        ]
        expected_derivative = derivatives.central_difference(
            lambda *a: penalty(*a)[0], arrays, directions
        )
    directional_derivative = sum(
        np.vdot(gradient, direction)
        for gradient, direction in zip(expected_gradients, directions, strict=True)
    )
    np.testing.assert_allclose(directional_derivative, expected_derivative, rtol=1e-5)
    penalty = partial(derivatives.gradient_penalty, derivatives.stateless(layer))
    # PyTorch's compiler supports first derivatives only.
    results = (jax_compiled if BACKEND == "torch" else jitted)(penalty)(
        *derivatives.tensors(arrays, "float32")
    )[1]
    for result, expected_gradient in zip(results, expected_gradients, strict=True):
        scale = max(1, abs(expected_gradient).max())
        np.testing.assert_allclose(to_numpy(result), expected_gradient, rtol=0, atol=1e-4 * scale)


def forward_mode_and_jacobians(contract):
    layer = derivatives.built_layer(contract, "float32")
    x, weights = contract.input().astype(float), derivatives.random_weights(layer)
    direction = np.random.default_rng(2).standard_normal(x.shape)
    with float64_allowed():
        exact = derivatives.stateless(derivatives.built_layer(contract, "float64"))
        weight_tensors = derivatives.tensors(weights, "float64")
        expected = derivatives.central_difference(
            lambda x: exact(x, *weight_tensors), [x], [direction]
        )
    weight_tensors = derivatives.tensors(weights, "float32")

    def run(x):
        return derivatives.stateless(layer)(x, *weight_tensors)

    arguments = derivatives.tensors([x, direction], "float32")
    forwards = partial(derivatives.forward_derivative, run)
    tangent = (jax_compiled if BACKEND == "torch" else jitted)(forwards)(*arguments)
    for derivative in [to_numpy(tangent), *derivatives.jacobian_derivatives(run, *arguments)]:
        np.testing.assert_allclose(
            derivative, expected, rtol=0, atol=1e-4 * max(1, abs(expected).max())
        )


def saves_and_loads(contract, tmp_path):
    model = contract.model()
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = contract.input()
    np.testing.assert_array_equal(to_numpy(restored(x)), to_numpy(model(x)))


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
    # Twice as long, because PyTorch's programs reject maps that shrink to a single sample.
    for axis in range(1, even.ndim - 1):
        even = np.concatenate([even, even], axis)
    odd = np.concatenate([even, even[:1]])
    for axis in range(1, even.ndim - 1):
        odd = np.concatenate([odd, odd.take([0], axis)], axis)
    expected_outputs = [to_numpy(evaluate(model, batch)) for batch in (even, odd)]
    for program in exported(model, (*[None] * (even.ndim - 1), even.shape[-1]), tmp_path):
        for batch, expected_output in zip((even, odd), expected_outputs, strict=True):
            np.testing.assert_allclose(program(batch), expected_output, atol=1e-5)
        if BACKEND == "tensorflow":  # only its programs accept empty batches
            assert program(even[:0]).shape == (0, *expected_outputs[0].shape[1:])


CHECKS = (
    config_round_trip,
    symbolic_shape_is_eager_shape,
    unknown_sizes_run_at_any_size,
    an_empty_batch_stays_empty,
    both_data_formats,
    integers_become_the_dtype_of_the_spec,
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
