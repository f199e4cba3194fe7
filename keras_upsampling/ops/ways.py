"""The ways to upsample and convolve in one, with one signature and one result.

All but the first take channels last. `docs/one_step.md` derives why they are the same.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_upsampling._arguments import spatial_axes
from keras_upsampling._types import Tensor
from keras_upsampling.maths.phases import Phases, axis_phases, tap_matrix
from keras_upsampling.ops.borders import around_input, borders, with_borders
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.maps import add_bias, convolve, crop_map, pad_map
from keras_upsampling.ops.pad import pad
from keras_upsampling.ops.resample import enlarge, phase_planes
from keras_upsampling.ops.tables import axis_filter, phase_taps
from keras_upsampling.ops.task import Task


def resize(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """Enlarge, then convolve: what the other ways must equal."""
    axes = spatial_axes(task.rank, task.data_format)
    x = enlarge(x, task.size, task.interpolation, axes)
    if task.around != "zeros":
        widths = [(0, 0)] * len(x.shape)
        for axis, width in zip(axes, task.widths, strict=True):
            widths[axis] = width
        x = pad(x, widths, task.padding)
    return convolve(
        ops.conv,
        x,
        ops.cast(kernel, x.dtype),
        bias,
        data_format=task.data_format,
        padding="same" if task.padding == "same" else "valid",
        dilation_rate=task.dilation_rate,
    )


def phases(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """One convolution of the input with a kernel per phase, then the phases interleaved."""
    axes = [
        axis_phases(*phase_taps(s, task.interpolation), k, d, widths)
        for s, k, d, widths in zip(
            task.size, task.kernel_size, task.dilation_rate, task.widths, strict=True
        )
    ]
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
    if task.padding == "same" and all(
        s == 1 or cut for s, cut in zip(task.size, apart, strict=True)
    ):
        # On enlarged axes, outputs that meet padding are made apart, so the zeros that the
        # convolution itself puts there do as well: that is a pass over the map less. What is cut
        # off in front is longer than the padding, so no start is negative.
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


def rows(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """Enlarge the first axis, then convolve with a kernel for each phase of the second.

    In two dimensions. Those phases lie in memory as they lie in the output: nothing is
    interleaved.
    """
    (first, second), (above, beside) = task.size, task.widths
    x = enlarge(x, (first, 1), task.interpolation, (1, 2))
    if task.around != "zeros":
        x, above = pad_map(x, [above, (0, 0)], task.around), (0, 0)
    return phases(x, kernel, bias, task._replace(size=(1, second), widths=(above, beside)))


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


def products(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """A product of the input with every tap of the kernel, then sums of shifted phases.

    Upsampling does not mix channels, so the kernel's taps can be met before it.
    """
    channels, filters = kernel.shape[-2:]
    flat = ops.reshape(x, (-1, channels))
    taps = ops.reshape(ops.cast(kernel, x.dtype), (-1, filters))
    # Split, and not cut out one by one: the gradients of those are as many tensors as large as all.
    apart = ops.split(taps, math.prod(task.kernel_size))
    return _sum_over_taps([flat @ tap for tap in apart], x, bias, task)


def one_product(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """As `products`, of all taps in one; so its gradients begin and end with one product too."""
    channels, filters = kernel.shape[-2:]
    flat = ops.reshape(x, (-1, channels))
    taps = ops.reshape(ops.cast(kernel, x.dtype), (-1, channels, filters))
    taps = ops.reshape(ops.transpose(taps, (1, 0, 2)), (channels, -1))
    of_taps = ops.split(flat @ taps, math.prod(task.kernel_size), axis=-1)
    return _sum_over_taps(of_taps, x, bias, task)


def _sum_over_taps(
    flat_maps: Sequence[Tensor], x: Tensor, bias: Tensor | None, task: Task
) -> Tensor:
    """Enlarge the product of `x` with every tap, and add them up, each from where its tap falls."""
    shape = (*ops.shape(x)[:-1], flat_maps[0].shape[-1])
    of_taps = dict(zip(itertools.product(*map(range, task.kernel_size)), flat_maps, strict=True))
    # The tap that meets every output at its own sample, if there is one, never meets the padding
    # and can bring the bias: that is fewer numbers to add to than the output has.
    own = [
        divmod(before, d) for (before, _), d in zip(task.widths, task.dilation_rate, strict=True)
    ]
    biased = None if any(rest for _, rest in own) else tuple(t for t, _ in own)

    def enlarged(axes: int, taps: tuple[int, ...]) -> Tensor:
        """What the `taps` of the axes behind the first ones add, those first ones done."""
        if axes == 0:
            y = add_bias(of_taps[taps], bias if taps == biased else None)
            return ops.reshape(y, shape)
        maps = [enlarged(axes - 1, (t, *taps)) for t in range(task.kernel_size[axes - 1])]
        return _sum_of_shifts(maps, axes - 1, task)

    return add_bias(enlarged(task.rank, ()), bias if biased is None else None)


def matrices(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """A product of the input with every tap of the kernel, then one with a matrix for each axis.

    In two dimensions. The matrices hold what the borders ask too, so short axes, which are little
    else, cost nothing extra.
    """
    batch, height, width, channels = ops.shape(x)
    k_down, k_across, _, filters = kernel.shape
    down, across = (
        ops.convert_to_tensor(
            tap_matrix(length, s, task.interpolation, k, d, widths, task.around),
            dtype=keras.backend.standardize_dtype(x.dtype),
        )
        for length, s, k, d, widths in zip(
            (height, width),
            task.size,
            task.kernel_size,
            task.dilation_rate,
            task.widths,
            strict=True,
        )
    )
    # The axis that a matrix meets comes first, with its taps before it, so that every product is
    # one of few large matrices: those are the quick ones.
    lines = batch * height
    y = ops.reshape(ops.transpose(x, (2, 0, 1, 3)), (1, width * lines, channels))
    taps = ops.transpose(ops.cast(kernel, x.dtype), (1, 2, 0, 3))
    y = y @ ops.reshape(taps, (k_across, channels, k_down * filters))
    y = across @ ops.reshape(y, (k_across * width, lines * k_down * filters))
    rows, columns = down.shape[0], across.shape[0]
    y = ops.transpose(ops.reshape(y, (columns, batch, height, k_down, filters)), (1, 3, 2, 0, 4))
    y = down @ ops.reshape(y, (batch, k_down * height, columns * filters))
    return add_bias(ops.reshape(y, (batch, rows, columns, filters)), bias)


def _sum_of_shifts(maps: Sequence[Tensor], i: int, task: Task) -> Tensor:
    """Enlarge axis `i` of the map of every tap, and add them up, each from where its tap falls."""
    axis, s, (before, after) = i + 1, task.size[i], task.widths[i]
    length, leading = ops.shape(maps[0])[axis], (slice(None),) * (i + 1)
    # How many samples more than the input the output, and each phase of it, has.
    more = before + after - task.extents[i] + 1
    more_a_phase = -(-more // s)
    # Nearest's phases are all the input, and what stands around them is what would around it.
    nearest = task.interpolation == "nearest"
    around = around_input(task) if nearest else "zeros"
    planes = [phase_planes(x, axis, s, task.interpolation) for x in maps]

    def shifted(plane: Tensor, q: int) -> Tensor:
        """Return as many samples as a phase has, from `q` on; often that is all of them."""
        if q == 0 and more_a_phase == 0:
            return plane
        front, back, start = max(0, -q), max(0, q + more_a_phase), max(0, q)
        widths = [(front, back) if j == i else (0, 0) for j in range(task.rank)]
        padded = pad_map(plane, widths, around)
        return crop(padded, [*leading, slice(start, start + length + more_a_phase)])

    made: dict[tuple[tuple[int, int], ...], Tensor] = {}
    phases_of_output = []
    for p in range(s):
        # Output `s * j + p` meets, by tap `t`, phase `r` of the enlarged map, at sample `j + q`.
        met = [divmod(p + task.dilation_rate[i] * t - before, s) for t in range(len(maps))]
        key = tuple((q, 0 if nearest else r) for q, r in met)
        if key not in made:
            parts = [shifted(of_tap[r], q) for of_tap, (q, r) in zip(planes, key, strict=True)]
            made[key] = functools.reduce(lambda a, b: a + b, parts)
        phases_of_output.append(made[key])
    y = ops.stack(phases_of_output, axis=axis + 1)
    shape = list(ops.shape(maps[0]))
    shape[axis] = (length + more_a_phase) * s
    y = ops.reshape(y, shape)
    return y if more == more_a_phase * s else crop(y, [*leading, slice(0, length * s + more)])


def transposed(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """A transposed convolution with the kernel itself, then the interpolation's own filter.

    Upsampling is zeros put between the samples, then a filter; that and the kernel may change
    places, and with the kernel first there are the fewest products. Nearest's filter is a box.
    """
    around, apart = around_input(task), [border.outputs for border in borders(task)]
    filters, copies, zeros, starts, lengths = [], [], [], [], []
    for i, (k, s) in enumerate(zip(task.kernel_size, task.size, strict=True)):
        first, weights, _ = axis_filter(s, task.interpolation)
        before, after = task.widths[i]
        # How many samples beyond the ends of the input the outputs meet.
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
    if keras.backend.backend() == "tensorflow":
        # A kernel smaller than its stride has a gradient that ends the process there.
        short = [max(0, s - k) for k, s in zip(task.kernel_size, task.size, strict=True)]
        flipped = ops.pad(flipped, [*((0, n) for n in short), (0, 0), (0, 0)])
    y = convolve(
        ops.conv_transpose,
        pad_map(x, copies, around),
        ops.cast(ops.swapaxes(flipped, -1, -2), x.dtype),
        strides=task.size,
        padding="valid",
    )
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
        y = convolve(
            ops.depthwise_conv,
            y,
            ops.broadcast_to(kernel, shape),
            bias if kernel is kernels[-1] else None,
            padding="valid",
        )
    return y
