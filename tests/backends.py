"""Functions of the tests that differ between backends."""

import contextlib
import re

import keras
import numpy as np

BACKEND = keras.backend.backend()


def float64_allowed():
    """Return a context with float64 enabled, which is not the default in JAX."""
    if BACKEND == "jax":
        import jax

        return jax.enable_x64(True)
    return contextlib.nullcontext()


def to_numpy(tensor):
    """Return a tensor of any dtype as a NumPy array in float64."""
    return (
        keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")).astype(float)
        if (keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16"))
        else np.asarray(keras.ops.convert_to_numpy(tensor), dtype=float)
    )


def jax_compiled(function):
    """Return `function`, compiled on JAX.

    Without this, JAX would compile every operation separately for every shape.
    """
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


def evaluate(function, *arguments):
    """Return `function(*arguments)`, compiled on JAX."""
    return jax_compiled(function)(*arguments)


def value_and_gradients(function, arguments, cotangent):
    """Return `function(*arguments)` and the gradients of its sum weighted by `cotangent`."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = function(*arguments)
        result = tape.gradient(value, arguments, output_gradients=cotangent)
    elif BACKEND == "jax":
        import jax

        def run(arguments, cotangent):
            value, pull_back = jax.vjp(function, *arguments)
            return value, pull_back(cotangent)

        value, result = jax.jit(run)(arguments, cotangent)
    else:
        arguments = [argument.detach().requires_grad_() for argument in arguments]
        value = function(*arguments)
        value.backward(cotangent)
        result = [argument.grad for argument in arguments]
    return to_numpy(value), [to_numpy(gradient) for gradient in result]


def gradients(function, arguments, cotangent):
    """Return the gradients of `sum(function(*arguments) * cotangent)`, as NumPy arrays."""
    return value_and_gradients(function, arguments, cotangent)[1]


def jitted(function):
    """Return `function`, compiled by XLA, or on PyTorch as a graph without breaks."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import torch

    # "eager" traces without a compiler; `fullgraph` raises if the graph breaks.
    return torch.compile(function, backend="eager", fullgraph=True)


def tensor_sizes(function, *arguments):
    """Return the number of values in each tensor that `function` computes, in its graph."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        graph = tf.function(function).get_concrete_function(*arguments).graph
        outputs = [output for node in graph.get_operations() for output in node.outputs]
        return [output.shape.num_elements() or 0 for output in outputs]
    if BACKEND == "jax":
        import jax

        equations = jax.make_jaxpr(function)(*arguments).eqns
        nested = [
            equation.params.get(key) for key in ("jaxpr", "call_jaxpr") for equation in equations
        ]
        for closed in filter(None, nested):
            equations = [*equations, *getattr(closed, "jaxpr", closed).eqns]
        return [out.aval.size for equation in equations for out in equation.outvars]
    from torch.fx.experimental.proxy_tensor import make_fx

    nodes = make_fx(function)(*arguments).graph.nodes
    return [node.meta["val"].numel() for node in nodes if hasattr(node.meta.get("val"), "numel")]


def gradient_operations(function, *tensors):
    """Return the names of the backend's operations in the gradients of the sum of `function`."""
    if BACKEND == "jax":
        import jax

        def gradients(*tensors):
            everything = range(len(tensors))
            return jax.grad(lambda *x: function(*x).sum(), argnums=tuple(everything))(*tensors)

        # What XLA is given: the operations of StableHLO.
        return set(re.findall(r"hlo\.(\w+)", jax.jit(gradients).lower(*tensors).as_text()))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def gradients(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                value = function(*tensors)
            return tape.gradient(value, tensors)

        graph = tf.function(gradients).get_concrete_function(*tensors).graph.as_graph_def()
        inner = [node for function in graph.library.function for node in function.node_def]
        return {node.op for node in [*graph.node, *inner]}
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    names = set()

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            names.add(operation.name())
            return operation(*args, **(kwargs or {}))

    with Recorder():
        inputs = [tensor.detach().requires_grad_() for tensor in tensors]
        torch.autograd.grad(function(*inputs).sum(), inputs)
    return names
