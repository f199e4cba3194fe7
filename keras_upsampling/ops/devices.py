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
    """Return the device of a tensor: `"cpu"`, or its kind and number, such as `"gpu:0"`.

    Only CUDA and ROCm are a `"gpu"`; another accelerator has the name that the backend has for it,
    such as `"tpu:0"`. Tensors that TensorFlow and JAX trace have no device yet; the first
    accelerator is assumed.
    """
    if on_cpu(x):
        return "cpu"
    if _BACKEND == "torch":
        kind = "gpu" if x.device.type == "cuda" else x.device.type
        return f"{kind}:{x.device.index or 0}"
    kind = keras.distribution.list_devices()[0].partition(":")[0].lower()
    if _BACKEND == "tensorflow" and kind == "gpu" and not tf.test.is_built_with_gpu_support():
        kind = "pluggable"  # a device of another maker, which calls itself a GPU
    return f"{kind}:0"


def devices_to_measure() -> list[str]:
    """Return the device that Keras computes on, and on PyTorch every GPU of another name.

    On TensorFlow and JAX, methods are chosen for the first accelerator, whatever computes.
    """
    default = device_of(keras.ops.zeros(1))
    if _BACKEND != "torch" or not default.startswith("gpu"):
        return [default]
    by_name: dict[str, str] = {}
    for device in (default, *(f"gpu:{i}" for i in range(torch.cuda.device_count()))):
        by_name.setdefault(device_name(device), device)
    return list(by_name.values())


@functools.cache
def device_name(device: str) -> str:
    """Return the model of a device of `device_of`; for a CPU, with the number of cores."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return processor()
    if _BACKEND == "jax":
        return str(jax.devices()[int(index or 0)].device_kind)
    if _BACKEND == "torch" and kind == "gpu":
        return str(torch.cuda.get_device_name(int(index or 0)))
    if _BACKEND == "tensorflow":
        for accelerator in tf.config.get_visible_devices("GPU")[:1]:  # none on a TPU
            details = tf.config.experimental.get_device_details(accelerator)
            return str(details.get("device_name", kind.upper()))
    return kind.upper()  # it has no name


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
