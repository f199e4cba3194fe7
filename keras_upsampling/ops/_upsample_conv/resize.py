"""Upsample, then convolve: what every other method must equal."""

from __future__ import annotations

import math

from keras import ops

from keras_upsampling._arguments import spatial_axes
from keras_upsampling._types import Tensor
from keras_upsampling.ops._upsample_conv.method import Method
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import Work, enlarging, multiply_adds, passes, total
from keras_upsampling.ops.maps import convolve
from keras_upsampling.ops.pad import pad
from keras_upsampling.ops.resample import enlarge


def _run(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    axes = spatial_axes(task.rank, task.data_format)
    x = enlarge(x, task.size, task.interpolation, axes)
    if task.around != "zeros":
        widths = [(0, 0)] * len(x.shape)
        for axis, width in zip(axes, task.widths, strict=True):
            widths[axis] = width
        x = pad(x, widths, task.padding)
    padding = "same" if task.padding == "same" else "valid"
    options = {"padding": padding, "dilation_rate": task.dilation_rate}
    kernel = ops.cast(kernel, x.dtype)
    return convolve(ops.conv, x, kernel, bias, data_format=task.data_format, **options)


def _work(task: Task, shape: Shape) -> Work:
    factor, taps = math.prod(task.size), math.prod(task.kernel_size)
    channels = shape.channels / task.groups
    return total(
        enlarging(task, shape.numbers),
        {} if task.around == "zeros" else passes(2 * shape.numbers * factor, task.rank),
        multiply_adds("convolution", shape.samples * factor, taps, channels, shape.filters),
        {"held": shape.numbers * factor},
    )


RESIZE = Method("resize", _run, lambda *_: True, _work)
