"""Sub-pixel convolution: one convolution that computes all phases as channels."""

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

    Channel `phase * filters + f` of the convolution is that phase of filter `f`, in both data
    formats and on every backend. So kernels and biases work in both formats.
    `keras.ops.depth_to_space` has the same order with channels last. With channels first its order
    depends on the backend, and PyTorch's `pixel_shuffle` has the filters before the phases.

    Args:
        x: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. Integers are cast to
            the kernel's dtype. Only the batch axis may be empty.
        kernel: Tensor `(*kernel_size, channels, prod(size) * filters)` of floats.
        size: Factor for every axis, or one per axis.
        bias: Tensor `(prod(size) * filters,)`, one value for every phase of every filter, or
            None.
        padding: Boundary padding of the input: `"same"` (zeros) and `"valid"` as in Keras;
            `"reflect"`, `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`.
        data_format: `"channels_last"` or `"channels_first"`. None: Keras's setting.

    Returns:
        Tensor in the dtype of `x` (for integers, the kernel's) with `filters` channels. Every
        spatial axis is `size` times as long as the convolved map's. With `"valid"`, the convolved
        map is shorter than the input by the kernel's extent minus one.

    Raises:
        TypeError: If a factor is not an integer, the kernel does not contain floats, or `x` is
            symbolic, complex or of a float dtype of 8 bits.
        ValueError: If `padding` is unknown, a factor is below 1, `x` or `kernel` has the wrong
            rank, their channels differ, the kernel's outputs are not divisible by `prod(size)`, the
            shape of `bias` is wrong, or an axis of known length is empty or too short for the
            padding.

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
            f"input of shape {tuple(x.shape)} with {channels} channels and size={size}. Received: "
            f"a kernel of shape {tuple(kernel.shape)}. Check `size` and `data_format`, or use "
            "another kernel."
        )
    padding = one_of(padding, PADDINGS, "padding")
    for axis, extent in zip(batch.axes, kernel.shape[:rank], strict=True):
        if isinstance(x.shape[axis], int):
            convolved_length(x.shape[axis], extent, padding, map_name="input")
    # Upsampling by 1 and a convolution is a convolution, with all paddings and checks of dtypes.
    y = upsample_conv(x, kernel, 1, bias=bias, padding=padding, data_format=data_format)
    return interleave(y, size, data_format=data_format)
