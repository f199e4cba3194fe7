"""Content-aware reassembly: every output pixel is a weighted mean with its own weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.inputs import sum_dtype
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.maps import convolve
from keras_upsampling.ops.tables import pad_with_zeros

# Added to the logits of taps outside the map, so that their softmax weight is zero. Finite,
# because an infinity would make the gradient NaN.
_OUTSIDE_LOGIT = -1e30


def carafe(
    x: Tensor,
    compressor: tuple[Tensor, Tensor],
    encoder: tuple[Tensor, Tensor],
    size: Sequence[int],
    kernel_size: Sequence[int],
    groups: int,
    data_format: str,
) -> Tensor:
    """Upsample a batch of maps with weights that two convolutions compute from it.

    Args:
        x: Tensor `(batch, height, width, channels)`, or with `data_format="channels_first"`
            `(batch, channels, height, width)`.
        compressor: Kernel and bias of the first convolution.
        encoder: Kernel and bias of the second one, which computes the logits of `reassemble`.
        size: Factor for every axis.
        kernel_size: Rows and columns of the neighbourhood of each mean; odd.
        groups: Number of groups of channels that have their own weights.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    channels_first = data_format == "channels_first"
    if channels_first:
        x = ops.moveaxis(x, 1, -1)
    logits = x
    for kernel, bias in (compressor, encoder):
        logits = convolve(ops.conv, logits, kernel, bias, padding="same")
    y = reassemble(x, logits, size, kernel_size, groups)
    return ops.moveaxis(y, -1, 1) if channels_first else y


def reassemble(
    x: Tensor, logits: Tensor, size: Sequence[int], kernel_size: Sequence[int], groups: int
) -> Tensor:
    """Compute weighted means of the neighbourhood of every pixel, for each phase and group.

    The weights are the softmax of the logits over the taps inside the map.

    Args:
        x: Tensor `(batch, height, width, channels)`.
        logits: Tensor `(batch, height, width, phases * groups * taps)`, in this order, with
            `phases = prod(size)` and `taps = prod(kernel_size)`.
        size: Factor for every axis.
        kernel_size: Rows and columns of the neighbourhood; odd.
        groups: Number of groups of channels.

    Returns:
        Tensor `(batch, size[0] * height, size[1] * width, channels)` in the dtype of `x`.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    precise = sum_dtype(dtype)  # in half precision the weights would not sum to one
    batch, height, width, channels = ops.shape(x)
    phases, taps = math.prod(size), math.prod(kernel_size)

    # Pixels on one axis, because LiteRT multiplies tensors of five axes at most.
    pixels, depth = height * width, channels // groups
    # Padding a map of ones marks the taps outside with zeros, also for unknown lengths.
    ones = ops.ones((1, height, width, 1), dtype=precise)
    inside = ops.reshape(ops.stack(_neighbours(ones, kernel_size), axis=-1), (1, pixels, 1, taps))
    logits = ops.reshape(ops.cast(logits, precise), (batch, pixels, phases * groups, taps))
    # `ops.softmax` warns for kernels of one tap.
    weights = ops.exp(ops.log_softmax(logits + (1 - inside) * _OUTSIDE_LOGIT, axis=-1))
    weights = ops.reshape(weights, (batch * pixels, phases, groups, taps))

    # One product of all phases with all taps per pixel and group: faster than a sum of weighted
    # shifted maps, which passes over the upsampled map once per tap.
    neighbours = [
        ops.reshape(neighbour, (batch * pixels, groups, depth))
        for neighbour in _neighbours(ops.cast(x, precise), kernel_size)
    ]
    y = ops.swapaxes(weights, 1, 2) @ ops.stack(neighbours, axis=2)
    y = ops.reshape(ops.swapaxes(y, 1, 2), (batch, height, width, phases * channels))
    return ops.cast(interleave(y, size), dtype)


def _neighbours(x: Tensor, kernel_size: Sequence[int]) -> list[Tensor]:
    """Return, for every tap in order, the samples that it reads at each pixel; zeros outside."""
    rows, columns = kernel_size
    height, width = ops.shape(x)[1:3]
    widths = [(rows // 2, rows // 2), (columns // 2, columns // 2)]
    padded = pad_with_zeros(x, [(0, 0), *widths, (0, 0)])
    return [
        crop(padded, [slice(None), slice(i, i + height), slice(j, j + width)])
        for i in range(rows)
        for j in range(columns)
    ]
