"""A transposed convolution with the kernel itself, then the interpolation's own filter.

Upsampling inserts zeros between the samples, then filters. Filter and kernel may change places,
and with the kernel first there are the fewest multiply-adds. Nearest's filter is a box.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

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
from keras_upsampling.ops._upsample_conv.method import Method
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import Work, multiply_adds, passes, total
from keras_upsampling.ops.maps import convolve, crop_map, pad_map
from keras_upsampling.ops.tables import axis_filter


def _run(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    around, apart = around_input(task), [border.outputs for border in borders(task)]
    filters, copies, zeros, starts, lengths = [], [], [], [], []
    for i, (s, k, _, (before, after)) in enumerate(task.axes):
        first, weights, _ = axis_filter(s, task.interpolation)
        # How many samples beyond the ends of the input the outputs read.
        front, back = (
            0 if around == "zeros" else max(0, -((apart[i] + first - width) // s))
            for width in (before, after)
        )
        # Output `o` is the filter over samples `o + start ...` of the transposed convolution,
        # which has `s * (n - 1) + max(k, s)` of them; beyond those it is zero.
        start = k - before - first - len(weights) + s * front + apart[i]
        missing = after - first + s - max(k, s) - s * back - apart[i]
        # Sums and products of constants are what `torch.compile` can make a tensor of.
        filters.append([1.0 * weight for weight in weights])
        copies.append((front, back))
        zeros.append((max(0, -start), max(0, missing)))
        starts.append(max(0, start))
        length = task.output_length(ops.shape(x)[1 + i], i) - 2 * apart[i]
        lengths.append(length + len(weights) - 1)

    flipped = ops.flip(kernel, axis=tuple(range(task.rank)))
    flipped = ops.cast(ops.swapaxes(flipped, -1, -2), x.dtype)
    options: dict[str, Any] = {"strides": task.size, "padding": "valid"}
    y = convolve(ops.conv_transpose, pad_map(x, copies, around), flipped, **options)
    y = _filter(crop_map(pad_map(y, zeros, "zeros"), starts, lengths), filters, bias)
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
    return (
        task.rank < 3
        and task.groups == 1
        and max(task.dilation_rate) == 1
        and not (gaps and keras.backend.backend() == "tensorflow")
        and expressed(task, shape)
    )


def _work(task: Task, shape: Shape) -> Work:
    outputs = shape.samples * math.prod(task.size) * shape.filters
    taps = math.prod(task.kernel_size)
    weights = [len(axis_filter(s, task.interpolation)[1]) for s in task.size]
    filters = [math.prod(weights)] if math.prod(weights) <= _ONE_PASS else weights
    return total(
        passes(4 * taps * shape.channels * shape.filters, 2),  # flipped and turned
        multiply_adds("transposed", shape.samples, taps, shape.channels, shape.filters),
        passes(4 * outputs, 2),  # padded and cropped
        {"filtered": outputs * sum(filters)},
        passes(outputs * len(filters), len(filters)),
        border_work(task, shape),
        {"held": 2 * outputs},
    )


TRANSPOSED = Method("transposed", _run, _can, _work)
