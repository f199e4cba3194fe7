"""Upsampling and convolving a batch: the ways to do it, and the one place that chooses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import ops

from keras_upsampling._arguments import (
    channel_axis,
    check_rank,
    concrete_tensor,
    data_format_or_default,
    interpolation_name,
    one_of,
    positive_ints,
    spatial_axes,
)
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.maths.padding import (
    PADDINGS,
    convolved_length,
    kernel_extent,
    pad_widths,
)
from keras_upsampling.maths.phases import nearest_phases
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.pad import pad
from keras_upsampling.ops.resample import resample


class _Task(NamedTuple):
    """What to do, every argument checked; `widths` are the padding of the enlarged map."""

    size: tuple[int, ...]
    interpolation: str
    padding: str
    widths: tuple[tuple[int, int], ...]
    dilation_rate: tuple[int, ...]
    groups: int
    data_format: str


def upsample_conv(
    x: Tensor,
    kernel: Tensor,
    size: IntPerAxis = 2,
    *,
    interpolation: str = "nearest",
    padding: str = "same",
    data_format: str | None = None,
    dilation_rate: IntPerAxis = 1,
    method: str | None = None,
) -> Tensor:
    """Enlarge a batch by whole factors and convolve it, in one step where that pays.

    Args:
        x: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. Integers are
            turned into the kernel's dtype.
        kernel: Tensor `(*kernel_size, channels // groups, filters)`, as in `keras.ops.conv`:
            fewer channels than `x` has make a grouped convolution. A kernel of higher
            precision than `x` is composed in its own, then cast.
        size: Factor for every axis, or one per axis.
        interpolation: As in `resample`.
        padding: Of the enlarged map: `"same"` (zeros) and `"valid"` as in Keras;
            `"reflect"`, `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        dilation_rate: Step between the kernel's taps on the enlarged map, for every axis or
            one per axis.
        method: For tests and measurements: `"resize"`, `"phases"` or `"box"`. The result is the
            same. By default the way that was quickest where it was measured.

    Returns:
        Tensor in the dtype of `x` with `filters` channels; every spatial axis is `size` times
        as long, less the kernel's extent minus one under `"valid"`.

    Raises:
        TypeError: a factor or a dilation is not an integer, or `x` is symbolic.
        ValueError: unknown interpolation, padding or method, a method that cannot do what is
            asked, a number below 1, `x` or `kernel` of the wrong rank, channels that are unknown
            or do not match, or an axis of known length that is too short for the padding.

    Example:
        >>> from keras import ops
        >>> from keras_upsampling.ops import upsample_conv
        >>> x, kernel = ops.ones((1, 4, 5, 3)), ops.ones((3, 3, 3, 8))
        >>> tuple(upsample_conv(x, kernel, 2, data_format="channels_last").shape)
        (1, 8, 10, 8)

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill;
        Colbert et al. 2021, arXiv:2107.07647 (one convolution per phase);
        Kinoshita, Kiya 2020, arXiv:2002.02117 (a box behind a transposed convolution).
    """
    x = concrete_tensor(x, "UpsampleConv1D, UpsampleConv2D or UpsampleConv3D")
    data_format = data_format_or_default(data_format)
    rank = len(kernel.shape) - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            "Expected a kernel of shape (*kernel_size, channels // groups, filters) with one, two "
            f"or three spatial axes. Received a kernel of shape {tuple(kernel.shape)}."
        )
    channels = check_rank(x.shape, rank, data_format)[channel_axis(rank, data_format)]
    if channels is None:
        raise ValueError(
            "The number of channels must be known, to tell groups by. "
            f"Received an input of shape {tuple(x.shape)}."
        )
    channels = int(channels)
    if channels % kernel.shape[-2]:
        raise ValueError(
            "The input's channels must be the kernel's, or a multiple of them for groups. Received "
            f"an input of shape {tuple(x.shape)} with {channels} channels, and a kernel of shape "
            f"{tuple(kernel.shape)} for {kernel.shape[-2]}."
        )
    if not keras.backend.is_float_dtype(x.dtype):
        x = ops.cast(x, kernel.dtype)
    size = positive_ints(size, rank, "size")
    padding = one_of(padding, PADDINGS, "padding")
    dilation_rate = positive_ints(dilation_rate, rank, "dilation_rate")
    extents = [kernel_extent(k, d) for k, d in zip(kernel.shape[:rank], dilation_rate, strict=True)]
    for axis, factor, extent in zip(spatial_axes(rank, data_format), size, extents, strict=True):
        length = x.shape[axis] if isinstance(x.shape[axis], int) else None
        convolved_length(None if length is None else length * factor, extent, padding)
    task = _Task(
        size=size,
        interpolation=interpolation_name(interpolation, rank),
        padding=padding,
        widths=tuple(pad_widths(extent, padding) for extent in extents),
        dilation_rate=dilation_rate,
        groups=channels // kernel.shape[-2],
        data_format=data_format,
    )
    if method is None:
        method = _choose(x, kernel, task)
    elif one_of(method, tuple(_METHODS), "method") not in _possible(task):
        raise ValueError(
            f"method={method!r} cannot do {rank} dimensions with "
            f"interpolation={task.interpolation!r}, padding={padding!r}, "
            f"dilation_rate={dilation_rate} and groups={task.groups}. "
            f"Possible here: {', '.join(map(repr, _possible(task)))}."
        )
    # TensorFlow convolves channels first on GPUs only, and the one-step ways are written for
    # channels last: the input is turned while it is small.
    tensorflow = keras.backend.backend() == "tensorflow"
    turned = data_format == "channels_first" and (tensorflow or method != "resize")
    if turned:
        x, task = ops.moveaxis(x, 1, -1), task._replace(data_format="channels_last")
    y = _METHODS[method](x, kernel, task)
    return ops.moveaxis(y, -1, 1) if turned else y


def _possible(task: _Task) -> tuple[str, ...]:
    """The methods that are exact for a task."""
    if task.interpolation != "nearest":
        return ("resize",)
    # A reflection that stays within the copies of the edge sample is that sample again;
    # further in, no padding of the input expresses it.
    reflected = [max(widths) for widths in task.widths]
    if task.padding == "reflect" and any(r >= s for r, s in zip(reflected, task.size, strict=True)):
        return ("resize",)
    # Keras's transposed convolution has neither groups nor dilation, and TensorFlow's pooling
    # in three dimensions knows float32 alone.
    if task.groups > 1 or max(task.dilation_rate) > 1 or len(task.size) == 3:
        return ("resize", "phases")
    return ("resize", "phases", "box")


# What a length is taken to be where it is not known yet, the batch's included.
_TYPICAL_LENGTH = 32


def _choose(x: Tensor, kernel: Tensor, task: _Task) -> str:
    """The method that was quickest where it was measured; the most careful one elsewhere.

    Measured against resize-then-convolve on a 2-core CPU in float32, forward and training step,
    from 7x7x64 to 256x256x16, factors 2 to 8, kernels of 2 to 5 taps.
    """
    *kernel_size, channels, _ = kernel.shape
    rank = len(kernel_size)
    possible = _possible(task)
    precise = keras.backend.standardize_dtype(x.dtype) in ("float32", "float64")
    if "phases" not in possible or not precise or not _on_cpu(x):
        return "resize"  # not measured, or not possible
    if max(kernel_size) == 1 or max(task.size) == 1:
        return "resize"  # nothing to gain

    lengths = [x.shape[0], *(x.shape[axis] for axis in spatial_axes(rank, task.data_format))]
    known = [length if isinstance(length, int) else _TYPICAL_LENGTH for length in lengths]
    samples = math.prod(known)
    enlarged = samples * math.prod(task.size) * channels
    backend = keras.backend.backend()
    if backend == "jax":
        # Transposed convolutions are slow to train. With few samples to convolve, composing
        # the kernel costs more than it saves.
        return "phases" if samples >= 64 else "resize"
    if backend == "torch" or rank == 3:
        # Here composing, padding and interleaving have a fixed cost, which a large enlarged
        # input earns back; TensorFlow trains transposed convolutions slowly in three dimensions.
        return "phases" if enlarged >= 1_000_000 else "resize"
    if rank == 1 or samples < 64:
        return "resize"  # one axis has little to gain on TensorFlow
    # The box has the fewest products, but passes over the output once more, which many channels
    # and a short kernel earn back.
    return "box" if "box" in possible and channels >= 32 and max(kernel_size) <= 3 else "phases"


def _on_cpu(x: Tensor) -> bool:
    if keras.backend.backend() == "torch":  # Keras does not list its devices
        return x.device.type == "cpu"
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def _pad_input(x: Tensor, task: _Task, widths: list[tuple[int, int]]) -> Tensor:
    """Pad the input so that its enlarged map is padded as the task says."""
    widths = [(0, 0), *widths, (0, 0)]
    if not any(before or after for before, after in widths):
        return x
    if task.padding in ("same", "valid"):
        return ops.pad(x, widths)
    return pad(x, widths, "edge" if task.padding == "reflect" else task.padding)


def _resize(x: Tensor, kernel: Tensor, task: _Task) -> Tensor:
    """Enlarge, then convolve: what the other ways must equal."""
    x = resample(x, task.size, interpolation=task.interpolation, data_format=task.data_format)
    if task.padding not in ("same", "valid"):
        widths = [(0, 0)] * len(x.shape)
        for axis, width in zip(
            spatial_axes(len(task.size), task.data_format), task.widths, strict=True
        ):
            widths[axis] = width
        x = pad(x, widths, task.padding)
    return ops.conv(
        x,
        ops.cast(kernel, x.dtype),
        padding="same" if task.padding == "same" else "valid",
        data_format=task.data_format,
        dilation_rate=task.dilation_rate,
    )


def _phases(x: Tensor, kernel: Tensor, task: _Task) -> Tensor:
    """One convolution of the input with a kernel per phase, then the phases interleaved."""
    rank, filters = len(task.size), kernel.shape[-1]
    axes = [
        nearest_phases(s, k, d, w)
        for s, k, d, w in zip(
            task.size, kernel.shape[:rank], task.dilation_rate, task.widths, strict=True
        )
    ]
    lengths = [
        ops.shape(x)[1 + i] * task.size[i] + sum(task.widths[i])
        - kernel_extent(kernel.shape[i], task.dilation_rate[i]) + 1
        for i in range(rank)
    ]  # fmt: skip

    # (k0, k1, channels, filters) -> (s0, w0, s1, w1, channels, filters), axis by axis.
    composed, front = kernel, 1
    dtype = keras.backend.standardize_dtype(kernel.dtype)
    for i, axis in enumerate(axes):
        matrix = ops.convert_to_tensor(axis.matrix, dtype=dtype)
        # Not `ops.matmul`, which answers float64 in float32.
        composed = matrix @ ops.reshape(composed, (front, kernel.shape[i], -1))
        front *= len(axis.matrix)
    windows = [axis.window for axis in axes]
    split = [part for pair in zip(task.size, windows, strict=True) for part in pair]
    composed = ops.reshape(
        composed, (*split, kernel.shape[-2], task.groups, filters // task.groups)
    )
    # -> (w0, w1, channels, group, s0, s1, filters): phases before filters in each group.
    odd, even = range(1, 2 * rank, 2), range(0, 2 * rank, 2)
    composed = ops.transpose(composed, (*odd, 2 * rank, 2 * rank + 1, *even, 2 * rank + 2))
    composed = ops.reshape(composed, (*windows, kernel.shape[-2], math.prod(task.size) * filters))

    x = _pad_input(x, task, [(axis.before, axis.after) for axis in axes])
    y = ops.conv(x, ops.cast(composed, x.dtype), padding="valid", data_format="channels_last")
    y = interleave(y, task.size, task.groups)
    return _crop(y, [axis.crop for axis in axes], lengths)


def _box(x: Tensor, kernel: Tensor, task: _Task) -> Tensor:
    """A transposed convolution with the kernel itself, then a box over its output.

    Nearest upsampling is zeros put between the samples, then a box of `size`; boxes and the
    kernel may change places, and with the kernel first there are the fewest products.
    """
    rank = len(task.size)
    kernel_size = kernel.shape[:rank]
    lengths, starts, widths, inputs = [], [], [], []
    for i, (s, k, (before, after)) in enumerate(
        zip(task.size, kernel_size, task.widths, strict=True)
    ):
        zeros = task.padding in ("same", "valid")
        front, back = (0, 0) if zeros else (-(-before // s), -(-after // s))
        inputs.append((front, back))
        length = ops.shape(x)[1 + i] * s + before + after - k + 1
        # Output `o` is the box over samples `o + start .. o + start + s - 1` of the transposed
        # convolution, which has `s * (n - 1) + max(k, s)` of them; missing ones are zero.
        start = k - s - before + s * front
        missing = after + s - max(k, s) - s * back
        lengths.append(length + s - 1)
        starts.append(max(start, 0))
        widths.append((max(-start, 0), max(missing, 0)))
    x = _pad_input(x, task, inputs)
    flipped = ops.flip(ops.cast(kernel, x.dtype), axis=tuple(range(rank)))
    y = ops.conv_transpose(
        x,
        ops.swapaxes(flipped, -1, -2),
        strides=task.size,
        padding="valid",
        data_format="channels_last",
    )
    if any(before or after for before, after in widths):
        y = ops.pad(y, [(0, 0), *widths, (0, 0)])
    y = _crop(y, starts, lengths)
    y = ops.average_pool(y, task.size, strides=1, padding="valid", data_format="channels_last")
    return y * math.prod(task.size)


def _crop(x: Tensor, starts: list[int], lengths: list[Tensor]) -> Tensor:
    slices = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return x[(slice(None), *slices)]


_METHODS: dict[str, Callable[[Tensor, Tensor, _Task], Tensor]] = {
    "resize": _resize,
    "phases": _phases,
    "box": _box,
}
