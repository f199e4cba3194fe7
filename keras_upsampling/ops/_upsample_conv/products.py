"""One product of the input with all taps of the kernel, then upsampling, as shifts or matrices.

Upsampling does not mix channels, so the product with the kernel's taps can come before it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.phases import tap_matrix
from keras_upsampling.ops._upsample_conv.borders import around_input, padded_alike
from keras_upsampling.ops._upsample_conv.method import Method, one_step
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import Work, multiply_adds, passes, total, weights_of
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.maps import add_bias, pad_map
from keras_upsampling.ops.resampling import phase_planes
from keras_upsampling.ops.tables import traced_by_torch


def _one_product(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """One product with all taps, then sums of shifted phases."""
    channels, filters = kernel.shape[-2:]
    flat = ops.reshape(x, (-1, channels))
    taps = ops.reshape(ops.cast(kernel, x.dtype), (-1, channels, filters))
    taps = ops.reshape(ops.transpose(taps, (1, 0, 2)), (channels, -1))
    shape = (*ops.shape(x)[:-1], filters)
    numbered = itertools.product(*map(range, task.kernel_size))
    flat_maps = ops.split(flat @ taps, math.prod(task.kernel_size), axis=-1)
    of_taps = dict(zip(numbered, flat_maps, strict=True))
    # The tap at the output's own position, if there is one, never sees the padding: the bias is
    # added to its map, which is smaller than the output.
    own = [divmod(before, d) for _, _, d, (before, _) in task.axes]
    biased = None if any(rest for _, rest in own) else tuple(t for t, _ in own)

    def enlarged(axes: int, taps: tuple[int, ...]) -> Tensor:
        """Return the sum over all taps of the first axes, for fixed `taps` of the later ones."""
        if axes == 0:
            y = add_bias(of_taps[taps], bias if taps == biased else None)
            return ops.reshape(y, shape)
        maps = [enlarged(axes - 1, (t, *taps)) for t in range(task.kernel_size[axes - 1])]
        return _sum_of_shifts(maps, axes - 1, task)

    return add_bias(enlarged(task.rank, ()), bias if biased is None else None)


def _samples_of_taps(task: Task, i: int) -> list[tuple[tuple[int, int], ...]]:
    """Return which samples the taps read, for every phase of the output on one axis.

    Tap `t` of output `s * j + p` reads phase `r` of the enlarged map at sample `j + q`: `(q, r)`.
    With nearest every phase is the input itself, so `r` is 0.
    """
    s, d, before = task.size[i], task.dilation_rate[i], task.widths[i][0]
    nearest = task.interpolation == "nearest"
    taps = range(task.kernel_size[i])
    samples = [[divmod(p + d * t - before, s) for t in taps] for p in range(s)]
    return [tuple((q, 0 if nearest else r) for q, r in of_phase) for of_phase in samples]


def _sum_of_shifts(maps: Sequence[Tensor], i: int, task: Task) -> Tensor:
    """Enlarge axis `i` of the map of every tap, shift each to its tap's position, and add them."""
    axis, s, (before, after) = i + 1, task.size[i], task.widths[i]
    length, leading = ops.shape(maps[0])[axis], (slice(None),) * (i + 1)
    # The output has `s * length + more` samples, each of its phases `length + more_a_phase`.
    more = before + after - task.extents[i] + 1
    more_a_phase = -(-more // s)
    # With nearest, phases are padded as the input would be.
    around = around_input(task) if task.interpolation == "nearest" else "zeros"
    planes = [phase_planes(x, axis, s, task.interpolation) for x in maps]

    def shifted(plane: Tensor, q: int) -> Tensor:
        """Return a phase's number of samples from `q` on; often that is all of them."""
        if q == 0 and more_a_phase == 0:
            return plane
        front, back, start = max(0, -q), max(0, q + more_a_phase), max(0, q)
        widths = [(front, back) if j == i else (0, 0) for j in range(task.rank)]
        padded = pad_map(plane, widths, around)
        return crop(padded, [*leading, slice(start, start + length + more_a_phase)])

    sums: dict[tuple[tuple[int, int], ...], Tensor] = {}  # phases that read the same share one
    for samples in _samples_of_taps(task, i):
        if samples not in sums:
            parts = [shifted(of_tap[r], q) for of_tap, (q, r) in zip(planes, samples, strict=True)]
            sums[samples] = functools.reduce(lambda a, b: a + b, parts)
    y = ops.stack([sums[samples] for samples in _samples_of_taps(task, i)], axis=axis + 1)
    shape = list(ops.shape(maps[0]))
    shape[axis] = (length + more_a_phase) * s
    y = ops.reshape(y, shape)
    return y if more == more_a_phase * s else crop(y, [*leading, slice(0, length * s + more)])


def _can_add_up(task: Task, shape: Shape) -> bool:  # noqa: ARG001 - lengths may be what they like
    zeros = task.interpolation != "nearest" and task.around == "zeros"
    return task.groups == 1 and (zeros or padded_alike(task))


def _one_product_work(task: Task, shape: Shape) -> Work:
    taps, numbers = math.prod(task.kernel_size), shape.samples * shape.filters
    parts: list[Work] = [
        passes(2 * taps * shape.channels * shape.filters, 2),
        multiply_adds("product", shape.samples, 1, shape.channels, taps * shape.filters),
        passes(2 * taps * numbers),  # split
        {"held": taps * numbers},
    ]
    for i, (s, k, _, _) in enumerate(task.axes):
        taps //= k
        phases, weights = set(_samples_of_taps(task, i)), weights_of(s, task.interpolation)
        moved = sum(q != 0 for samples in phases for q, _ in samples)
        # What is weighed is padded, cropped and multiplied; sums read two maps and write one.
        sums = len(phases) * (k - 1) + k * max(0, weights - s)
        copied = 3 * sums + 2 * (moved + k * 2 * weights + s)
        operations = sums + 2 * moved + k * 2 * weights + 1
        parts.append(passes(taps * numbers * copied, taps * operations))
        numbers *= s
    return total(*parts)


def _matrices(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """One product with all taps, then one with a matrix for each axis, in two dimensions.

    The matrices include the borders, so short axes, which are mostly border, cost nothing extra.
    """
    batch, height, width, channels = ops.shape(x)
    k_down, k_across, _, filters = kernel.shape
    down, across = (
        ops.convert_to_tensor(
            tap_matrix(length, s, task.interpolation, k, d, widths, task.around),
            dtype=keras.backend.standardize_dtype(x.dtype),
        )
        for length, (s, k, d, widths) in zip((height, width), task.axes, strict=True)
    )
    # The axis to multiply comes first, with its taps before it: few large products are faster
    # than many small ones.
    lines = batch * height
    y = ops.reshape(ops.transpose(x, (2, 0, 1, 3)), (1, width * lines, channels))
    taps = ops.transpose(ops.cast(kernel, x.dtype), (1, 2, 0, 3))
    y = y @ ops.reshape(taps, (k_across, channels, k_down * filters))
    y = across @ ops.reshape(y, (k_across * width, lines * k_down * filters))
    rows, columns = down.shape[0], across.shape[0]
    y = ops.transpose(ops.reshape(y, (columns, batch, height, k_down, filters)), (1, 3, 2, 0, 4))
    y = down @ ops.reshape(y, (batch, k_down * height, columns * filters))
    return add_bias(ops.reshape(y, (batch, rows, columns, filters)), bias)


def _can_matrices(task: Task, shape: Shape) -> bool:
    plain = task.rank == 2 and task.groups == 1 and None not in shape.spatial
    return plain and not traced_by_torch()  # whose graphs hold no arrays of NumPy's


def _matrices_work(task: Task, shape: Shape) -> Work:
    (height, width), (k_down, k_across) = shape.spatial, task.kernel_size
    rows, columns = (task.output_length(n, i) for i, n in enumerate(shape.spatial))
    lines, taps = shape.batch * height * k_down * shape.filters, k_across * k_down
    return total(
        passes(2 * shape.numbers),  # transposed
        passes(2 * taps * shape.channels * shape.filters),
        multiply_adds("product", shape.samples, 1, shape.channels, taps * shape.filters),
        multiply_adds("product", columns, 1, k_across * width, lines),
        passes(2 * columns * lines),  # transposed
        multiply_adds("product", shape.batch * rows, 1, k_down * height, columns * shape.filters),
        {"held": max(columns, k_across * width) * lines},
    )


ONE_PRODUCT = Method("one_product", _one_product, one_step(_can_add_up), _one_product_work)
MATRICES = Method("matrices", _matrices, one_step(_can_matrices), _matrices_work)
