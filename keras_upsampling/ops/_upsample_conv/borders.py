"""The outputs near the ends of a map, where no padding of the input does what is asked."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import Work, enlarging, multiply_adds, passes, total
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.maps import convolve, pad_map
from keras_upsampling.ops.resample import enlarge
from keras_upsampling.ops.tables import axis_filter


class Border(NamedTuple):
    """What padding, or the interpolation's edge rule, changes of one axis.

    Attributes:
        outputs: How many samples of the output, at either end.
        enlarged: Of how many samples of the enlarged axis those are made, before and after.
        inputs: And of how many of the input, at either end.
    """

    outputs: int
    enlarged: tuple[int, int]
    inputs: int


def borders(task: Task) -> list[Border]:
    """Return what no padding of the input expresses of every axis; for nearest, nothing."""
    found = []
    for s, extent, widths in zip(task.size, task.extents, task.widths, strict=True):
        first, _, reach = axis_filter(s, task.interpolation)
        # A reflection meets one sample more than it makes.
        changed = max(reach, int(task.padding == "reflect" and any(widths)))
        # What pads the input, makes the padded outputs too.
        same = s == 1 and task.around == "zeros"
        expressed = task.interpolation == "nearest" or _copies_edges(task) or same
        outputs = 0 if expressed else max(widths) + changed
        before, after = (outputs + extent - 1 - width for width in widths)
        # Sample `m` of the enlarged axis has its last tap `(m - first) // s` samples in.
        inputs = (max(before, after) - 1 - first) // s + 1
        found.append(Border(outputs, (before, after), inputs))
    return found


def padded_alike(task: Task) -> bool:
    """Whether padding the input, enlarged by nearest, makes the padding of the enlarged map."""
    # A reflection that stays within the copies of the edge sample is that sample again; further
    # in, no padding of the input expresses it.
    return task.interpolation == "nearest" and (
        task.padding != "reflect"
        or all(max(widths) < s for widths, s in zip(task.widths, task.size, strict=True))
    )


def expressed(task: Task, shape: Shape) -> bool:
    """Whether the input can be padded for a task, and what that leaves be made apart.

    What is made apart is made of what is near, and must have something between.
    """
    if task.interpolation == "nearest":
        return padded_alike(task)
    return task.padding != "wrap" and all(
        not border.outputs
        or (n is not None and n >= border.inputs and n * s > 2 * max(border.enlarged))
        for n, s, border in zip(shape.spatial, task.size, borders(task), strict=True)
    )


def _copies_edges(task: Task) -> bool:
    """Whether copies of the input's edge do for linear all that its edge rule and padding ask.

    Where borders have to be made apart anyway, they are made a little deeper instead: that is
    less than a pass over the input.
    """
    unpadded = not any(map(max, task.widths))
    return task.interpolation == "linear" and (task.padding == "edge" or unpadded)


def around_input(task: Task) -> str:
    """What has to stand around the input."""
    if _copies_edges(task):
        return "edge"
    if task.interpolation != "nearest":
        return "zeros"  # the outputs that meet it are made apart
    # A reflection that stays within the copies of the edge sample is that sample again.
    return "edge" if task.padding == "reflect" else task.around


def with_borders(
    inner: Tensor, x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task
) -> Tensor:
    """Put the outputs of the borders around the inner ones.

    They are few, and made of few rows of the input: enlarged first, then convolved.
    """
    around_axes = borders(task)
    y = inner
    # Backwards: the axes behind are whole by then, and of those before only the inner part is.
    for i in reversed(range(task.rank)):
        border, leading = around_axes[i], (slice(None),) * (i + 1)
        if not border.outputs:
            continue
        # Both ends at once, one behind the other in the batch.
        ends = [slice(None, border.inputs), slice(-border.inputs, None)]
        u = ops.concatenate([crop(x, [*leading, end]) for end in ends], axis=0)
        u = enlarge(u, task.size, task.interpolation, range(1, task.rank + 1))
        seen = [slice(None, border.enlarged[0]), slice(-border.enlarged[1], None)]
        sides = [(task.widths[i][0], 0), (0, task.widths[i][1])]
        padded = []
        for u_end, part, side in zip(ops.split(u, 2, axis=0), seen, sides, strict=True):
            widths = [side if j == i else width for j, width in enumerate(task.widths)]
            padded.append(pad_map(crop(u_end, [*leading, part]), widths, task.around))
        u = ops.concatenate(padded, axis=0)
        options: dict[str, Any] = {"padding": "valid", "dilation_rate": task.dilation_rate}
        u = convolve(ops.conv, u, ops.cast(kernel, u.dtype), bias, **options)
        inside = [slice(b.outputs, -b.outputs if b.outputs else None) for b in around_axes[:i]]
        first, last = ops.split(crop(u, [slice(None), *inside]), 2, axis=0)
        y = ops.concatenate([first, y, last], axis=i + 1)
    return y


def border_work(task: Task, shape: Shape) -> Work:
    """Return what `with_borders` has to do."""
    around_axes, factor, taps = borders(task), math.prod(task.size), math.prod(task.kernel_size)
    channels = shape.channels / task.groups
    whole = [task.output_length(n, i) for i, n in enumerate(shape.spatial)]
    inner = [n - 2 * border.outputs for n, border in zip(whole, around_axes, strict=True)]
    parts = []
    for i, border in enumerate(around_axes):
        if not border.outputs:
            continue
        ends = 2 * shape.numbers // shape.spatial[i] * border.inputs
        # Those before are cut to the inner part after they are made, those after are whole.
        made = 2 * shape.batch * border.outputs * math.prod(whole[:i] + whole[i + 1 :])
        joined = shape.batch * math.prod([*inner[:i], *whole[i:]]) * shape.filters
        parts += [
            passes(2 * ends, 3),
            enlarging(task, ends),
            passes(4 * ends * factor, 6),
            multiply_adds("convolution", made, taps, channels, shape.filters),
            passes(2 * joined, 3),
        ]
    return total(*parts)
