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


def recorded(*tensors: Tensor) -> bool:
    """Return whether PyTorch records what is done to the tensors, to go back the same way."""
    if _BACKEND != "torch":
        return False
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


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

    return _traced(tf.custom_gradient(both), x)


def resized(x: Tensor, lengths: Sequence[int], data_format: str) -> Tensor:
    """Return `keras.ops.image.resize`, linear; on TensorFlow with derivatives of every order.

    There the kernel's gradient is an operation that has none itself. But it is linear: the
    gradient is its transpose, and the transpose's gradient is the kernel again.
    """
    if _BACKEND != "tensorflow":
        return ops.image.resize(x, lengths, interpolation="bilinear", data_format=data_format)
    if data_format == "channels_first":  # which the kernel does not know
        return ops.moveaxis(resized(ops.moveaxis(x, 1, -1), lengths, "channels_last"), -1, 1)

    def enlarge(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def transpose(y: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            # Of `x`, this reads the shape alone.
            back = tf.raw_ops.ResizeBilinearGrad(grads=y, original_image=x, half_pixel_centers=True)
            return back, tf.custom_gradient(enlarge)

        y = tf.raw_ops.ResizeBilinear(images=x, size=lengths, half_pixel_centers=True)
        return y, tf.custom_gradient(transpose)

    return _traced(tf.custom_gradient(enlarge), x)


def _traced(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Run a function that has a custom gradient, so that forward mode heeds that too."""
    if tf.executing_eagerly():
        return function(x)
    # While TensorFlow traces, forward mode follows the operations in the function, whatever its
    # gradient is; of a function that is traced already, it takes the gradient.
    traced = tf.function(function, autograph=False)
    return traced.get_concrete_function(tf.TensorSpec(x.shape, x.dtype))(x)


def input_gradient(function: Callable[..., Tensor]) -> Callable[..., np.ndarray]:
    """Return the gradient of a function of tensors, whose value is one number.

    It takes the same tensors, and returns the gradient with respect to the first.
    """
    if _BACKEND == "jax":
        found = jax.jit(jax.grad(function))  # at once, not operation by operation
    elif _BACKEND == "tensorflow":

        def slope(x: Tensor, *others: Tensor) -> Tensor:
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = function(x, *others)
            return tape.gradient(value, x)

        def found(x: Tensor, *others: Tensor) -> Tensor:
            try:
                return slope(x, *others)
            except Exception:  # floats of 8 bits have a gradient in graphs alone
                traced = tf.function(slope, autograph=False)
                return traced.get_concrete_function(x, *others)(x, *others)

    elif _BACKEND == "torch":

        def found(x: Tensor, *others: Tensor) -> Tensor:
            x = x.detach().requires_grad_()
            return torch.autograd.grad(function(x, *others), x, allow_unused=True)[0]
    else:
        raise ValueError(
            f"Gradients are known on TensorFlow, JAX and PyTorch. Received backend {_BACKEND!r}; "
            "set KERAS_BACKEND to one of those."
        )

    def gradient(x: Tensor, *others: Tensor) -> np.ndarray:
        slopes = found(ops.convert_to_tensor(x), *others)
        if slopes is None:
            raise ValueError(
                "The output does not depend on the input by a way that has a gradient."
            )
        return ops.convert_to_numpy(ops.cast(slopes, "float32"))

    return gradient
