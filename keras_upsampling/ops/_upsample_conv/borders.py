"""The outputs near the border that padding the input does not compute."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import (
    Work,
    multiply_adds,
    passes,
    total,
    upsampling_work,
)
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.maps import convolve, pad_map
from keras_upsampling.ops.resampling import upsample
from keras_upsampling.ops.tables import axis_filter


class Border(NamedTuple):
    """The outputs of one axis that depend on the padding or on the interpolation's edge rule.

    Attributes:
        outputs: Number of these outputs at each end.
        upsampled: Number of samples of the upsampled axis that they depend on, at the start and at
            the end.
        inputs: Number of samples of the input that they depend on, at each end.
    """

    outputs: int
    upsampled: tuple[int, int]
    inputs: int


def borders(task: Task) -> list[Border]:
    """Return the border of every axis; with nearest interpolation it has no outputs."""
    axis_borders = []
    for s, extent, widths in zip(task.size, task.extents, task.widths, strict=True):
        first, _, reach = axis_filter(s, task.interpolation)
        # A reflection reads one sample more than it adds.
        changed = max(reach, int(task.padding == "reflect" and any(widths)))
        # An axis that is not upsampled is padded exactly by padding the input.
        unchanged = s == 1 and task.boundary == "zeros"
        exact = task.interpolation == "nearest" or _copies_edges(task) or unchanged
        outputs = 0 if exact else max(widths) + changed
        before, after = (outputs + extent - 1 - width for width in widths)
        # Sample `m` of the upsampled axis reads input samples up to `(m - first) // s`.
        inputs = (max(before, after) - 1 - first) // s + 1
        axis_borders.append(Border(outputs, (before, after), inputs))
    return axis_borders


def padding_commutes(task: Task) -> bool:
    """Return whether padding before nearest upsampling equals padding after it."""
    # A reflection that stays within the copies of the edge sample repeats that sample. A longer
    # one does not equal any padding of the input.
    return task.interpolation == "nearest" and (
        task.padding != "reflect"
        or all(max(widths) < s for widths, s in zip(task.widths, task.size, strict=True))
    )


def padding_suffices(task: Task, shape: Shape) -> bool:
    """Return whether padding the input is exact, except at borders that are computed separately.

    Borders need axes of known length that are long enough for two of them and a sample between.
    """
    if task.interpolation == "nearest":
        return padding_commutes(task)
    return task.padding != "wrap" and all(
        not border.outputs
        or (n is not None and n >= border.inputs and n * s > 2 * max(border.upsampled))
        for n, s, border in zip(shape.spatial, task.size, borders(task), strict=True)
    )


def _copies_edges(task: Task) -> bool:
    """Return whether linear interpolation gets its edge rule and padding by repeating the edge."""
    # Other paddings need separate borders in any case. These include the edge rule, which saves
    # the pass over the input that would repeat its edge.
    unpadded = not any(map(max, task.widths))
    return task.interpolation == "linear" and (task.padding == "edge" or unpadded)


def input_padding(task: Task) -> str:
    """Return the mode in which the input is padded: `"zeros"`, or one of `numpy.pad`."""
    if _copies_edges(task):
        return "edge"
    if task.interpolation != "nearest":
        return "zeros"  # the outputs that read them are computed separately
    return "edge" if task.padding == "reflect" else task.boundary


def add_borders(
    inner: Tensor, x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task
) -> Tensor:
    """Compute the outputs at the borders, and concatenate them with the inner ones.

    They depend on few rows of the input, which are upsampled, then convolved.
    """
    axis_borders = borders(task)
    y = inner
    # From the last axis to the first: then later axes are complete, and earlier ones inner only.
    for i in reversed(range(task.rank)):
        border, leading = axis_borders[i], (slice(None),) * (i + 1)
        if not border.outputs:
            continue
        # Both ends in one convolution, concatenated along the batch.
        ends = [slice(None, border.inputs), slice(-border.inputs, None)]
        u = ops.concatenate([crop(x, [*leading, end]) for end in ends], axis=0)
        u = upsample(u, task.size, task.interpolation, range(1, task.rank + 1), by_routine=False)
        slices = [slice(None, border.upsampled[0]), slice(-border.upsampled[1], None)]
        sides = [(task.widths[i][0], 0), (0, task.widths[i][1])]
        padded = []
        for u_end, samples, side in zip(ops.split(u, 2, axis=0), slices, sides, strict=True):
            widths = [side if j == i else width for j, width in enumerate(task.widths)]
            padded.append(pad_map(crop(u_end, [*leading, samples]), widths, task.boundary))
        u = ops.concatenate(padded, axis=0)
        options: dict[str, Any] = {"padding": "valid", "dilation_rate": task.dilation_rate}
        u = convolve(ops.conv, u, ops.cast(kernel, u.dtype), bias, **options)
        inside = [slice(b.outputs, -b.outputs if b.outputs else None) for b in axis_borders[:i]]
        first, last = ops.split(crop(u, [slice(None), *inside]), 2, axis=0)
        y = ops.concatenate([first, y, last], axis=i + 1)
    return y


def border_work(task: Task, shape: Shape) -> Work:
    """Return the work of `add_borders`."""
    axis_borders, factor, taps = borders(task), math.prod(task.size), math.prod(task.kernel_size)
    lengths = [task.output_length(n, i) for i, n in enumerate(shape.spatial)]
    inner = [n - 2 * border.outputs for n, border in zip(lengths, axis_borders, strict=True)]
    works = []
    for i, border in enumerate(axis_borders):
        if not border.outputs:
            continue
        ends = 2 * shape.values // shape.spatial[i] * border.inputs
        # Earlier axes are computed at full length, and cropped to the inner samples afterwards.
        outputs = 2 * shape.batch * border.outputs * math.prod(lengths[:i] + lengths[i + 1 :])
        joined = shape.batch * math.prod([*inner[:i], *lengths[i:]]) * shape.filters
        works += [
            passes(2 * ends, 3),
            upsampling_work(task, ends),
            passes(4 * ends * factor, 6),
            multiply_adds("convolution", outputs, taps, shape.channels, shape.filters, task.groups),
            passes(2 * joined, 3),
        ]
    return total(*works)
