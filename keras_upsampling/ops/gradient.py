"""The gradient of a function, on every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from keras_upsampling._types import Tensor

_BACKEND = keras.backend.backend()
if _BACKEND == "tensorflow":
    import tensorflow as tf
elif _BACKEND == "jax":
    import jax
elif _BACKEND == "torch":
    import torch


def with_gradient_of(
    other: Callable[..., Tensor], function: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """Return a function of tensors with the gradient of another one that computes the same.

    On TensorFlow and JAX; on PyTorch the gradients are those of `function`.
    """
    if _BACKEND == "jax":

        def tangent(
            tensors: tuple[Tensor, ...], slopes: tuple[Tensor, ...]
        ) -> tuple[Tensor, Tensor]:
            return function(*tensors), jax.jvp(other, tensors, slopes)[1]

        # By its tangents, which JAX transposes for gradients: so both directions work.
        run = jax.custom_jvp(function)
        run.defjvp(tangent)
        return run
    if _BACKEND != "tensorflow":
        return function

    def both(*tensors: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                y = other(*tensors)
            return tape.gradient(y, tensors, output_gradients=upstream)

        return function(*tensors), gradient

    return tf.custom_gradient(both)


def sliced(x: Tensor, starts: Sequence[int | Tensor], lengths: Sequence[int | Tensor]) -> Tensor:
    """Return `keras.ops.slice`; on TensorFlow with a gradient that pads, compiled by XLA too.

    There TensorFlow's own would be an operation that has no gradient itself.
    """
    if _BACKEND != "tensorflow":
        return ops.slice(x, starts, lengths)

    def both(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        y = tf.slice(x, starts, lengths)

        def gradient(upstream: Tensor) -> Tensor:
            behind = tf.shape(x) - tf.shape(y) - starts
            padded = tf.pad(upstream, tf.stack([tf.convert_to_tensor(starts), behind], axis=1))
            padded.set_shape(x.shape)
            return padded

        return y, gradient

    return tf.custom_gradient(both)(x)


def input_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> np.ndarray:
    """Return the gradient of a function's value, one number, with respect to `x`."""
    x = ops.convert_to_tensor(x)
    if _BACKEND == "tensorflow":
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        found = tape.gradient(value, x)
    elif _BACKEND == "jax":
        found = jax.jit(jax.grad(function))(x)  # at once, not operation by operation
    elif _BACKEND == "torch":
        x = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(function(x), x, allow_unused=True)
    else:
        raise ValueError(
            f"Gradients are known on TensorFlow, JAX and PyTorch. Received backend {_BACKEND!r}; "
            "set KERAS_BACKEND to one of those."
        )
    if found is None:
        raise ValueError("The output does not depend on the input by a way that has a gradient.")
    return ops.convert_to_numpy(ops.cast(found, "float32"))
