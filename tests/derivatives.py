"""Derivatives beyond the gradient, on every backend: of second order, forwards, and Jacobians."""

import warnings

import keras
import numpy as np
from keras import ops

from tests.backends import BACKEND, to_numpy


def distance_from_unit_norm(slope):
    """What a gradient penalty adds up: how far each map's gradient is from having length one."""
    squares = ops.sum(ops.square(slope), axis=tuple(range(1, len(slope.shape))))
    return ops.sum(ops.square(ops.sqrt(squares) - 1))


def gradient_penalty(function, *arguments):
    """The penalty on the gradient of `sum(function**3)` in the first argument, a batch.

    Returns:
        The penalty, and its gradients in all arguments.
    """

    def score(*arguments):
        y = function(*arguments)
        return ops.sum(y * y * y)

    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as outer:
            outer.watch(arguments)
            with tf.GradientTape() as inner:
                inner.watch(arguments[0])
                value = score(*arguments)
            penalty = distance_from_unit_norm(inner.gradient(value, arguments[0]))
        zero = tf.UnconnectedGradients.ZERO
        return penalty, outer.gradient(penalty, arguments, unconnected_gradients=zero)
    if BACKEND == "jax":
        import jax

        def penalty(*arguments):
            return distance_from_unit_norm(jax.grad(score)(*arguments))

        return jax.value_and_grad(penalty, argnums=tuple(range(len(arguments))))(*arguments)
    import torch

    arguments = [argument.detach().requires_grad_() for argument in arguments]
    (slope,) = torch.autograd.grad(score(*arguments), arguments[0], create_graph=True)
    penalty = distance_from_unit_norm(slope)
    return penalty, torch.autograd.grad(penalty, arguments, materialize_grads=True)


def forwards(function, x, direction):
    """How `function(x)` changes along a direction, by forward mode."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
            y = function(x)
        return accumulator.jvp(y)
    if BACKEND == "jax":
        import jax

        return jax.jvp(function, (x,), (direction,))[1]
    import torch

    with warnings.catch_warnings():
        # PyTorch compiles its own decompositions in a way that it calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.func.jvp(function, (x,), (direction,))[1]


def by_jacobians(function, x, direction):
    """The same by the Jacobians that the backend makes of its convolutions."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return [contracted(to_numpy(tape.batch_jacobian(y, x)), to_numpy(direction), batched=True)]
    if BACKEND == "jax":
        import jax

        jacobians = [jax.jacfwd(function)(x), jax.jacrev(function)(x)]
    else:
        import torch

        jacobians = [torch.autograd.functional.jacobian(function, x)]
    return [
        contracted(to_numpy(jacobian), to_numpy(direction), batched=False) for jacobian in jacobians
    ]


def contracted(jacobian, direction, batched):
    """A Jacobian times a direction; `batched` has one for every map."""
    if batched:
        pairs = zip(jacobian, direction, strict=True)
        return np.stack([contracted(one, part, batched=False) for one, part in pairs])
    return np.tensordot(jacobian, direction, axes=direction.ndim)


def central_difference(function, arguments, directions, step=1e-6):
    """How `function`, of float64, changes along directions: the slope of a secant."""
    after, before = (
        to_numpy(
            function(
                *(
                    ops.convert_to_tensor(argument + sign * step * direction, "float64")
                    for argument, direction in zip(arguments, directions, strict=True)
                )
            )
        )
        for sign in (1, -1)
    )
    return (after - before) / (2 * step)


def stateless(layer):
    """A layer as a function of its input and its weights."""
    return lambda x, *weights: layer.stateless_call(list(weights), [], x)[0]


def random_weights(layer):
    """Weights large enough to matter, for those that start near zero."""
    rng = np.random.default_rng(1)
    return [rng.normal(0, 0.3, weight.shape) for weight in layer.trainable_variables]


def tensors(arrays, dtype):
    return [ops.convert_to_tensor(array, dtype=dtype) for array in arrays]


def made(contract, dtype):
    """The contract's layer in a dtype, built."""
    keras.utils.set_random_seed(0)
    layer = contract.make(dtype=dtype)
    layer.build(contract.shape)
    if dtype == "float64" and getattr(layer, "activation", None) is keras.activations.tanh:
        layer.activation = _tanh
    return layer


def _tanh(x):
    """The hyperbolic tangent in the dtype of `x`; on JAX, Keras's answers float64 in float32."""
    power = ops.exp(2 * x)
    return (power - 1) / (power + 1)
