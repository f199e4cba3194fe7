"""The methods `resize` and `phases`: a convolution of the upsampled map, or of the input."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras import ops

from keras_upsampling._shapes import spatial_axes
from keras_upsampling._types import Tensor
from keras_upsampling.maths.phases import Phases, axis_phases
from keras_upsampling.ops._upsample_conv.borders import (
    add_borders,
    border_work,
    borders,
    input_padding,
    padding_suffices,
)
from keras_upsampling.ops._upsample_conv.method import Method, one_step
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import (
    Work,
    held,
    multiply_adds,
    passes,
    total,
    upsampling_work,
)
from keras_upsampling.ops.inputs import sum_dtype
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.maps import convolve, crop_map, pad_map
from keras_upsampling.ops.padding import pad
from keras_upsampling.ops.resampling import upsample
from keras_upsampling.ops.tables import phase_taps


def _resize(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """Upsample, then convolve: the definition of the result of every method."""
    axes = spatial_axes(task.rank, task.data_format)
    x = upsample(x, task.size, task.interpolation, axes)
    if task.boundary != "zeros":
        widths = [(0, 0)] * len(x.shape)
        for axis, width in zip(axes, task.widths, strict=True):
            widths[axis] = width
        x = pad(x, widths, task.padding)
    padding = "same" if task.padding == "same" else "valid"
    options = {"padding": padding, "dilation_rate": task.dilation_rate}
    kernel = ops.cast(kernel, x.dtype)
    return convolve(ops.conv, x, kernel, bias, data_format=task.data_format, **options)


def _resize_work(task: Task, shape: Shape) -> Work:
    samples, taps = shape.samples * math.prod(task.size), math.prod(task.kernel_size)
    upsampled, outputs = samples * shape.channels, samples * shape.filters
    return total(
        upsampling_work(task, shape.values),
        {} if task.boundary == "zeros" else passes(2 * upsampled, task.rank),
        multiply_adds("convolution", samples, taps, shape.channels, shape.filters, task.groups),
        # The gradient of the kernel needs the upsampled map, whose own gradient is as large.
        held(upsampled + outputs, 2 * upsampled + outputs),
    )


def _phases(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """Convolve the input with the composed kernel of all phases, then interleave the phases."""
    axes = _axes(task)
    composed = ops.cast(_compose(kernel, axes, task), x.dtype)
    cuts = [border.outputs for border in borders(task)]
    lengths = [task.output_length(n, i) - 2 * cuts[i] for i, n in enumerate(ops.shape(x)[1:-1])]
    starts = [axis.crop + cut for axis, cut in zip(axes, cuts, strict=True)]
    phase_bias = bias
    if bias is not None:  # phases before filters in each group, as in the kernel
        repeated = ops.repeat(ops.reshape(bias, (task.groups, 1, -1)), math.prod(task.size), 1)
        phase_bias = ops.reshape(repeated, (-1,))
    if _same_padding_suffices(task):
        # The crop at the start is longer than the padding, so no start is negative.
        y = convolve(ops.conv, x, composed, phase_bias, padding="same")
        starts = [
            start - s * (axis.before - (axis.window - 1) // 2)
            for start, s, axis in zip(starts, task.size, axes, strict=True)
        ]
    else:
        padded = pad_map(x, [(axis.before, axis.after) for axis in axes], input_padding(task))
        y = convolve(ops.conv, padded, composed, phase_bias, padding="valid")
    y = interleave(y, task.size, task.groups)
    y = crop_map(y, starts, lengths)
    return add_borders(y, x, kernel, bias, task)


def _axes(task: Task) -> list[Phases]:
    return [
        axis_phases(*phase_taps(s, task.interpolation), k, d, widths)
        for s, k, d, widths in task.axes
    ]


def _same_padding_suffices(task: Task) -> bool:
    """Return whether the convolution's own zero padding is enough, which saves a pass over the map.

    It is enough if the outputs that read it are computed separately.
    """
    return task.padding == "same" and all(
        s == 1 or border.outputs for s, border in zip(task.size, borders(task), strict=True)
    )


def _compose(kernel: Tensor, axes: Sequence[Phases], task: Task) -> Tensor:
    """Return the composed kernel of all phases, `(*windows, channels, phases * filters)`."""
    rank, (channels, filters) = task.rank, kernel.shape[-2:]
    # (k0, k1, channels, filters) -> (s0, w0, s1, w1, channels, filters), axis by axis.
    front, dtype = 1, sum_dtype(kernel.dtype)
    composed = ops.cast(kernel, dtype)
    for k, axis in zip(task.kernel_size, axes, strict=True):
        matrix = ops.convert_to_tensor(axis.matrix, dtype=dtype)
        # Not `ops.matmul`, which computes float64 in float32.
        composed = matrix @ ops.reshape(composed, (front, k, -1))
        front *= len(axis.matrix)
    windows = [axis.window for axis in axes]
    split = [length for pair in zip(task.size, windows, strict=True) for length in pair]
    group_axis = (task.groups,) if task.groups > 1 else ()  # LiteRT transposes at most six axes
    composed = ops.reshape(composed, (*split, channels, *group_axis, filters // task.groups))
    # -> (w0, w1, channels, group, s0, s1, filters): phases before filters in each group.
    odd, even, last = range(1, 2 * rank, 2), range(0, 2 * rank, 2), len(composed.shape) - 1
    composed = ops.transpose(composed, (*odd, *range(2 * rank, last), *even, last))
    return ops.reshape(composed, (*windows, channels, math.prod(task.size) * filters))


def _phases_work(task: Task, shape: Shape) -> Work:
    axes, filters = _axes(task), shape.filters * math.prod(task.size)
    windows = math.prod(axis.window for axis in axes)
    composed = windows * shape.channels * filters // task.groups
    padded = [
        n if _same_padding_suffices(task) else n + axis.before + axis.after - axis.window + 1
        for n, axis in zip(shape.spatial, axes, strict=True)
    ]
    samples = shape.batch * math.prod(padded)
    ends = zip(axes, borders(task), padded, shape.spatial, strict=True)
    cropped = any(axis.crop or border.outputs or n != m for axis, border, n, m in ends)
    return total(
        passes(2 * composed, 2 * task.rank + 2),
        {} if _same_padding_suffices(task) else passes(2 * shape.values),
        multiply_adds("convolution", samples, windows, shape.channels, filters, task.groups),
        passes((4 if cropped else 2) * samples * filters, 2 if cropped else 1),  # interleaved
        border_work(task, shape),
        # Both the phases and the output, or their gradients; and the composed kernel.
        held(2 * samples * filters, 3 * samples * filters + 2 * composed),
    )


RESIZE = Method("resize", _resize, lambda *_: True, _resize_work)
PHASES = Method(
    "phases", _phases, one_step(padding_suffices), _phases_work, in_float32_on_cpu=("float16",)
)
