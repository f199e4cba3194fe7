"""Second derivatives, forward mode and Jacobians, on every backend."""

import warnings

import keras
import numpy as np
from keras import ops

from tests.backends import BACKEND, to_numpy


def unit_norm_penalty(gradient):
    """Return the sum over the batch of `(norm(gradient) - 1)**2`, as in a gradient penalty."""
    squares = ops.sum(ops.square(gradient), axis=tuple(range(1, len(gradient.shape))))
    return ops.sum(ops.square(ops.sqrt(squares) - 1))


def gradient_penalty(function, *arguments):
    """Return the penalty of the gradient of `sum(function**3)`, and the penalty's gradients.

    The penalty uses the gradient in the first argument, a batch. Its own gradients are in all
    arguments.
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
            penalty = unit_norm_penalty(inner.gradient(value, arguments[0]))
        zero = tf.UnconnectedGradients.ZERO
        return penalty, outer.gradient(penalty, arguments, unconnected_gradients=zero)
    if BACKEND == "jax":
        import jax

        def penalty(*arguments):
            return unit_norm_penalty(jax.grad(score)(*arguments))

        return jax.value_and_grad(penalty, argnums=tuple(range(len(arguments))))(*arguments)
    import torch

    arguments = [argument.detach().requires_grad_() for argument in arguments]
    (gradient,) = torch.autograd.grad(score(*arguments), arguments[0], create_graph=True)
    penalty = unit_norm_penalty(gradient)
    return penalty, torch.autograd.grad(penalty, arguments, materialize_grads=True)


def forward_derivative(function, x, direction):
    """Return the directional derivative of `function` at `x`, by forward mode."""
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
        # PyTorch uses its own deprecated functions here.
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.func.jvp(function, (x,), (direction,))[1]


def jacobian_derivatives(function, x, direction):
    """Return the directional derivatives of `function` at `x`, from Jacobians."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return [contract(to_numpy(tape.batch_jacobian(y, x)), to_numpy(direction), batched=True)]
    if BACKEND == "jax":
        import jax

        jacobians = [jax.jacfwd(function)(x), jax.jacrev(function)(x)]
    else:
        import torch

        jacobians = [torch.autograd.functional.jacobian(function, x)]
    return [
        contract(to_numpy(jacobian), to_numpy(direction), batched=False) for jacobian in jacobians
    ]


def contract(jacobian, direction, batched):
    """Return a Jacobian times a direction; `batched` if there is one Jacobian per map."""
    if batched:
        pairs = zip(jacobian, direction, strict=True)
        return np.stack([contract(*pair, batched=False) for pair in pairs])
    return np.tensordot(jacobian, direction, axes=direction.ndim)


def central_difference(function, arguments, directions, step=1e-6):
    """Return the directional derivative of `function` by a central difference, in float64."""
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
    """Return a layer as a function of its input and its weights."""
    return lambda x, *weights: layer.stateless_call(list(weights), [], x)[0]


def random_weights(layer):
    """Return random weights of a layer, for layers whose initial weights are close to zero."""
    rng = np.random.default_rng(1)
    return [rng.normal(0, 0.3, weight.shape) for weight in layer.trainable_variables]


def tensors(arrays, dtype):
    return [ops.convert_to_tensor(array, dtype=dtype) for array in arrays]


def built_layer(contract, dtype):
    """Return the built layer of a contract, with this dtype."""
    keras.utils.set_random_seed(0)
    layer = contract.make(dtype=dtype)
    layer.build(contract.shape)
    if dtype == "float64" and getattr(layer, "activation", None) is keras.activations.tanh:
        layer.activation = _tanh
    return layer


def _tanh(x):
    """Return the hyperbolic tangent in the dtype of `x`; on JAX, Keras returns float32."""
    exponential = ops.exp(2 * x)
    return (exponential - 1) / (exponential + 1)
