"""Sub-pixel convolution: one convolution that makes all phases of the output at once."""

from __future__ import annotations

import math

from keras import ops

from keras_upsampling._arguments import one_of
from keras_upsampling._shapes import (
    channel_axis,
)
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.maths.padding import PADDINGS, convolved_length
from keras_upsampling.ops.inputs import checked_batch
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.upsample_convolution import upsample_conv


def subpixel_conv(
    x: Tensor,
    kernel: Tensor,
    size: IntPerAxis = 2,
    *,
    bias: Tensor | None = None,
    padding: str = "same",
    data_format: str | None = None,
) -> Tensor:
    """Convolve a batch, then move the phases from the channels into the spatial axes.

    Channel `phase * filters + f` of the convolution is that phase of filter `f` in both data
    formats and on every backend, so kernels and biases serve in both. That is how
    `keras.ops.depth_to_space` has them with channels last; with channels first its backends differ,
    and PyTorch's `pixel_shuffle` has the filters before the phases.

    Args:
        x: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. Integers are turned
            into the kernel's dtype. No axis may be empty but the batch.
        kernel: Tensor `(*kernel_size, channels, prod(size) * filters)` of floats.
        size: Factor for every axis, or one per axis.
        bias: Tensor `(prod(size) * filters,)`, one number for every phase of every filter, or
            None.
        padding: Of the map that is convolved: `"same"` (zeros) and `"valid"` as in Keras;
            `"reflect"`, `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        Tensor in the dtype of `x` (for integers, the kernel's) with `filters` channels; every
        spatial axis is `size` times as long, under `"valid"` after the kernel's extent minus one is
        taken off.

    Raises:
        TypeError: a factor is not an integer, the kernel is not of floats, or `x` is symbolic,
            complex or of floats of 8 bits.
        ValueError: unknown padding, a factor below 1, `x` or `kernel` of the wrong rank, channels
            that do not match, outputs of the kernel that `prod(size)` does not divide, a bias that
            is not one number for each of them, or an axis of known length that is empty or too
            short for the padding.

    Example:
        >>> from keras import ops
        >>> from keras_upsampling.ops import subpixel_conv
        >>> x, kernel = ops.ones((1, 4, 5, 3)), ops.ones((3, 3, 3, 4 * 8))
        >>> tuple(subpixel_conv(x, kernel, 2, data_format="channels_last").shape)
        (1, 8, 10, 8)

    Reference:
        Shi et al. 2016, arXiv:1609.05158.
    """
    batch = checked_batch(
        x, size, data_format, layers="SubpixelConv1D, SubpixelConv2D or SubpixelConv3D"
    )
    x, rank, size, data_format = batch.x, batch.rank, batch.size, batch.data_format
    kernel = ops.convert_to_tensor(kernel)
    phases, channels = math.prod(size), x.shape[channel_axis(rank, data_format)]
    if len(kernel.shape) != rank + 2 or kernel.shape[-2] != channels or kernel.shape[-1] % phases:
        raise ValueError(
            f"Expected a kernel of shape (*kernel_size, channels, {phases} * filters), for an "
            f"input of shape {tuple(x.shape)} with {channels} channels and size={size}. Received a "
            f"kernel of shape {tuple(kernel.shape)}."
        )
    padding = one_of(padding, PADDINGS, "padding")
    for axis, extent in zip(batch.axes, kernel.shape[:rank], strict=True):
        if isinstance(x.shape[axis], int):
            convolved_length(x.shape[axis], extent, padding, map_name="input")
    # To enlarge by one and convolve is to convolve, with all paddings and in any precision.
    y = upsample_conv(x, kernel, 1, bias=bias, padding=padding, data_format=data_format)
    return interleave(y, size, data_format=data_format)
