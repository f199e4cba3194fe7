"""Where a tensor is."""

from __future__ import annotations

import keras

from keras_upsampling._types import Tensor


def on_cpu(x: Tensor) -> bool:
    """Return whether operations on `x` run on a CPU."""
    if keras.backend.backend() == "torch":  # Keras does not list its devices
        return x.device.type == "cpu"
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())
