"""Sub-pixel convolutions: depth to space, and the convolution before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers, ops

from keras_upsampling.auditing.flow import SizeChange, map_lengths
from keras_upsampling.auditing.kernels import CONVOLUTIONS, subpixel
from keras_upsampling.auditing.trace import Call

# What does the same to every number by itself, and so to all phases: layers, and the operations
# of functional models, which have no public classes.
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
    step: Call, steps: list[Call], whole: Call, data_format: str
) -> SizeChange | None:
    """Return what is known of a convolution, if this step is the depth-to-space behind it."""
    size = _whole_factors(step, data_format)
    if size is None:
        return None
    before = step
    while before is step or _is_elementwise(before.operation):
        tensor = before.input_ids[0] if len(before.input_ids) == 1 else None
        # Some layers hand on what they are given: they neither make nor use it.
        makers = [
            other for other in steps if tensor in other.output_ids and tensor not in other.input_ids
        ]
        users = [
            other for other in steps if tensor in other.input_ids and tensor not in other.output_ids
        ]
        # What others use as well is not a sub-pixel convolution's alone.
        if not makers or len(users) > 1 or tensor in whole.output_ids:
            return None
        before = makers[-1]
    layer = before.operation
    alone = sum(other.operation is layer for other in steps) == 1
    if (
        not isinstance(layer, CONVOLUTIONS)
        or max(layer.strides) > 1
        or layer.groups > 1
        or not alone
    ):
        return None
    order = _channel_order(step, size)
    if order is None:
        return None
    name = f"{type(layer).__name__} + {type(step.operation).__name__}"
    return SizeChange(before, step, name, True, size, subpixel(layer, size, order).ripple(), order)


def _whole_factors(step: Call, data_format: str) -> tuple[int, ...] | None:
    given, made = map_lengths(step, data_format)
    if not given or any(n == 0 or m % n for n, m in zip(given, made, strict=True)):
        return None
    size = tuple(m // n for n, m in zip(given, made, strict=True))
    return size if max(size) > 1 else None


def is_depth_to_space(step: Call, data_format: str) -> bool:
    """Return whether a step as a whole is depth to space."""
    size = _whole_factors(step, data_format)
    return size is not None and _channel_order(step, size) is not None


def _is_elementwise(operation: Any) -> bool:
    if isinstance(operation, layers.Activation):
        return getattr(operation.activation, "__name__", "") in _ELEMENTWISE_ACTIVATIONS
    return isinstance(operation, _ELEMENTWISE) or type(operation).__name__ in _ELEMENTWISE_NAMES


def _channel_order(step: Call, size: tuple[int, ...]) -> np.ndarray | None:
    """Return which channel becomes which phase, if a step is depth-to-space.

    It is tried out, on a map whose values are the numbers of its channels.
    """
    count = math.prod(size)
    *lengths, channels = (n or 0 for n in step.inputs[0][1:])  # the only ones it may take
    if channels % count or step.outputs[0][-1] != channels // count:
        return None
    numbers = np.broadcast_to(np.arange(channels, dtype="float32"), (1, *lengths, channels))
    if step.data_formats[0] == "channels_first":
        numbers = np.moveaxis(numbers, -1, 1)
    try:
        made = ops.convert_to_numpy(step.operation(ops.convert_to_tensor(numbers)))
    except Exception:  # of whatever the layer does with such a map: then it is something else
        return None
    if step.data_formats[0] == "channels_first":
        made = np.moveaxis(made, 1, -1)
    order = made[0][tuple(slice(s) for s in size)]
    same = np.array_equal(made[0], np.tile(order, (*lengths, 1)))
    each_once = np.array_equal(np.sort(order, axis=None), np.arange(channels))
    return order.astype(int) if same and each_once else None
