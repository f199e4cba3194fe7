"""The device of a tensor, and the engine that runs operations on it."""

from __future__ import annotations

import keras

from keras_upsampling._types import Tensor

_BACKEND = keras.backend.backend()
if _BACKEND == "tensorflow":
    import tensorflow as tf

    try:  # a private name, which may go
        from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext
    except ImportError:
        GraphOrParentsInXlaContext = None


def on_cpu(x: Tensor) -> bool:
    """Return whether operations on `x` run on a CPU."""
    if _BACKEND == "torch":  # Keras does not list PyTorch's devices
        return x.device.type == "cpu"
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


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
