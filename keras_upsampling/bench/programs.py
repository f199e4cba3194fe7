"""One pass of a model as a program, and its peak memory, on each backend."""

from __future__ import annotations

import ctypes
import functools
import gc
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras

from keras_upsampling._types import Tensor
from keras_upsampling.ops.devices import on_cpu

# The input of a model, or its inputs.
Inputs: TypeAlias = Tensor | list[Tensor]


class Program(NamedTuple):
    """One pass of one contender. `run` returns when the computation is complete."""

    run: Callable[[], Any]
    peak_bytes: Callable[[], int | None]


def synchronize(x: Inputs) -> None:
    """Wait until the device of the inputs has computed what TensorFlow or PyTorch gave it."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.test.experimental.sync_devices()
    elif backend == "torch" and _listed(x)[0].device.type != "cpu":
        import torch

        torch.accelerator.synchronize(_listed(x)[0].device)  # not only the current one


def _listed(x: Inputs) -> list[Tensor]:
    return x if isinstance(x, list) else [x]


def _tensorflow(
    model: keras.Model, x: Inputs, cotangent: Tensor | None, jit_compile: bool = False
) -> Program:
    import tensorflow as tf

    weights = [variable.value for variable in model.trainable_variables]

    def forward(x: Inputs) -> Tensor:
        return model(x, training=False)

    def step(x: Inputs, cotangent: Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        return y, tape.gradient(y, [*_listed(x), *weights], output_gradients=cotangent)

    arguments = (x,) if cotangent is None else (x, cotangent)
    function = tf.function(forward if cotangent is None else step, jit_compile=jit_compile or None)
    program = function.get_concrete_function(*arguments)

    def run() -> Any:
        result = program(*arguments)
        synchronize(x)
        return result

    def peak_bytes() -> int | None:
        if on_cpu(_listed(x)[0]):
            return _peak_of_graph(program.graph)
        before = tf.config.experimental.get_memory_info("GPU:0")["current"]
        tf.config.experimental.reset_memory_stats("GPU:0")
        run()
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"] - before)

    return Program(run, peak_bytes)


# TensorFlow operations whose outputs need no new memory: inputs of the graph, views of existing
# tensors, and the addition of a bias, which is in place.
_INPUTS = ("Placeholder", "ReadVariableOp", "Const")
_VIEWS = ("Reshape", "Identity", "IdentityN", "ExpandDims", "Squeeze", "BiasAdd")


def _peak_of_graph(graph: Any) -> int:
    """Return the peak bytes of live tensors if a TensorFlow graph runs in order."""
    owner: dict[str, str | None] = {}
    size: dict[str, int] = {}
    last_use: dict[str | None, int] = {}
    operations = [op for op in graph.get_operations() if op.type not in _INPUTS]
    for moment, operation in enumerate(operations):
        for tensor in operation.inputs:
            last_use[owner.get(tensor.name)] = moment
        for i, tensor in enumerate(operation.outputs):
            view = operation.type in _VIEWS
            owner[tensor.name] = owner.get(operation.inputs[i].name) if view else tensor.name
            size[tensor.name] = (tensor.shape.num_elements() or 0) * tensor.dtype.size
    outputs = {owner.get(tensor.name) for tensor in graph.outputs}
    alive = peak = 0
    for moment, operation in enumerate(operations):
        created = [t.name for t in operation.outputs if owner[t.name] == t.name]
        alive += sum(size[name] for name in created)
        peak = max(peak, alive)
        touched = {owner.get(t.name) for t in operation.inputs} | set(created)
        freed = [n for n in touched - outputs if n and last_use.get(n, moment) == moment]
        alive -= sum(size[name] for name in freed)
    return peak


def _jax(model: keras.Model, x: Inputs, cotangent: Tensor | None) -> Program:
    import jax

    weights = [variable.value for variable in model.trainable_variables]
    state = [variable.value for variable in model.non_trainable_variables]

    def forward(x: Inputs, weights: list[Tensor]) -> Tensor:
        return model.stateless_call(weights, state, x, training=cotangent is not None)[0]

    def step(x: Inputs, weights: list[Tensor], cotangent: Tensor) -> Any:
        y, backward = jax.vjp(forward, x, weights)
        return y, backward(cotangent)

    arguments = (x, weights) if cotangent is None else (x, weights, cotangent)
    program = jax.jit(forward if cotangent is None else step).lower(*arguments).compile()

    def peak_bytes() -> int | None:
        memory = program.memory_analysis()
        return None if memory is None else memory.temp_size_in_bytes + memory.output_size_in_bytes

    return Program(lambda: jax.block_until_ready(program(*arguments)), peak_bytes)


def _torch(model: keras.Model, x: Inputs, cotangent: Tensor | None) -> Program:
    import torch

    weights = [variable.value for variable in model.trainable_variables]
    device = _listed(x)[0].device

    def run() -> Any:
        if cotangent is None:
            with torch.no_grad():
                result = model(x, training=False)
        else:
            inputs = [tensor.detach().requires_grad_() for tensor in _listed(x)]
            y = model(inputs if isinstance(x, list) else inputs[0], training=True)
            result = y, torch.autograd.grad(y, [*inputs, *weights], cotangent)
        synchronize(x)
        return result

    def peak_bytes() -> int | None:
        if device.type == "cpu":
            return _peak_resident(run)
        if device.type != "cuda":
            return None
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before

    return Program(run, peak_bytes)


_PROGRAMS: dict[str, Callable[[keras.Model, Inputs, Tensor | None], Program]] = {
    "tensorflow": _tensorflow,
    "tensorflow-xla": functools.partial(_tensorflow, jit_compile=True),
    "jax": _jax,
    "torch": _torch,
}


def program_of(
    model: keras.Model, x: Inputs, cotangent: Tensor | None = None, engine: str | None = None
) -> Program:
    """Return the forward pass or the training step of a model as a program.

    A training step computes the output and the gradients of the input and of all weights.
    TensorFlow and JAX compile the program when it first runs. PyTorch runs it eagerly.

    Args:
        model: The model.
        x: Its input tensor, or a list of them.
        cotangent: Gradient of the output for a training step; None for the forward pass.
        engine: A backend, or `"tensorflow-xla"`; the current backend by default.
    """
    return _PROGRAMS[engine or keras.backend.backend()](model, x, cotangent)


def programs_of(
    models: Mapping[str, keras.Model],
    x: Tensor,
    cotangent: Tensor | None = None,
    engine: str | None = None,
) -> dict[str, Program]:
    """Return `program_of` every model; JAX compiles them at the same time, in threads."""

    def program(model: keras.Model) -> Program:
        return program_of(model, x, cotangent, engine)

    if keras.backend.backend() != "jax":
        return {name: program(model) for name, model in models.items()}
    with ThreadPoolExecutor(len(models)) as pool:
        return dict(zip(models, pool.map(program, models.values()), strict=True))


def _peak_resident(run: Callable[[], Any]) -> int | None:
    """Return the growth of the process's memory in a call; None if the system does not tell."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def resident(entry: str) -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith(entry))
        return int(line.split()[1]) * 1024

    gc.collect()
    try:
        # Return memory that the allocator keeps after a free; the call would reuse it unseen.
        ctypes.CDLL(None).malloc_trim(0)
        reset.write_text("5")  # resets the peak to the present value
        before = resident("VmRSS")
        run()
        return max(0, resident("VmHWM") - before)
    except (OSError, AttributeError, StopIteration):  # not Linux, or no permission
        return None
