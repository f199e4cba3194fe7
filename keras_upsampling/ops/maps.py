"""What the methods of the one step do to maps with channels last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.padding import pad
from keras_upsampling.ops.tables import zero_padded


def add_bias(y: Tensor, bias: Tensor | None, data_format: str = "channels_last") -> Tensor:
    """Add a bias to the channels.

    Close behind the convolution, since TensorFlow makes one operation of the two: a pass over
    the map less.
    """
    if bias is None:
        return y
    if data_format == "channels_last":
        return ops.add(y, bias)
    return y + ops.reshape(bias, (1, -1, *[1] * (len(y.shape) - 2)))


def pad_map(x: Tensor, widths: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """Pad the spatial axes."""
    if not any(before or after for before, after in widths):
        return x
    widths = [(0, 0), *widths, (0, 0)]
    return zero_padded(x, widths) if mode == "zeros" else pad(x, widths, mode)


def crop_map(x: Tensor, starts: Sequence[int], lengths: Sequence[Tensor]) -> Tensor:
    """Keep so many samples of every spatial axis, from its start on."""
    slices = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return crop(x, [slice(None), *slices])


def convolve(
    operation: Callable[..., Tensor],
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    *,
    data_format: str = "channels_last",
    **options: Any,
) -> Tensor:
    """Run one of Keras's convolutions and add a bias; nothing else in the package runs one.

    Its options, such as strides, are a number for every axis, in a tuple.

    It gives what Keras's convolution gives, also where a backend's own fails.
    """
    if keras.backend.backend() == "torch":
        return _convolve_on_torch(operation, x, kernel, bias, data_format, options)
    # With oneDNN, TensorFlow gives the result of an empty batch the shape of its input. So where
    # the batch is, or may be, empty, one entry is added and taken off again; both ways without a
    # copy where it is not.
    maybe_empty = keras.backend.backend() == "tensorflow" and not x.shape[0]
    batch, *others = ops.shape(x)
    if maybe_empty:
        widths = [(0, ops.maximum(1 - batch, 0)), *[(0, 0)] * (len(x.shape) - 1)]
        # Not of zeros: oneDNN would join that padding to the convolution, and lose the entry.
        x = ops.pad(x, widths, constant_values=1)
        # Of a padding of unknown width, LiteRT's converter knows no axis any more.
        x = ops.reshape(x, (-1, *others))
    y = operation(x, kernel, data_format=data_format, **options)
    y = add_bias(y, bias, data_format)
    return crop(y, [slice(0, batch)]) if maybe_empty else y


def _convolve_on_torch(
    operation: Callable[..., Tensor],
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    data_format: str,
    options: dict[str, Any],
) -> Tensor:
    """Convolve with channels first, as PyTorch does.

    Keras copies a map to transpose it; a transposed view costs nothing, and PyTorch's kernels are
    quick on it.
    """
    if data_format == "channels_last":
        x = ops.moveaxis(x, -1, 1)
    signals = len(x.shape) == 3
    if signals:
        # In two dimensions PyTorch's kernels are quick on transposed views, in one they copy them.
        x, kernel = ops.expand_dims(x, 2), ops.expand_dims(kernel, 0)
        options = {
            name: value if isinstance(value, str) else (1, *value)
            for name, value in options.items()
        }
    if 1 in kernel.shape[-2:]:
        # The order in memory of such a kernel is ambiguous once it is transposed, and where
        # PyTorch does without oneDNN, its gradient is refused: so put it in order before.
        rank = len(kernel.shape) - 2
        ordered = ops.transpose(kernel, (rank + 1, rank, *range(rank)))
        ordered = ops.reshape(ops.reshape(ordered, (-1,)), ordered.shape)
        kernel = ops.transpose(ordered, (*range(2, rank + 2), 1, 0))
    y = operation(x, kernel, data_format="channels_first", **options)
    if signals:
        y = ops.squeeze(y, 2)
    if data_format == "channels_last":
        y = ops.moveaxis(y, 1, -1)
    return add_bias(y, bias, data_format)
