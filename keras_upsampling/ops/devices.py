"""Where a tensor is, and what runs operations on it."""

from __future__ import annotations

import keras

from keras_upsampling._types import Tensor

_BACKEND = keras.backend.backend()
if _BACKEND == "tensorflow":
    import tensorflow as tf

    try:  # it is private
        from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext
    except ImportError:
        GraphOrParentsInXlaContext = None


def on_cpu(x: Tensor) -> bool:
    """Return whether operations on `x` run on a CPU."""
    if _BACKEND == "torch":  # Keras does not list its devices
        return x.device.type == "cpu"
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def engines() -> tuple[str, ...]:
    """Return what may run the caller's operations.

    That is the backend, or `"tensorflow-xla"` in a graph that TensorFlow compiles by XLA; both of
    TensorFlow's where it does not say which.
    """
    if _BACKEND != "tensorflow" or tf.executing_eagerly():
        return (_BACKEND,)
    if GraphOrParentsInXlaContext is None:
        return "tensorflow", "tensorflow-xla"
    compiled = GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    return ("tensorflow-xla",) if compiled else ("tensorflow",)
