"""Content-aware reassembly: every output pixel a mean with weights of its own."""

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
from keras_upsampling.ops.tables import zero_padded

# Added to the logit of a tap outside the map: behind the softmax, its weight is zero. Finite, so
# that there is no infinity to make a NaN of on the way back.
_NEVER = -1e30


def carafe(
    x: Tensor,
    compressor: tuple[Tensor, Tensor],
    encoder: tuple[Tensor, Tensor],
    size: Sequence[int],
    kernel_size: Sequence[int],
    groups: int,
    data_format: str,
) -> Tensor:
    """Enlarge a batch of maps by weights that two convolutions read from it.

    Args:
        x: Tensor `(batch, height, width, channels)`, or with `data_format="channels_first"`
            `(batch, channels, height, width)`.
        compressor: Kernel and bias of the first convolution.
        encoder: Those of the second, which makes the logits of `reassemble`.
        size: Factor for every axis.
        kernel_size: Of the neighbourhood that a mean is taken of; odd.
        groups: How many groups of channels have weights of their own.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    turned = data_format == "channels_first"
    if turned:
        x = ops.moveaxis(x, 1, -1)
    logits = x
    for kernel, bias in (compressor, encoder):
        logits = convolve(ops.conv, logits, kernel, bias, padding="same")
    y = reassemble(x, logits, size, kernel_size, groups)
    return ops.moveaxis(y, -1, 1) if turned else y


def reassemble(
    x: Tensor, logits: Tensor, size: Sequence[int], kernel_size: Sequence[int], groups: int
) -> Tensor:
    """Take weighted means of the neighbourhood of every pixel, one for each phase and group.

    The weights are the softmax of the logits over the taps inside the map.

    Args:
        x: Tensor `(batch, height, width, channels)`.
        logits: Tensor `(batch, height, width, phases * groups * taps)`, in this order, where
            `phases` is `prod(size)` and `taps` is `prod(kernel_size)`.
        size: Factor for every axis.
        kernel_size: Of the neighbourhood; odd.
        groups: How many groups the channels are in.

    Returns:
        Tensor `(batch, size[0] * height, size[1] * width, channels)` in the dtype of `x`.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    precise = sum_dtype(dtype)  # weights in half precision would no longer sum to one
    batch, height, width, channels = ops.shape(x)
    phases, taps = math.prod(size), math.prod(kernel_size)

    # Pixels on one axis, for LiteRT multiplies tensors of five axes at most.
    pixels, depth = height * width, channels // groups
    # Of ones, what lies outside is zero; this needs no known size.
    ones = ops.ones((1, height, width, 1), dtype=precise)
    inside = ops.reshape(ops.stack(_neighbours(ones, kernel_size), axis=-1), (1, pixels, 1, taps))
    logits = ops.reshape(ops.cast(logits, precise), (batch, pixels, phases * groups, taps))
    # `ops.softmax` would warn of kernels of one tap.
    weights = ops.exp(ops.log_softmax(logits + (1 - inside) * _NEVER, axis=-1))
    weights = ops.reshape(weights, (batch * pixels, phases, groups, taps))

    # A product for every pixel and group, of all phases with all taps. Against a sum over the taps
    # of weights times a shifted map, a forward and backward pass took between a half and a
    # thirteenth of the time (5x5 taps, on a CPU, less for fewer taps): that sum passes over the
    # enlarged map once for every tap. Compiled by XLA, its forward pass alone was the quicker one.
    seen = [
        ops.reshape(neighbour, (batch * pixels, groups, depth))
        for neighbour in _neighbours(ops.cast(x, precise), kernel_size)
    ]
    y = ops.swapaxes(weights, 1, 2) @ ops.stack(seen, axis=2)
    y = ops.reshape(ops.swapaxes(y, 1, 2), (batch, height, width, phases * channels))
    return ops.cast(interleave(y, size), dtype)


def _neighbours(x: Tensor, kernel_size: Sequence[int]) -> list[Tensor]:
    """Return, for every tap in order, the map of what it meets at each pixel; zeros outside."""
    rows, columns = kernel_size
    height, width = ops.shape(x)[1:3]
    around = [(rows // 2, rows // 2), (columns // 2, columns // 2)]
    padded = zero_padded(x, [(0, 0), *around, (0, 0)])
    return [
        crop(padded, [slice(None), slice(i, i + height), slice(j, j + width)])
        for i in range(rows)
        for j in range(columns)
    ]
