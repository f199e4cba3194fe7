"""The methods `one_product` and `matrices`: a product with all taps of the kernel, then upsampling.

Upsampling does not mix channels, so the product with the kernel's taps can come before it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import TypeAlias

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.phases import tap_matrix
from keras_upsampling.ops._upsample_conv.borders import input_padding, padding_commutes
from keras_upsampling.ops._upsample_conv.method import Method, one_step
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import (
    Work,
    count_weights,
    held,
    multiply_adds,
    passes,
    total,
)
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.maps import add_bias, pad_map
from keras_upsampling.ops.resampling import phase_planes
from keras_upsampling.ops.tables import traced_by_torch


def _one_product(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """Compute one product with all taps, then sums of shifted phases."""
    channels, filters = kernel.shape[-2:]
    flat = ops.reshape(x, (-1, channels))
    taps = ops.reshape(ops.cast(kernel, x.dtype), (-1, channels, filters))
    taps = ops.reshape(ops.transpose(taps, (1, 0, 2)), (channels, -1))
    shape = (*ops.shape(x)[:-1], filters)
    tap_indices = itertools.product(*map(range, task.kernel_size))
    flat_maps = ops.split(flat @ taps, math.prod(task.kernel_size), axis=-1)
    tap_maps = dict(zip(tap_indices, flat_maps, strict=True))
    # The tap at the output's own position, if there is one, never reads the padding: the bias is
    # added to its map, which is smaller than the output.
    centres = [divmod(before, d) for _, _, d, (before, _) in task.axes]
    biased = None if any(rest for _, rest in centres) else tuple(t for t, _ in centres)

    def sum_of_taps(axes: int, taps: tuple[int, ...]) -> Tensor:
        """Return the sum over all taps of the first axes, for fixed `taps` of the later ones."""
        if axes == 0:
            y = add_bias(tap_maps[taps], bias if taps == biased else None)
            return ops.reshape(y, shape)
        maps = [sum_of_taps(axes - 1, (t, *taps)) for t in range(task.kernel_size[axes - 1])]
        return _sum_of_shifts(maps, axes - 1, task)

    return add_bias(sum_of_taps(task.rank, ()), bias if biased is None else None)


# Taps of one axis that read samples at the same shift, each as a pair `(tap, r)`: tap number `tap`
# reads phase `r` of the upsampled map.
_Group: TypeAlias = tuple[tuple[int, int], ...]


def _groups_of_taps(task: Task, i: int) -> list[tuple[tuple[int, _Group], ...]]:
    """Return pairs of a shift and the taps that read with it, for every phase of axis `i`.

    Tap `t` of output `s * j + p` reads sample `j + q` of phase `r` of the upsampled map, where `q`
    is the shift. With nearest every phase is the input itself, so `r` is 0.
    """
    s, d, before = task.size[i], task.dilation_rate[i], task.widths[i][0]
    phases = []
    for p in range(s):
        groups: dict[int, _Group] = {}
        for t in range(task.kernel_size[i]):
            q, r = divmod(p + d * t - before, s)
            groups[q] = (*groups.get(q, ()), (t, 0 if task.interpolation == "nearest" else r))
        phases.append(tuple(groups.items()))
    return phases


def _partial_sums(
    phases: Sequence[tuple[tuple[int, _Group], ...]],
) -> dict[_Group, tuple[_Group, _Group]]:
    """Return every sum that the groups need as a sum of two shorter ones, which come before it.

    With nearest, the groups at either end of the kernel share most of their sums.
    """
    sums: dict[_Group, tuple[_Group, _Group]] = {}
    for group in (group for phase in phases for _, group in phase):
        for n in range(2, len(group) + 1):
            if group[0][0] == 0:
                sums[group[:n]] = group[: n - 1], group[n - 1 : n]
            else:
                tail = group[-n:]
                sums[tail] = tail[:1], tail[1:]
    return sums


def _sum_of_shifts(maps: Sequence[Tensor], i: int, task: Task) -> Tensor:
    """Upsample axis `i` of the maps of all taps, shift each to its tap's position, and add them."""
    axis, s, (before, after) = i + 1, task.size[i], task.widths[i]
    length, leading = ops.shape(maps[0])[axis], (slice(None),) * (i + 1)
    # The output has `s * length + extra` samples, each of its phases `length + phase_extra`.
    extra = before + after - task.extents[i] + 1
    phase_extra = -(-extra // s)
    # With nearest, a phase is the input, so it is padded as the input.
    mode = input_padding(task) if task.interpolation == "nearest" else "zeros"
    planes = [phase_planes(x, axis, s, task.interpolation) for x in maps]

    def shifted(plane: Tensor, q: int) -> Tensor:
        """Return `length + phase_extra` samples of a padded phase, from sample `q` on."""
        if q == 0 and phase_extra == 0:
            return plane
        front, back, start = max(0, -q), max(0, q + phase_extra), max(0, q)
        widths = [(front, back) if j == i else (0, 0) for j in range(task.rank)]
        padded = pad_map(plane, widths, mode)
        return crop(padded, [*leading, slice(start, start + length + phase_extra)])

    phases = _groups_of_taps(task, i)
    sums: dict[_Group, Tensor] = {
        ((t, r),): plane for t, tap in enumerate(planes) for r, plane in enumerate(tap)
    }
    for group, (first, second) in _partial_sums(phases).items():
        sums[group] = sums[first] + sums[second]
    # Phases that read the same samples share an output.
    outputs: dict[tuple[tuple[int, _Group], ...], Tensor] = {}
    for phase in phases:
        if phase not in outputs:
            terms = [shifted(sums[group], q) for q, group in phase]
            outputs[phase] = functools.reduce(lambda a, b: a + b, terms)
    y = ops.stack([outputs[phase] for phase in phases], axis=axis + 1)
    shape = list(ops.shape(maps[0]))
    shape[axis] = (length + phase_extra) * s
    y = ops.reshape(y, shape)
    return y if extra == phase_extra * s else crop(y, [*leading, slice(0, length * s + extra)])


def _supports_one_product(task: Task, shape: Shape) -> bool:  # noqa: ARG001 - any shape will do
    zeros = task.interpolation != "nearest" and task.boundary == "zeros"
    return task.groups == 1 and (zeros or padding_commutes(task))


def _one_product_work(task: Task, shape: Shape) -> Work:
    taps, values = math.prod(task.kernel_size), shape.samples * shape.filters
    works: list[Work] = [
        passes(2 * taps * shape.channels * shape.filters, 2),
        multiply_adds("product", shape.samples, 1, shape.channels, taps * shape.filters),
        passes(2 * taps * values),  # split
    ]
    largest = 2 * taps * values  # the product, and its parts
    for i, (s, k, _, _) in enumerate(task.axes):
        taps //= k
        phases, weights = _groups_of_taps(task, i), count_weights(s, task.interpolation)
        outputs = set(phases)
        sums = len(_partial_sums(phases)) + sum(len(phase) - 1 for phase in outputs)
        sums += k * max(0, weights - s)
        shifts = sum(q != 0 for phase in outputs for q, _ in phase)
        # Weighted maps are padded, cropped and multiplied; sums read two maps and write one.
        copied = 3 * sums + 2 * (shifts + k * 2 * weights + s)
        # A weighted copy of every tap's map for every phase.
        largest = max(largest, taps * k * values * (1 + weights))
        operations = sums + 2 * shifts + k * 2 * weights + 1
        works.append(passes(taps * values * copied, taps * operations))
        values *= s
    return total(*works, held(largest, 2 * largest))


def _matrices(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """Compute one product with all taps, then one with a matrix per axis, in two dimensions.

    The matrices include the borders, so short axes, which are mostly border, cost nothing extra.
    """
    batch, height, width, channels = ops.shape(x)
    k_down, k_across, _, filters = kernel.shape
    down, across = (
        ops.convert_to_tensor(
            tap_matrix(length, s, task.interpolation, k, d, widths, task.boundary),
            dtype=keras.backend.standardize_dtype(x.dtype),
        )
        for length, (s, k, d, widths) in zip((height, width), task.axes, strict=True)
    )
    # The multiplied axis comes first, with its taps before it: few large products are faster than
    # many small ones.
    lines = batch * height
    y = ops.reshape(ops.transpose(x, (2, 0, 1, 3)), (1, width * lines, channels))
    taps = ops.transpose(ops.cast(kernel, x.dtype), (1, 2, 0, 3))
    y = y @ ops.reshape(taps, (k_across, channels, k_down * filters))
    y = across @ ops.reshape(y, (k_across * width, lines * k_down * filters))
    rows, columns = down.shape[0], across.shape[0]
    y = ops.transpose(ops.reshape(y, (columns, batch, height, k_down, filters)), (1, 3, 2, 0, 4))
    y = down @ ops.reshape(y, (batch, k_down * height, columns * filters))
    return add_bias(ops.reshape(y, (batch, rows, columns, filters)), bias)


def _supports_matrices(task: Task, shape: Shape) -> bool:
    plain = task.rank == 2 and task.groups == 1 and None not in shape.spatial
    return plain and not traced_by_torch()  # a graph cannot hold NumPy arrays


def _matrices_work(task: Task, shape: Shape) -> Work:
    (height, width), (k_down, k_across) = shape.spatial, task.kernel_size
    rows, columns = (task.output_length(n, i) for i, n in enumerate(shape.spatial))
    lines, taps = shape.batch * height * k_down * shape.filters, k_across * k_down
    multiplied = (columns + max(columns, k_across * width)) * lines
    return total(
        passes(2 * shape.values),  # transposed
        passes(2 * taps * shape.channels * shape.filters),
        multiply_adds("product", shape.samples, 1, shape.channels, taps * shape.filters),
        multiply_adds("product", columns, 1, k_across * width, lines),
        passes(2 * columns * lines),  # transposed
        multiply_adds("product", shape.batch * rows, 1, k_down * height, columns * shape.filters),
        held(multiplied, multiplied + shape.values),
    )


# The results of products are added. In half precision they would be rounded before.
_HALF = ("float16", "bfloat16")
ONE_PRODUCT = Method(
    "one_product",
    _one_product,
    one_step(_supports_one_product),
    _one_product_work,
    in_float32=_HALF,
)
MATRICES = Method(
    "matrices", _matrices, one_step(_supports_matrices), _matrices_work, in_float32=_HALF
)
