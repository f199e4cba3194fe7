"""Upsample and convolve a batch, in one step where that is faster."""

from __future__ import annotations

from operator import index

import keras
from keras import ops

from keras_upsampling._arguments import interpolation_name, one_of, positive_ints
from keras_upsampling._shapes import (
    channel_axis,
)
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.maths.padding import PADDINGS, convolved_length, kernel_extent, pad_widths
from keras_upsampling.ops._upsample_conv.choice import choose
from keras_upsampling.ops._upsample_conv.method import run
from keras_upsampling.ops._upsample_conv.task import Task
from keras_upsampling.ops.inputs import checked_batch, real_floats, refuse_complex


def upsample_conv(
    x: Tensor,
    kernel: Tensor,
    size: IntPerAxis = 2,
    *,
    bias: Tensor | None = None,
    interpolation: str = "nearest",
    padding: str = "same",
    data_format: str | None = None,
    dilation_rate: IntPerAxis = 1,
) -> Tensor:
    """Upsample a batch by integer factors and convolve it, in one step where that is faster.

    There are five methods with the same result. The method with the lowest estimated time for the
    given sizes is used, or with `config.set_preference("memory")` the one that holds the fewest
    values: see "Upsample and convolve in one step" in the documentation. A function that is already
    compiled keeps its choice.

    Args:
        x: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. Integers are
            cast to the kernel's dtype. Only the batch axis may be empty.
        kernel: Tensor `(*kernel_size, channels // groups, filters)` of floats, as in
            `keras.ops.conv`: with fewer channels than `x`, the convolution is grouped. A kernel of
            higher precision than `x` is composed in its own precision, then cast.
        size: Factor for every axis, or one per axis.
        bias: Tensor `(filters,)` that is added to every sample, or None.
        interpolation: Name of an interpolation, as in `resample`.
        padding: Boundary padding of the upsampled map: `"same"` (zeros) and `"valid"` as in Keras;
            `"reflect"`, `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`.
        data_format: `"channels_last"` or `"channels_first"`. None: Keras's setting.
        dilation_rate: Distance of the kernel's taps on the upsampled map, in samples, for every
            axis or one per axis.

    Returns:
        Tensor in the dtype of `x` (for integers, the kernel's) with `filters` channels. Every
        spatial axis is `size` times as long; `"valid"` subtracts the kernel's extent minus one.

    Raises:
        TypeError: If a factor or a dilation is not an integer, the kernel does not contain floats,
            or `x` is symbolic, complex or of a float dtype of 8 bits.
        ValueError: If `interpolation` or `padding` is unknown, a factor or a dilation is below 1,
            `x` or `kernel` has the wrong rank, the channels are unknown or do not match, the
            filters are not divisible by the groups, the shape of `bias` is wrong, or an axis of
            known length is empty or too short for the padding.

    Example:
        >>> from keras import ops
        >>> from keras_upsampling.ops import upsample_conv
        >>> x, kernel = ops.ones((1, 4, 5, 3)), ops.ones((3, 3, 3, 8))
        >>> tuple(upsample_conv(x, kernel, 2, data_format="channels_last").shape)
        (1, 8, 10, 8)

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill;
        Colbert et al. 2021, arXiv:2107.07647 (one convolution per phase);
        Kinoshita, Kiya 2020, arXiv:2002.02117 (a box after a transposed convolution).
    """
    x, kernel, bias, task = prepare(
        x, kernel, bias, size, interpolation, padding, data_format, dilation_rate
    )
    forward, backward = choose(x, kernel, task)
    return run(forward, backward, x, kernel, bias, task)


def prepare(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    size: IntPerAxis,
    interpolation: str,
    padding: str,
    data_format: str | None,
    dilation_rate: IntPerAxis,
) -> tuple[Tensor, Tensor, Tensor | None, Task]:
    """Check the arguments; return the tensors, in the dtypes to compute with, and the task."""
    kernel = ops.convert_to_tensor(kernel)
    rank = len(kernel.shape) - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            "Expected a kernel of shape (*kernel_size, channels // groups, filters) with one, two "
            f"or three spatial axes. Received: a kernel of shape {tuple(kernel.shape)}. Reshape "
            "it, with axes of length 1 for a single channel or filter."
        )
    if 0 in kernel.shape:
        raise ValueError(
            "Every axis of the kernel must have at least one entry. "
            f"Received: a kernel of shape {tuple(kernel.shape)}. Use 1 or more taps, channels and "
            "filters."
        )
    batch = checked_batch(
        x, size, data_format, layers="UpsampleConv1D, UpsampleConv2D or UpsampleConv3D", rank=rank
    )
    x, size, data_format = batch.x, batch.size, batch.data_format
    channels = x.shape[channel_axis(rank, data_format)]
    if channels is None:
        raise ValueError(
            "The number of channels must be known, because it determines the groups. "
            f"Received: an input of shape {tuple(x.shape)}. Set the number in the shape of "
            "`keras.Input`."
        )
    # `torch.compile` may pass symbolic lengths that have one value; `index` returns that value.
    channels, kernel_size = index(channels), tuple(map(index, kernel.shape[:rank]))
    if channels % kernel.shape[-2]:
        raise ValueError(
            "The input must have as many channels as the kernel, or a multiple for groups. "
            f"Received: an input of shape {tuple(x.shape)} with {channels} channels, and a kernel "
            f"of shape {tuple(kernel.shape)} for {kernel.shape[-2]}. Check `data_format`, or use a "
            f"kernel for {channels} channels."
        )
    groups = channels // index(kernel.shape[-2])
    if groups < 1 or kernel.shape[-1] % groups:
        raise ValueError(
            f"The filters must be divisible by the groups. Received: {channels} channels and a "
            f"kernel of shape {tuple(kernel.shape)}: {groups} groups for {kernel.shape[-1]} "
            "filters. Use another number of filters, or a kernel for all channels."
        )
    kernel_dtype = _convolved_dtype(kernel, "kernel")
    if not keras.backend.is_float_dtype(kernel_dtype):
        raise TypeError(
            f"The kernel must contain floats. Received: dtype {kernel_dtype}. Cast it to float32."
        )
    _convolved_dtype(x, "x")
    x = real_floats(x, "x", kernel_dtype)
    # In less than the input's precision, the composed kernel would be inexact.
    dtypes = keras.backend.standardize_dtype(x.dtype), kernel_dtype
    # `result_type` alone returns float32 for float64.
    wider = "float64" if "float64" in dtypes else keras.backend.result_type(*dtypes)
    kernel = ops.cast(kernel, wider)
    if bias is not None:
        bias = ops.convert_to_tensor(bias)
        _convolved_dtype(bias, "bias")
        if tuple(bias.shape) != (kernel.shape[-1],):
            raise ValueError(
                f"Expected a bias of shape ({kernel.shape[-1]},), one value for each of the "
                f"kernel's filters. Received: a bias of shape {tuple(bias.shape)}. Reshape it, or "
                "pass bias=None."
            )
        bias = ops.cast(bias, x.dtype)
    padding = one_of(padding, PADDINGS, "padding")
    dilation_rate = positive_ints(dilation_rate, rank, "dilation_rate")
    extents = [kernel_extent(k, d) for k, d in zip(kernel_size, dilation_rate, strict=True)]
    for axis, factor, extent in zip(batch.axes, size, extents, strict=True):
        if isinstance(x.shape[axis], int):
            convolved_length(x.shape[axis] * factor, extent, padding)
    task = Task(
        size=size,
        interpolation=interpolation_name(interpolation, rank),
        padding=padding,
        widths=tuple(pad_widths(extent, padding) for extent in extents),
        kernel_size=kernel_size,
        dilation_rate=dilation_rate,
        groups=groups,
        data_format=data_format,
    )
    return x, kernel, bias, task


def _convolved_dtype(tensor: Tensor, name: str) -> str:
    """Return the dtype of a tensor, or raise if it cannot be convolved."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "float8" in dtype:
        raise TypeError(
            f"Floats of 8 bits cannot be convolved. Received `{name}` of dtype {dtype}. Cast it to "
            "float32 or to a float dtype of 16 bits."
        )
    refuse_complex(dtype, name)
    return dtype
