"""Upsampling and convolving a batch."""

from __future__ import annotations

import keras
from keras import ops

from keras_upsampling._arguments import (
    channel_axis,
    check_rank,
    concrete_tensor,
    data_format_or_default,
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
from keras_upsampling.ops.pad import pad
from keras_upsampling.ops.resample import resample


def upsample_conv(
    x: Tensor,
    kernel: Tensor,
    size: IntPerAxis = 2,
    *,
    interpolation: str = "nearest",
    padding: str = "same",
    data_format: str | None = None,
    dilation_rate: IntPerAxis = 1,
) -> Tensor:
    """Enlarge a batch by whole factors, then convolve it.

    Args:
        x: Tensor of the kernel's dtype, `(batch, *spatial, channels)`, or
            `(batch, channels, *spatial)` with `data_format="channels_first"`; one, two or
            three spatial axes.
        kernel: Tensor `(*kernel_size, channels // groups, filters)`, as in `keras.ops.conv`:
            fewer channels than `x` has make a grouped convolution.
        size: Factor for every axis, or one per axis.
        interpolation: As in `resample`.
        padding: Of the enlarged map: `"same"` (zeros) and `"valid"` as in Keras;
            `"reflect"`, `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        dilation_rate: Step between the kernel's taps on the enlarged map, for every axis or
            one per axis.

    Returns:
        Tensor with `filters` channels; every spatial axis is `size` times as long, less
        the kernel's extent minus one under `"valid"`.

    Raises:
        TypeError: a factor or a dilation is not an integer, or `x` is symbolic.
        ValueError: unknown interpolation or padding, a number below 1, `x` or `kernel` of the
            wrong rank, channels that do not match, or an axis of known length that is too
            short for the padding.

    Example:
        >>> from keras import ops
        >>> from keras_upsampling.ops import upsample_conv
        >>> x, kernel = ops.ones((1, 4, 5, 3)), ops.ones((3, 3, 3, 8))
        >>> tuple(upsample_conv(x, kernel, 2, data_format="channels_last").shape)
        (1, 8, 10, 8)

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill.
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
    if isinstance(channels, int) and channels % kernel.shape[-2]:
        raise ValueError(
            "The input's channels must be the kernel's, or a multiple of them for groups. Received "
            f"an input of shape {tuple(x.shape)} with {channels} channels, and a kernel of shape "
            f"{tuple(kernel.shape)} for {kernel.shape[-2]}."
        )
    padding = one_of(padding, PADDINGS, "padding")
    dilation_rate = positive_ints(dilation_rate, rank, "dilation_rate")
    # TensorFlow convolves channels first on GPUs only; there is less to turn before enlarging.
    turned = keras.backend.backend() == "tensorflow" and data_format == "channels_first"
    if turned:
        x, data_format = ops.moveaxis(x, 1, -1), "channels_last"
    x = resample(x, size, interpolation=interpolation, data_format=data_format)

    widths = [(0, 0)] * len(x.shape)
    for i, axis in enumerate(spatial_axes(rank, data_format)):
        extent = kernel_extent(kernel.shape[i], dilation_rate[i])
        convolved_length(x.shape[axis], extent, padding)
        widths[axis] = pad_widths(extent, padding)
    if padding not in ("same", "valid"):
        x = pad(x, widths, padding)
    y = ops.conv(
        x,
        kernel,
        padding="same" if padding == "same" else "valid",
        data_format=data_format,
        dilation_rate=dilation_rate,
    )
    return ops.moveaxis(y, -1, 1) if turned else y
