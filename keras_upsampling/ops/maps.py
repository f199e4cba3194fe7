"""Operations on maps that the methods of the one step share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.padding import pad
from keras_upsampling.ops.tables import pad_with_zeros


def add_bias(y: Tensor, bias: Tensor | None, data_format: str = "channels_last") -> Tensor:
    """Add a bias to the channels.

    Call it directly after the convolution: TensorFlow then fuses the two into one operation.
    """
    if bias is None:
        return y
    if data_format == "channels_last":
        return ops.add(y, bias)
    return y + ops.reshape(bias, (1, -1, *[1] * (len(y.shape) - 2)))


def pad_map(x: Tensor, widths: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """Pad the spatial axes of maps with channels last."""
    if not any(before or after for before, after in widths):
        return x
    widths = [(0, 0), *widths, (0, 0)]
    return pad_with_zeros(x, widths) if mode == "zeros" else pad(x, widths, mode)


def crop_map(x: Tensor, starts: Sequence[int], lengths: Sequence[Tensor]) -> Tensor:
    """Keep `lengths` samples of every spatial axis from `starts` on, with channels last."""
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
    """Run one of Keras's convolutions and add a bias.

    All convolutions of the package are computed here. The result is that of Keras's convolution,
    also where a backend's own convolution fails. Options such as strides are tuples, one value per
    axis.
    """
    if keras.backend.backend() == "torch":
        return _convolve_on_torch(operation, x, kernel, bias, data_format, options)
    # With oneDNN, TensorFlow returns the wrong shape for an empty batch. One entry is added to a
    # batch that may be empty, and cropped afterwards; other batches are not copied.
    maybe_empty = keras.backend.backend() == "tensorflow" and not x.shape[0]
    batch, *lengths = ops.shape(x)
    if maybe_empty:
        widths = [(0, ops.maximum(1 - batch, 0)), *[(0, 0)] * (len(x.shape) - 1)]
        # Ones, not zeros: oneDNN would fuse a zero padding with the convolution and drop the entry.
        x = ops.pad(x, widths, constant_values=1)
        # LiteRT's converter forgets all lengths after a padding of unknown width.
        x = ops.reshape(x, (-1, *lengths))
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
    """Convolve on PyTorch with channels first.

    Keras copies a map to transpose it. A transposed view is not copied, and PyTorch's kernels are
    fast on it.
    """
    if data_format == "channels_last":
        x = ops.moveaxis(x, -1, 1)
    signals = len(x.shape) == 3
    if signals:
        # PyTorch's kernels for one dimension copy transposed views; those for two do not.
        x, kernel = ops.expand_dims(x, 2), ops.expand_dims(kernel, 0)
        options = {
            name: value if isinstance(value, str) else (1, *value)
            for name, value in options.items()
        }
    if 1 in kernel.shape[-2:]:
        # The memory order of such a kernel is ambiguous once it is transposed, and without oneDNN
        # PyTorch raises for its gradient. Hence it is stored in order first.
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
