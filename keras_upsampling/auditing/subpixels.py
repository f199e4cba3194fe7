"""Sub-pixel convolutions: depth to space, and the convolution before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers, ops

from keras_upsampling.auditing.flow import SizeChange, map_lengths
from keras_upsampling.auditing.kernels import CONVOLUTIONS, subpixel
from keras_upsampling.auditing.trace import Call

# Layers that treat every value, and so every phase, alike. The operations of functional models
# have no public classes, so they are known by name.
_ELEMENTWISE = (layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Dropout, layers.Identity)

_ELEMENTWISE_NAMES = {
    "Relu",
    "Relu6",
    "LeakyRelu",
    "Elu",
    "Gelu",
    "Selu",
    "Silu",
    "Sigmoid",
    "Tanh",
}

_ELEMENTWISE_ACTIVATIONS = {name.lower() for name in _ELEMENTWISE_NAMES} | {"leaky_relu", "linear"}


def subpixel_convolution(
    step: Call, steps: list[Call], model_call: Call, data_format: str
) -> SizeChange | None:
    """Return the size change of a sub-pixel convolution, if the step is its depth to space."""
    size = _integer_factors(step, data_format)
    if size is None:
        return None
    convolution = step
    while convolution is step or _is_elementwise(convolution.operation):
        tensor = convolution.input_ids[0] if len(convolution.input_ids) == 1 else None
        # Steps that return their input unchanged neither compute nor use it.
        sources = [s for s in steps if tensor in s.output_ids and tensor not in s.input_ids]
        users = [s for s in steps if tensor in s.input_ids and tensor not in s.output_ids]
        # Another user of the convolution's output would not see phases.
        if not sources or len(users) > 1 or tensor in model_call.output_ids:
            return None
        convolution = sources[-1]
    layer = convolution.operation
    called_once = sum(other.operation is layer for other in steps) == 1
    if (
        not isinstance(layer, CONVOLUTIONS)
        or max(layer.strides) > 1
        or layer.groups > 1
        or not called_once
    ):
        return None
    order = _channel_order(step, size)
    if order is None:
        return None
    kind = f"{type(layer).__name__} + {type(step.operation).__name__}"
    ripple = subpixel(layer, size, order).ripple()
    return SizeChange(convolution, step, kind, True, size, ripple, order)


def _integer_factors(step: Call, data_format: str) -> tuple[int, ...] | None:
    """Return the factors of an upsampling by integers; None for other steps."""
    inputs, outputs = map_lengths(step, data_format)
    if not inputs or any(n == 0 or m % n for n, m in zip(inputs, outputs, strict=True)):
        return None
    size = tuple(m // n for n, m in zip(inputs, outputs, strict=True))
    return size if max(size) > 1 else None


def is_depth_to_space(step: Call, data_format: str) -> bool:
    """Return whether a step is depth to space."""
    size = _integer_factors(step, data_format)
    return size is not None and _channel_order(step, size) is not None


def _is_elementwise(operation: Any) -> bool:
    if isinstance(operation, layers.Activation):
        return getattr(operation.activation, "__name__", "") in _ELEMENTWISE_ACTIVATIONS
    return isinstance(operation, _ELEMENTWISE) or type(operation).__name__ in _ELEMENTWISE_NAMES


def _channel_order(step: Call, size: tuple[int, ...]) -> np.ndarray | None:
    """Return the channel of each phase, `(*size, filters)`; None if a step is not depth to space.

    The step is tested with a map whose values are the indices of its channels.
    """
    count = math.prod(size)
    *lengths, channels = (n or 0 for n in step.inputs[0][1:])  # it may accept no other lengths
    if channels % count or step.outputs[0][-1] != channels // count:
        return None
    indices = np.broadcast_to(np.arange(channels, dtype="float32"), (1, *lengths, channels))
    if step.data_formats[0] == "channels_first":
        indices = np.moveaxis(indices, -1, 1)
    try:
        result = ops.convert_to_numpy(step.operation(ops.convert_to_tensor(indices)))
    except Exception:  # a layer may raise anything
        return None
    if step.data_formats[0] == "channels_first":
        result = np.moveaxis(result, 1, -1)
    order = result[0][tuple(slice(s) for s in size)]
    repeats = np.array_equal(result[0], np.tile(order, (*lengths, 1)))
    each_once = np.array_equal(np.sort(order, axis=None), np.arange(channels))
    return order.astype(int) if repeats and each_once else None
