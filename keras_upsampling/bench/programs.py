"""The passes of a model, compiled, and the memory they need: what differs between backends."""

from __future__ import annotations

import ctypes
import functools
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_upsampling._types import Tensor
from keras_upsampling.ops.devices import on_cpu


class Program(NamedTuple):
    """One pass of one contender, compiled: `run` returns when it is done."""

    run: Callable[[], Any]
    peak_bytes: Callable[[], int | None]


def _tensorflow(
    model: keras.Model, x: Tensor, cotangent: Tensor | None, by_xla: bool = False
) -> Program:
    import tensorflow as tf

    weights = [variable.value for variable in model.trainable_variables]

    def forward(x: Tensor) -> Tensor:
        return model(x, training=False)

    def step(x: Tensor, cotangent: Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        return y, tape.gradient(y, [x, *weights], output_gradients=cotangent)

    arguments = (x,) if cotangent is None else (x, cotangent)
    function = tf.function(forward if cotangent is None else step, jit_compile=by_xla or None)
    program = function.get_concrete_function(*arguments)

    def run() -> Any:
        result = program(*arguments)
        tf.test.experimental.sync_devices()
        return result

    def peak_bytes() -> int | None:
        if on_cpu(x):
            return _peak_of_graph(program.graph)
        before = tf.config.experimental.get_memory_info("GPU:0")["current"]
        tf.config.experimental.reset_memory_stats("GPU:0")
        run()
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"] - before)

    return Program(run, peak_bytes)


# Operations of TensorFlow whose outputs are not memory of their own: what is given to the graph,
# other views of what is there, and a bias, which is added in place.
_GIVEN = ("Placeholder", "ReadVariableOp", "Const")
_VIEWS = ("Reshape", "Identity", "IdentityN", "ExpandDims", "Squeeze", "BiasAdd")


def _peak_of_graph(graph: Any) -> int:
    """Return how many bytes are alive at once, at most, if a TensorFlow graph runs in order."""
    owner: dict[str, str | None] = {}
    size: dict[str, int] = {}
    last_use: dict[str | None, int] = {}
    operations = [op for op in graph.get_operations() if op.type not in _GIVEN]
    for moment, operation in enumerate(operations):
        for tensor in operation.inputs:
            last_use[owner.get(tensor.name)] = moment
        for i, tensor in enumerate(operation.outputs):
            view = operation.type in _VIEWS
            owner[tensor.name] = owner.get(operation.inputs[i].name) if view else tensor.name
            size[tensor.name] = (tensor.shape.num_elements() or 0) * tensor.dtype.size
    kept = {owner.get(tensor.name) for tensor in graph.outputs}
    alive = peak = 0
    for moment, operation in enumerate(operations):
        made = [t.name for t in operation.outputs if owner[t.name] == t.name]
        alive += sum(size[name] for name in made)
        peak = max(peak, alive)
        seen = {owner.get(t.name) for t in operation.inputs} | set(made)
        done = [n for n in seen - kept if n and last_use.get(n, moment) == moment]
        alive -= sum(size[name] for name in done)
    return peak


def _jax(model: keras.Model, x: Tensor, cotangent: Tensor | None) -> Program:
    import jax

    weights = [variable.value for variable in model.trainable_variables]

    def forward(x: Tensor, weights: list[Tensor]) -> Tensor:
        return model.stateless_call(weights, [], x)[0]

    def step(x: Tensor, weights: list[Tensor], cotangent: Tensor) -> Any:
        y, backward = jax.vjp(forward, x, weights)
        return y, backward(cotangent)

    arguments = (x, weights) if cotangent is None else (x, weights, cotangent)
    program = jax.jit(forward if cotangent is None else step).lower(*arguments).compile()

    def peak_bytes() -> int | None:
        use = program.memory_analysis()
        return None if use is None else use.temp_size_in_bytes + use.output_size_in_bytes

    return Program(lambda: jax.block_until_ready(program(*arguments)), peak_bytes)


def _torch(model: keras.Model, x: Tensor, cotangent: Tensor | None) -> Program:
    import torch

    weights = [variable.value for variable in model.trainable_variables]

    def run() -> Any:
        if cotangent is None:
            with torch.no_grad():
                result = model(x, training=False)
        else:
            inputs = [x.detach().requires_grad_(), *weights]
            y = model(inputs[0], training=True)
            result = y, torch.autograd.grad(y, inputs, cotangent)
        if not on_cpu(x):
            torch.cuda.synchronize()
        return result

    def peak_bytes() -> int | None:
        if on_cpu(x):
            return _peak_resident(run)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before

    return Program(run, peak_bytes)


_BY_ENGINE: dict[str, Callable[[keras.Model, Tensor, Tensor | None], Program]] = {
    "tensorflow": _tensorflow,
    "tensorflow-xla": functools.partial(_tensorflow, by_xla=True),
    "jax": _jax,
    "torch": _torch,
}


def compiled(
    model: keras.Model, x: Tensor, cotangent: Tensor | None = None, engine: str | None = None
) -> Program:
    """Compile the forward pass of a model, or with a `cotangent` its training step.

    A step makes the output and the gradients of the input and of all weights; it is compiled at
    the latest when it first runs. The engine is the backend, or `"tensorflow-xla"`.
    """
    return _BY_ENGINE[engine or keras.backend.backend()](model, x, cotangent)


def _peak_resident(run: Callable[[], Any]) -> int | None:
    """Return how far the process's memory rises during a call; None where it cannot be seen."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def resident(entry: str) -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith(entry))
        return int(line.split()[1]) * 1024

    gc.collect()
    try:
        # Memory that was freed before, but kept, would hide what the call needs.
        ctypes.CDLL(None).malloc_trim(0)
        reset.write_text("5")  # the highest mark falls to the present
        before = resident("VmRSS")
        run()
        return max(0, resident("VmHWM") - before)
    except (OSError, AttributeError, StopIteration):  # not Linux, or not allowed
        return None
