"""The method `transposed`: a transposed convolution, then the filter of the interpolation.

Upsampling inserts zeros between the samples, then filters. Filter and kernel may be applied in
either order, and the kernel first takes the fewest multiply-adds. The filter of nearest is a box.
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
    add_borders,
    border_work,
    borders,
    input_padding,
    padding_suffices,
)
from keras_upsampling.ops._upsample_conv.method import Method, one_step
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import Work, held, multiply_adds, passes, total
from keras_upsampling.ops.inputs import sum_dtype
from keras_upsampling.ops.maps import convolve, crop_map, pad_map
from keras_upsampling.ops.tables import axis_filter


class _Axis(NamedTuple):
    """The filter of one axis, and the padding and cropping before it.

    Attributes:
        filter: Weights of the interpolation's filter.
        input_padding: Number of samples to pad the input with, before and after.
        zeros: Number of zeros to pad the transposed convolution with, before and after.
        start: Index of the first sample that the filter reads.
        extra: Number of samples that it reads beyond `size` times the input's length.
        cropped: Whether samples are cropped.
    """

    filter: list[float]
    input_padding: tuple[int, int]
    zeros: tuple[int, int]
    start: int
    extra: int
    cropped: bool


def _axes(task: Task) -> list[_Axis]:
    mode, axis_borders, axes = input_padding(task), borders(task), []
    for i, (s, k, _, (before, after)) in enumerate(task.axes):
        first, weights, _ = axis_filter(s, task.interpolation)
        outputs = axis_borders[i].outputs
        # Number of samples beyond the ends of the input that the outputs read.
        front, back = (
            0 if mode == "zeros" else max(0, -((outputs + first - width) // s))
            for width in (before, after)
        )
        # Output `o` is the filter over samples `o + start ...` of the transposed convolution. That
        # has `s * (n - 1) + max(k, s)` samples, and is zero beyond them.
        start = k - before - first - len(weights) + s * front + outputs
        # How many samples the filter reads after the last one of the transposed convolution.
        missing = after - first + s - max(k, s) - s * back - outputs
        # `torch.compile` makes a tensor only of computed numbers, hence the product with 1.
        filter_weights = [1.0 * weight for weight in weights]
        zeros = max(0, -start), max(0, missing)
        extra = task.output_length(0, i) - 2 * outputs + len(weights) - 1
        cropped = start > 0 or missing < 0
        axes.append(_Axis(filter_weights, (front, back), zeros, max(0, start), extra, cropped))
    return axes


def _run(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    axes = _axes(task)
    flipped = ops.flip(kernel, axis=tuple(range(task.rank)))
    flipped = ops.cast(ops.swapaxes(flipped, -1, -2), x.dtype)
    options: dict[str, Any] = {"strides": task.size, "padding": "valid"}
    padded = pad_map(x, [axis.input_padding for axis in axes], input_padding(task))
    y = convolve(ops.conv_transpose, padded, flipped, **options)
    scaled_axes = zip(ops.shape(x)[1:-1], task.size, axes, strict=True)
    lengths = [s * n + axis.extra for n, s, axis in scaled_axes]
    y = pad_map(y, [axis.zeros for axis in axes], "zeros")
    y = crop_map(y, [axis.start for axis in axes], lengths)
    y = _filter(y, [axis.filter for axis in axes], bias)
    return add_borders(y, x, kernel, bias, task)


# Up to this number of weights, one filter of all axes is faster than a pass over the map for each
# axis.
_ONE_PASS = 16


def _filter(y: Tensor, filters: Sequence[Sequence[float]], bias: Tensor | None) -> Tensor:
    """Filter every channel along every axis, without padding, and add a bias."""
    # Half precision would round the weights and the sums between two axes.
    dtype, wide = y.dtype, sum_dtype(y.dtype)
    y, bias = ops.cast(y, wide), None if bias is None else ops.cast(bias, wide)
    kernels = []
    for i, weights in enumerate(filters):
        shape = [1] * (len(filters) + 2)
        shape[i] = len(weights)
        kernels.append(ops.reshape(ops.convert_to_tensor(weights, dtype=wide), shape))
    if math.prod([len(weights) for weights in filters]) <= _ONE_PASS:
        kernels = [functools.reduce(lambda a, b: a * b, kernels)]
    channels = int(y.shape[-1])  # for ONNX, the kernel's shape must not be traced
    for kernel in kernels:
        shape = [*kernel.shape[:-2], channels, 1]
        kernel_bias = bias if kernel is kernels[-1] else None
        kernel = ops.broadcast_to(kernel, shape)
        y = convolve(ops.depthwise_conv, y, kernel, kernel_bias, padding="valid")
    return ops.cast(y, dtype)


def _supports(task: Task, shape: Shape) -> bool:
    # On TensorFlow, the gradient of a kernel smaller than its stride crashes the process.
    gaps = any(k < s for k, s in zip(task.kernel_size, task.size, strict=True))
    # Keras's transposed convolution has no groups and no dilation with strides; its depthwise
    # convolution has no third dimension.
    plain = task.rank < 3 and task.groups == 1 and max(task.dilation_rate) == 1
    crashes = gaps and keras.backend.backend() == "tensorflow"
    return plain and not crashes and padding_suffices(task, shape)


def _work(task: Task, shape: Shape) -> Work:
    axes, taps = _axes(task), math.prod(task.kernel_size)
    outputs = shape.samples * math.prod(task.size) * shape.filters
    weights = [len(axis.filter) for axis in axes]
    filters = [math.prod(weights)] if math.prod(weights) <= _ONE_PASS else weights
    # The transposed convolution writes all outputs; further passes pad, crop and filter them.
    copied = any(any(axis.zeros) for axis in axes) + any(axis.cropped for axis in axes)
    return total(
        passes(4 * taps * shape.channels * shape.filters, 2),  # flipped and transposed
        passes(2 * shape.values) if any(any(axis.input_padding) for axis in axes) else {},
        multiply_adds("transposed", shape.samples, taps, shape.channels, shape.filters),
        passes(outputs * (1 + 2 * copied + len(filters)), copied + len(filters)),
        {"filtered": outputs * sum(filters)},
        border_work(task, shape),
        held((1 + len(filters)) * outputs, 2 * outputs + shape.values),
    )


TRANSPOSED = Method("transposed", _run, one_step(_supports), _work, in_float32_on_cpu=("float16",))
