"""The few lines of the tests that differ between backends."""

import contextlib

import keras
import numpy as np

BACKEND = keras.backend.backend()


def float64_allowed():
    """A context in which float64 means float64; JAX needs to be told."""
    if BACKEND == "jax":
        import jax

        return jax.enable_x64(True)
    return contextlib.nullcontext()


def to_numpy(tensor):
    """A NumPy array in float64, whatever the tensor's dtype."""
    return (
        keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")).astype(float)
        if (keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16"))
        else np.asarray(keras.ops.convert_to_numpy(tensor), dtype=float)
    )


def whole(function):
    """`function`; on JAX compiled as a whole, once for each shape.

    Run eagerly, every operation would be compiled, again for every shape.
    """
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


def evaluate(function, *arguments):
    """`function(*arguments)`; on JAX compiled as a whole."""
    return whole(function)(*arguments)


def value_and_gradients(function, arguments, cotangent):
    """`function(*arguments)` and the gradients of its sum weighted by `cotangent`, from one run."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = function(*arguments)
        found = tape.gradient(value, arguments, output_gradients=cotangent)
    elif BACKEND == "jax":
        import jax

        def run(arguments, cotangent):
            value, pull_back = jax.vjp(function, *arguments)
            return value, pull_back(cotangent)

        value, found = jax.jit(run)(arguments, cotangent)
    else:
        arguments = [argument.detach().requires_grad_() for argument in arguments]
        value = function(*arguments)
        value.backward(cotangent)
        found = [argument.grad for argument in arguments]
    return to_numpy(value), [to_numpy(gradient) for gradient in found]


def gradients(function, arguments, cotangent):
    """Gradients of `sum(function(*arguments) * cotangent)`, as NumPy arrays."""
    return value_and_gradients(function, arguments, cotangent)[1]


def jitted(function):
    """`function`, compiled by the backend: XLA, or a graph without breaks on PyTorch."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import torch

    # Traced as for the compiler, and run without one; a break in the graph is an error.
    return torch.compile(function, backend="eager", fullgraph=True)


def tensor_sizes(function, *arguments):
    """How many numbers each tensor holds that `function` makes on its way, compiled."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        graph = tf.function(function).get_concrete_function(*arguments).graph
        outputs = [output for node in graph.get_operations() for output in node.outputs]
        return [output.shape.num_elements() or 0 for output in outputs]
    if BACKEND == "jax":
        import jax

        equations = jax.make_jaxpr(function)(*arguments).eqns
        inner = [
            equation.params.get(key) for key in ("jaxpr", "call_jaxpr") for equation in equations
        ]
        for closed in filter(None, inner):
            equations = [*equations, *getattr(closed, "jaxpr", closed).eqns]
        return [out.aval.size for equation in equations for out in equation.outvars]
    from torch.fx.experimental.proxy_tensor import make_fx

    nodes = make_fx(function)(*arguments).graph.nodes
    return [node.meta["val"].numel() for node in nodes if hasattr(node.meta.get("val"), "numel")]
