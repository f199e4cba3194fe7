"""The outputs near the border that no padding of the input can produce."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import Work, enlarging, multiply_adds, passes, total
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.maps import convolve, pad_map
from keras_upsampling.ops.resampling import enlarge
from keras_upsampling.ops.tables import axis_filter


class Border(NamedTuple):
    """The outputs of one axis that the padding, or the interpolation's edge rule, changes.

    Attributes:
        outputs: How many there are at either end.
        enlarged: How many samples of the enlarged axis they depend on, at the start and the end.
        inputs: How many samples of the input, at either end.
    """

    outputs: int
    enlarged: tuple[int, int]
    inputs: int


def borders(task: Task) -> list[Border]:
    """Return the border of every axis; nearest interpolation has none."""
    found = []
    for s, extent, widths in zip(task.size, task.extents, task.widths, strict=True):
        first, _, reach = axis_filter(s, task.interpolation)
        # A reflection reads one sample more than it adds.
        changed = max(reach, int(task.padding == "reflect" and any(widths)))
        # Padding the input then pads the enlarged axis as well.
        same = s == 1 and task.around == "zeros"
        expressed = task.interpolation == "nearest" or _copies_edges(task) or same
        outputs = 0 if expressed else max(widths) + changed
        before, after = (outputs + extent - 1 - width for width in widths)
        # Sample `m` of the enlarged axis has its last tap `(m - first) // s` samples in.
        inputs = (max(before, after) - 1 - first) // s + 1
        found.append(Border(outputs, (before, after), inputs))
    return found


def padded_alike(task: Task) -> bool:
    """Whether padding the input, then enlarging it by nearest, pads the enlarged map as asked."""
    # A reflection that stays within the copies of the edge sample repeats that sample; one that
    # reaches further cannot be had by padding the input.
    return task.interpolation == "nearest" and (
        task.padding != "reflect"
        or all(max(widths) < s for widths, s in zip(task.widths, task.size, strict=True))
    )


def expressed(task: Task, shape: Shape) -> bool:
    """Whether padding the input does what is asked, but for borders computed separately.

    Those need known lengths, long enough for two borders with something between them.
    """
    if task.interpolation == "nearest":
        return padded_alike(task)
    return task.padding != "wrap" and all(
        not border.outputs
        or (n is not None and n >= border.inputs and n * s > 2 * max(border.enlarged))
        for n, s, border in zip(shape.spatial, task.size, borders(task), strict=True)
    )


def _copies_edges(task: Task) -> bool:
    """Whether repeating the input's edge gives linear interpolation its edge rule and padding."""
    # Borders that are computed separately anyway are made deeper instead of a pass over the input.
    unpadded = not any(map(max, task.widths))
    return task.interpolation == "linear" and (task.padding == "edge" or unpadded)


def around_input(task: Task) -> str:
    """Return the mode in which the input is padded."""
    if _copies_edges(task):
        return "edge"
    if task.interpolation != "nearest":
        return "zeros"  # the outputs that see it are computed separately
    return "edge" if task.padding == "reflect" else task.around


def with_borders(
    inner: Tensor, x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task
) -> Tensor:
    """Compute the outputs of the borders, and put them around the inner ones.

    They are few and depend on few rows of the input, which are enlarged first, then convolved.
    """
    around_axes = borders(task)
    y = inner
    # From the last axis to the first: later axes are complete by then, earlier ones inner only.
    for i in reversed(range(task.rank)):
        border, leading = around_axes[i], (slice(None),) * (i + 1)
        if not border.outputs:
            continue
        # Both ends at once, concatenated in the batch.
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
    whole = [task.output_length(n, i) for i, n in enumerate(shape.spatial)]
    inner = [n - 2 * border.outputs for n, border in zip(whole, around_axes, strict=True)]
    parts = []
    for i, border in enumerate(around_axes):
        if not border.outputs:
            continue
        ends = 2 * shape.numbers // shape.spatial[i] * border.inputs
        # Of earlier axes all is computed, and cropped to the inner part afterwards.
        made = 2 * shape.batch * border.outputs * math.prod(whole[:i] + whole[i + 1 :])
        joined = shape.batch * math.prod([*inner[:i], *whole[i:]]) * shape.filters
        parts += [
            passes(2 * ends, 3),
            enlarging(task, ends),
            passes(4 * ends * factor, 6),
            multiply_adds("convolution", made, taps, shape.channels, shape.filters, task.groups),
            passes(2 * joined, 3),
        ]
    return total(*parts)
