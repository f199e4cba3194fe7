"""Upsampling and convolving a batch, in one step where that pays."""

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
    """Enlarge a batch by whole factors and convolve it, in one step where that pays.

    There are several methods with one result. The one is taken that should be the quickest for
    the sizes at hand: see "Upsample and convolve in one step" in the documentation.

    Args:
        x: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. Integers are
            turned into the kernel's dtype. No axis may be empty but the batch.
        kernel: Tensor `(*kernel_size, channels // groups, filters)`, as in `keras.ops.conv`:
            fewer channels than `x` has make a grouped convolution. Floats; a kernel of higher
            precision than `x` is composed in its own, then cast.
        size: Factor for every axis, or one per axis.
        bias: Tensor `(filters,)` that is added to every sample, or None.
        interpolation: As in `resample`.
        padding: Of the enlarged map: `"same"` (zeros) and `"valid"` as in Keras;
            `"reflect"`, `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        dilation_rate: Step between the kernel's taps on the enlarged map, for every axis or
            one per axis.

    Returns:
        Tensor in the dtype of `x` (for integers, the kernel's) with `filters` channels; every
        spatial axis is `size` times as long, less the kernel's extent minus one under `"valid"`.

    Raises:
        TypeError: a factor or a dilation is not an integer, the kernel is not of floats, or `x`
            is symbolic, complex or of floats of 8 bits.
        ValueError: unknown interpolation or padding, a number below 1, `x` or `kernel` of the
            wrong rank, channels that are unknown or do not match, filters that the groups do not
            divide, a bias that is not one number per filter, or an axis of known length that is
            empty or too short for the padding.

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
    x, kernel, bias, task = checked(
        x, kernel, bias, size, interpolation, padding, data_format, dilation_rate
    )
    forward, backward = choose(x, kernel, task)
    return run(forward, backward, x, kernel, bias, task)


def checked(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    size: IntPerAxis,
    interpolation: str,
    padding: str,
    data_format: str | None,
    dilation_rate: IntPerAxis,
) -> tuple[Tensor, Tensor, Tensor | None, Task]:
    """Return the tensors, in the dtypes to compute with, and the task; or raise what is wrong."""
    kernel = ops.convert_to_tensor(kernel)
    rank = len(kernel.shape) - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            "Expected a kernel of shape (*kernel_size, channels // groups, filters) with one, two "
            f"or three spatial axes. Received a kernel of shape {tuple(kernel.shape)}."
        )
    if 0 in kernel.shape:
        raise ValueError(
            f"Every axis of the kernel must have something. Received shape {tuple(kernel.shape)}."
        )
    batch = checked_batch(
        x, size, data_format, layers="UpsampleConv1D, UpsampleConv2D or UpsampleConv3D", rank=rank
    )
    x, size, data_format = batch.x, batch.size, batch.data_format
    channels = x.shape[channel_axis(rank, data_format)]
    if channels is None:
        raise ValueError(
            "The number of channels must be known, to tell groups by. "
            f"Received an input of shape {tuple(x.shape)}."
        )
    # `torch.compile` may leave lengths open that have one value; the index is that value.
    channels, kernel_size = index(channels), tuple(map(index, kernel.shape[:rank]))
    if channels % kernel.shape[-2]:
        raise ValueError(
            "The input's channels must be the kernel's, or a multiple of them for groups. Received "
            f"an input of shape {tuple(x.shape)} with {channels} channels, and a kernel of shape "
            f"{tuple(kernel.shape)} for {kernel.shape[-2]}."
        )
    groups = channels // index(kernel.shape[-2])
    if groups < 1 or kernel.shape[-1] % groups:
        raise ValueError(
            f"The filters must be divisible by the groups. Received {channels} channels and a "
            f"kernel of shape {tuple(kernel.shape)}, which make {groups} groups for "
            f"{kernel.shape[-1]} filters."
        )
    kernel_dtype = _convolved_dtype(kernel, "kernel")
    if not keras.backend.is_float_dtype(kernel_dtype):
        raise TypeError(f"The kernel must be of floats. Received one of dtype {kernel_dtype}.")
    _convolved_dtype(x, "x")
    x = real_floats(x, "x", kernel_dtype)
    # Composed in less than the input's precision, it would be another kernel.
    dtypes = keras.backend.standardize_dtype(x.dtype), kernel_dtype
    # Not `result_type` alone, which makes float32 of float64.
    wider = "float64" if "float64" in dtypes else keras.backend.result_type(*dtypes)
    kernel = ops.cast(kernel, wider)
    if bias is not None:
        bias = ops.convert_to_tensor(bias)
        _convolved_dtype(bias, "bias")
        if tuple(bias.shape) != (kernel.shape[-1],):
            raise ValueError(
                f"Expected a bias of shape ({kernel.shape[-1]},), one number for each of the "
                f"kernel's filters. Received a bias of shape {tuple(bias.shape)}."
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
    """Return the dtype of a tensor, if it can be convolved."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "float8" in dtype:
        raise TypeError(
            f"Floats of 8 bits are not convolved. Received `{name}` of dtype {dtype}; cast it to "
            "float32, or to floats of 16 bits."
        )
    refuse_complex(dtype, name)
    return dtype
