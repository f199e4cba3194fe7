"""A transposed convolution with the kernel itself, then the interpolation's own filter.

Upsampling inserts zeros between the samples, then filters. Filter and kernel may change places,
and with the kernel first there are the fewest multiply-adds. Nearest's filter is a box.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops._upsample_conv.borders import (
    around_input,
    border_work,
    borders,
    expressed,
    with_borders,
)
from keras_upsampling.ops._upsample_conv.method import Method, one_step
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import Work, multiply_adds, passes, total
from keras_upsampling.ops.maps import convolve, crop_map, pad_map
from keras_upsampling.ops.tables import axis_filter


class _Axis(NamedTuple):
    """The filter of one axis, and how input and map are padded before it, and the map cropped."""

    filter: list[float]
    copies: tuple[int, int]
    zeros: tuple[int, int]
    start: int
    more: int  # samples than the enlarged input has
    cropped: bool


def _axes(task: Task) -> list[_Axis]:
    around, apart, axes = around_input(task), borders(task), []
    for i, (s, k, _, (before, after)) in enumerate(task.axes):
        first, weights, _ = axis_filter(s, task.interpolation)
        # How many samples beyond the ends of the input the outputs read.
        front, back = (
            0 if around == "zeros" else max(0, -((apart[i].outputs + first - width) // s))
            for width in (before, after)
        )
        # Output `o` is the filter over samples `o + start ...` of the transposed convolution,
        # which has `s * (n - 1) + max(k, s)` of them; beyond those it is zero.
        start = k - before - first - len(weights) + s * front + apart[i].outputs
        missing = after - first + s - max(k, s) - s * back - apart[i].outputs
        # Products of constants are what `torch.compile` can make a tensor of.
        constants, zeros = [1.0 * weight for weight in weights], (max(0, -start), max(0, missing))
        more = task.output_length(0, i) - 2 * apart[i].outputs + len(weights) - 1
        cropped = start > 0 or missing < 0
        axes.append(_Axis(constants, (front, back), zeros, max(0, start), more, cropped))
    return axes


def _run(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    axes = _axes(task)
    flipped = ops.flip(kernel, axis=tuple(range(task.rank)))
    flipped = ops.cast(ops.swapaxes(flipped, -1, -2), x.dtype)
    options: dict[str, Any] = {"strides": task.size, "padding": "valid"}
    padded = pad_map(x, [axis.copies for axis in axes], around_input(task))
    y = convolve(ops.conv_transpose, padded, flipped, **options)
    of_axes = zip(ops.shape(x)[1:-1], task.size, axes, strict=True)
    lengths = [s * n + axis.more for n, s, axis in of_axes]
    y = pad_map(y, [axis.zeros for axis in axes], "zeros")
    y = crop_map(y, [axis.start for axis in axes], lengths)
    y = _filter(y, [axis.filter for axis in axes], bias)
    return with_borders(y, x, kernel, bias, task)


# Up to how many weights a filter of all axes is run in one pass over the map, in place of a pass
# for each axis.
_ONE_PASS = 16


def _filter(y: Tensor, filters: Sequence[Sequence[float]], bias: Tensor | None) -> Tensor:
    """Run every channel through one filter per axis, without padding, and add a bias."""
    kernels = []
    for i, weights in enumerate(filters):
        shape = [1] * (len(filters) + 2)
        shape[i] = len(weights)
        kernels.append(ops.reshape(ops.convert_to_tensor(weights, dtype=y.dtype), shape))
    if math.prod([len(weights) for weights in filters]) <= _ONE_PASS:
        kernels = [functools.reduce(lambda a, b: a * b, kernels)]
    channels = int(y.shape[-1])  # for ONNX, the kernel's shape must not be one that is traced
    for kernel in kernels:
        shape = [*kernel.shape[:-2], channels, 1]
        added = bias if kernel is kernels[-1] else None
        kernel = ops.broadcast_to(kernel, shape)
        y = convolve(ops.depthwise_conv, y, kernel, added, padding="valid")
    return y


def _can(task: Task, shape: Shape) -> bool:
    # A kernel smaller than its stride has a gradient that ends the process on TensorFlow.
    gaps = any(k < s for k, s in zip(task.kernel_size, task.size, strict=True))
    # Keras's transposed convolution has neither groups nor dilation, its depthwise convolution
    # no third dimension.
    plain = task.rank < 3 and task.groups == 1 and max(task.dilation_rate) == 1
    wrong = gaps and keras.backend.backend() == "tensorflow"
    return plain and not wrong and expressed(task, shape)


def _work(task: Task, shape: Shape) -> Work:
    axes, taps = _axes(task), math.prod(task.kernel_size)
    outputs = shape.samples * math.prod(task.size) * shape.filters
    weights = [len(axis.filter) for axis in axes]
    filters = [math.prod(weights)] if math.prod(weights) <= _ONE_PASS else weights
    # The transposed convolution writes all outputs; and passes pad, crop and filter them.
    copied = any(any(axis.zeros) for axis in axes) + any(axis.cropped for axis in axes)
    return total(
        passes(4 * taps * shape.channels * shape.filters, 2),  # flipped and transposed
        passes(2 * shape.numbers) if any(any(axis.copies) for axis in axes) else {},
        multiply_adds("transposed", shape.samples, taps, shape.channels, shape.filters),
        passes(outputs * (1 + 2 * copied + len(filters)), copied + len(filters)),
        {"filtered": outputs * sum(filters)},
        border_work(task, shape),
        {"held": 2 * outputs},
    )


TRANSPOSED = Method("transposed", _run, one_step(_can), _work)
