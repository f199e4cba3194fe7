"""Gradients of functions, on every backend."""

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
    differentiated: Callable[..., Tensor], function: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """Return `function` with the gradient of another function that computes the same values.

    On TensorFlow and JAX; on PyTorch the gradient is that of `function`.
    """
    if _BACKEND == "jax":

        def tangent(
            tensors: tuple[Tensor, ...], slopes: tuple[Tensor, ...]
        ) -> tuple[Tensor, Tensor]:
            return function(*tensors), jax.jvp(differentiated, tensors, slopes)[1]

        # JAX transposes the tangents for gradients, so both modes of differentiation work.
        run = jax.custom_jvp(function)
        run.defjvp(tangent)
        return run
    if _BACKEND != "tensorflow":
        return function

    def value_and_gradient(
        *tensors: Tensor,
    ) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                y = differentiated(*tensors)
            return tape.gradient(y, tensors, output_gradients=upstream)

        return function(*tensors), gradient

    return tf.custom_gradient(value_and_gradient)


def recorded_by_torch(*tensors: Tensor) -> bool:
    """Return whether PyTorch records operations on the tensors, for a backward pass."""
    if _BACKEND != "torch":
        return False
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def differentiable_slice(
    x: Tensor, starts: Sequence[int | Tensor], lengths: Sequence[int | Tensor]
) -> Tensor:
    """Return `keras.ops.slice`; on TensorFlow with a gradient that is a padding, also under XLA.

    There TensorFlow's own gradient of a slice has no gradient itself.
    """
    if _BACKEND != "tensorflow":
        return ops.slice(x, starts, lengths)

    def value_and_gradient(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        y = tf.slice(x, starts, lengths)

        def gradient(upstream: Tensor) -> Tensor:
            after = tf.shape(x) - tf.shape(y) - starts
            padded = tf.pad(upstream, tf.stack([tf.convert_to_tensor(starts), after], axis=1))
            padded.set_shape(x.shape)
            return padded

        return y, gradient

    return _call_traced(tf.custom_gradient(value_and_gradient), x)


def differentiable_resize(x: Tensor, lengths: Sequence[int], data_format: str) -> Tensor:
    """Return `keras.ops.image.resize`, linear; on TensorFlow with derivatives of every order.

    There the gradient of the kernel has no gradient itself. But the kernel is linear: its gradient
    is its transpose, and the gradient of the transpose is the kernel again.
    """
    if _BACKEND != "tensorflow":
        return ops.image.resize(x, lengths, interpolation="bilinear", data_format=data_format)
    if data_format == "channels_first":  # the kernel supports channels last only
        x = ops.moveaxis(x, 1, -1)
        return ops.moveaxis(differentiable_resize(x, lengths, "channels_last"), -1, 1)

    def resize(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def transpose(y: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            # The operation reads only the shape of `original_image`.
            slopes = tf.raw_ops.ResizeBilinearGrad(
                grads=y, original_image=x, half_pixel_centers=True
            )
            return slopes, tf.custom_gradient(resize)

        y = tf.raw_ops.ResizeBilinear(images=x, size=lengths, half_pixel_centers=True)
        return y, tf.custom_gradient(transpose)

    return _call_traced(tf.custom_gradient(resize), x)


def _call_traced(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Call a function with a custom gradient, so that forward mode uses that gradient too."""
    if tf.executing_eagerly():
        return function(x)
    # While TensorFlow traces, forward mode ignores custom gradients and follows the operations
    # inside. For a function that is traced already, it uses the gradient.
    traced = tf.function(function, autograph=False)
    return traced.get_concrete_function(tf.TensorSpec(x.shape, x.dtype))(x)


def input_gradient(function: Callable[..., Tensor]) -> Callable[..., np.ndarray]:
    """Return the gradient of a function of tensors whose value is one number.

    The returned function takes the same tensors. It returns the gradient with respect to the first.
    """
    if _BACKEND == "jax":
        differentiate = jax.jit(jax.grad(function))  # one program, not operation by operation
    elif _BACKEND == "tensorflow":

        def slope(x: Tensor, *constants: Tensor) -> Tensor:
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = function(x, *constants)
            return tape.gradient(value, x)

        def differentiate(x: Tensor, *constants: Tensor) -> Tensor:
            try:
                return slope(x, *constants)
            except Exception:  # floats of 8 bits have gradients in graphs only
                traced = tf.function(slope, autograph=False)
                return traced.get_concrete_function(x, *constants)(x, *constants)

    elif _BACKEND == "torch":

        def differentiate(x: Tensor, *constants: Tensor) -> Tensor:
            x = x.detach().requires_grad_()
            return torch.autograd.grad(function(x, *constants), x, allow_unused=True)[0]
    else:
        raise ValueError(
            "Gradients need TensorFlow, JAX or PyTorch. "
            f"Received: backend {_BACKEND!r}. Set KERAS_BACKEND to one of those."
        )

    def gradient(x: Tensor, *constants: Tensor) -> np.ndarray:
        slopes = differentiate(ops.convert_to_tensor(x), *constants)
        if slopes is None:
            raise ValueError(
                "The output must depend on the input by differentiable operations. "
                "Received: a function whose gradient is None. Remove casts to integers and "
                "`stop_gradient`."
            )
        return ops.convert_to_numpy(ops.cast(slopes, "float32"))

    return gradient
