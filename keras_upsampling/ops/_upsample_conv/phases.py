"""One convolution of the input with a kernel per phase, then the phases interleaved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.phases import Phases, axis_phases
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
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.maps import convolve, crop_map, pad_map
from keras_upsampling.ops.tables import phase_taps


def _run(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    axes = _axes(task)
    composed = ops.cast(_compose(kernel, axes, task), x.dtype)
    apart = [border.outputs for border in borders(task)]
    lengths = [task.output_length(n, i) - 2 * apart[i] for i, n in enumerate(ops.shape(x)[1:-1])]
    starts = [axis.crop + cut for axis, cut in zip(axes, apart, strict=True)]
    if bias is None:
        of_phases = None
    else:  # phases before filters in each group, as in the kernel
        of_phases = ops.broadcast_to(
            ops.reshape(bias, (task.groups, 1, -1)),
            (task.groups, math.prod(task.size), kernel.shape[-1] // task.groups),
        )
        of_phases = ops.reshape(of_phases, (-1,))
    if _pads_itself(task):
        # The crop at the start is longer than the padding, so no start is negative.
        y = convolve(ops.conv, x, composed, of_phases, padding="same")
        starts = [
            start - s * (axis.before - (axis.window - 1) // 2)
            for start, s, axis in zip(starts, task.size, axes, strict=True)
        ]
    else:
        padded = pad_map(x, [(axis.before, axis.after) for axis in axes], around_input(task))
        y = convolve(ops.conv, padded, composed, of_phases, padding="valid")
    y = interleave(y, task.size, task.groups)
    y = crop_map(y, starts, lengths)
    return with_borders(y, x, kernel, bias, task)


def _axes(task: Task) -> list[Phases]:
    return [
        axis_phases(*phase_taps(s, task.interpolation), k, d, widths)
        for s, k, d, widths in task.axes
    ]


def _pads_itself(task: Task) -> bool:
    """Whether the convolution's own zero padding will do, which saves a pass over the map.

    It will where the outputs that see it are computed separately.
    """
    return task.padding == "same" and all(
        s == 1 or border.outputs for s, border in zip(task.size, borders(task), strict=True)
    )


def _compose(kernel: Tensor, axes: Sequence[Phases], task: Task) -> Tensor:
    """Return the kernel of all phases, `(*windows, channels, phases * filters)` for one group."""
    rank, (channels, filters) = task.rank, kernel.shape[-2:]
    # (k0, k1, channels, filters) -> (s0, w0, s1, w1, channels, filters), axis by axis.
    composed, front = kernel, 1
    for k, axis in zip(task.kernel_size, axes, strict=True):
        matrix = ops.convert_to_tensor(
            axis.matrix, dtype=keras.backend.standardize_dtype(kernel.dtype)
        )
        # Not `ops.matmul`, which answers float64 in float32.
        composed = matrix @ ops.reshape(composed, (front, k, -1))
        front *= len(axis.matrix)
    windows = [axis.window for axis in axes]
    split = [part for pair in zip(task.size, windows, strict=True) for part in pair]
    of_groups = (task.groups,) if task.groups > 1 else ()  # LiteRT turns six axes at most
    composed = ops.reshape(composed, (*split, channels, *of_groups, filters // task.groups))
    # -> (w0, w1, channels, group, s0, s1, filters): phases before filters in each group.
    odd, even, last = range(1, 2 * rank, 2), range(0, 2 * rank, 2), len(composed.shape) - 1
    composed = ops.transpose(composed, (*odd, *range(2 * rank, last), *even, last))
    return ops.reshape(composed, (*windows, channels, math.prod(task.size) * filters))


def _work(task: Task, shape: Shape) -> Work:
    axes, factor = _axes(task), math.prod(task.size)
    channels, filters = shape.channels / task.groups, shape.filters * factor
    outputs, windows = shape.samples * filters, math.prod(axis.window for axis in axes)
    composed = windows * channels * filters
    cropped = any(
        axis.crop or border.outputs for axis, border in zip(axes, borders(task), strict=True)
    )
    return total(
        passes(2 * composed, 2 * task.rank + 2),
        {} if _pads_itself(task) else passes(2 * shape.numbers),
        multiply_adds("convolution", shape.samples, windows, channels, filters),
        passes(2 * outputs),  # interleaved
        passes(2 * outputs) if cropped else {},
        border_work(task, shape),
        {"held": 2 * outputs},
    )


PHASES = Method("phases", _run, expressed, _work)
