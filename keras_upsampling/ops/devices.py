"""The device of a tensor, its name, and the engine that runs operations on it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import platform
from pathlib import Path

import keras

from keras_upsampling._types import Tensor

_BACKEND = keras.backend.backend()
if _BACKEND == "tensorflow":
    import tensorflow as tf

    try:  # a private name, which may go
        from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext
    except ImportError:
        GraphOrParentsInXlaContext = None
elif _BACKEND == "jax":
    import jax
elif _BACKEND == "torch":
    import torch


def on_cpu(x: Tensor) -> bool:
    """Return whether operations on `x` run on a CPU."""
    if _BACKEND == "torch":  # Keras does not list PyTorch's devices
        return x.device.type == "cpu"
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def device_of(x: Tensor) -> str:
    """Return the device of a tensor: `"cpu"`, or `"gpu:0"` for the first accelerator.

    Tensors that TensorFlow and JAX trace have no device yet; the first accelerator is assumed.
    """
    if on_cpu(x):
        return "cpu"
    index = x.device.index if _BACKEND == "torch" else None
    return f"gpu:{index or 0}"


def devices_to_measure() -> list[str]:
    """Return one accelerator of each name, or else the CPU."""
    if _BACKEND == "torch":
        count = torch.cuda.device_count() or int(not on_cpu(keras.ops.zeros(1)))
    else:
        devices = keras.distribution.list_devices()
        count = sum(not device.startswith("cpu") for device in devices)
    by_name: dict[str, str] = {}
    for device in (f"gpu:{i}" for i in range(count)):
        by_name.setdefault(device_name(device), device)
    return list(by_name.values()) or ["cpu"]


@functools.cache
def device_name(device: str) -> str:
    """Return the model of a device of `device_of`; for a CPU, with the number of cores."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return processor()
    if _BACKEND == "jax":
        return str(jax.devices()[int(index or 0)].device_kind)
    if _BACKEND == "tensorflow":
        accelerators = tf.config.list_physical_devices("GPU")
        chosen = accelerators[int(index or 0) :][:1]  # none on a TPU
        details = [tf.config.experimental.get_device_details(device) for device in chosen]
        return str(details[0].get("device_name", "GPU") if details else "GPU")
    if not torch.cuda.is_available():  # an accelerator of another maker, which has no name
        return "GPU"
    return str(torch.cuda.get_device_name(int(index or 0)))


@functools.cache
def processor() -> str:
    """Return the model of the CPU and the number of its cores."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration, IndexError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next(line for line in lines if line.startswith("model name")).split(": ")[1]
    return f"{model}, {os.cpu_count()} cores"


def backend_version() -> str:
    """Return the version of the backend."""
    return str(importlib.import_module(_BACKEND).__version__)


def engines() -> tuple[str, ...]:
    """Return the engines that may run the caller's operations.

    An engine is a backend, or `"tensorflow-xla"` in a graph that TensorFlow compiles by XLA. Both
    engines of TensorFlow are returned if it does not tell which one runs.
    """
    if _BACKEND != "tensorflow" or tf.executing_eagerly():
        return (_BACKEND,)
    if GraphOrParentsInXlaContext is None:
        return "tensorflow", "tensorflow-xla"
    compiled = GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    return ("tensorflow-xla",) if compiled else ("tensorflow",)


def engines_of_backend() -> tuple[str, ...]:
    """Return every engine of the backend."""
    return (_BACKEND, "tensorflow-xla") if _BACKEND == "tensorflow" else (_BACKEND,)
