"""Blur and downsample maps, with an evenly spread gradient.

Every axis is computed by one of two functions with the same result:

- *products*: one product with the matrix of the axis, which includes the boundary padding. Its
  gradient is another product. That avoids the gradients of slices, which PyTorch, and TensorFlow
  without XLA, write as whole maps of zeros and add.
- *shifts*: a weighted sum of shifted samples. It needs no known length, and `torch.compile` and
  `torch.export` can trace it.

On a CPU, products with their gradients are the fastest or close to it, except on JAX for a factor
of 2, where XLA fuses the sums of the shifts. Depthwise convolutions are far slower under XLA, and
average pools are slower on most backends.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from keras_upsampling._arguments import positive_int
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.maths.blur import blur_matrix, blur_start, blur_taps
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.devices import on_cpu
from keras_upsampling.ops.inputs import checked_batch, real_floats, sum_dtype
from keras_upsampling.ops.padding import pad
from keras_upsampling.ops.tables import traced_by_torch

# The longest axis for products: their cost grows with the square of the length.
_LONGEST = 256


def blur_pool(
    x: Tensor, size: IntPerAxis = 2, *, order: int = 3, data_format: str | None = None
) -> Tensor:
    """Blur the spatial axes of a batch, and keep every `size`-th sample.

    The operation of `BlurPool1D`, `BlurPool2D` and `BlurPool3D`, which document the filter and the
    borders.

    Args:
        x: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. Integers are cast
            to `keras.config.floatx()`.
        size: Factor for every axis, or one per axis.
        order: Number of boxes of `size` samples whose convolution is the filter.
        data_format: `"channels_last"` or `"channels_first"`. None: Keras's setting.

    Returns:
        Tensor with `ceil(length / size)` samples on every spatial axis.

    Raises:
        TypeError: If a factor or `order` is not an integer, or `x` is symbolic or complex.
        ValueError: If a factor or `order` is below 1, or `x` has the wrong rank or an empty
            spatial axis.

    Example:
        >>> from keras import ops
        >>> from keras_upsampling.ops import blur_pool
        >>> x = ops.reshape(ops.array([0.0, 0.0, 0.0, 8.0, 0.0, 0.0]), (1, 6, 1))
        >>> y = blur_pool(x, 2, data_format="channels_last")
        >>> [float(number) for number in ops.reshape(y, -1)]
        [0.0, 3.0, 1.0]

    Reference:
        Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", arXiv:1904.11486.
    """
    batch = checked_batch(x, size, data_format, layers="BlurPool1D, BlurPool2D or BlurPool3D")
    order = positive_int(order, "order")
    x = real_floats(batch.x, "x")
    dtype = keras.backend.standardize_dtype(x.dtype)
    x = ops.cast(x, sum_dtype(dtype))
    for axis, factor in zip(batch.axes, batch.size, strict=True):
        if factor > 1:
            products = _products_are_best(x, axis, factor)
            blur_axis = _blur_by_products if products else _blur_by_shifts
            x = blur_axis(x, axis, factor, order)
    return ops.cast(x, dtype)


def _products_are_best(x: Tensor, axis: int, size: int) -> bool:
    # `torch.compile` cannot hold NumPy arrays. GPUs may round products of float32 to fewer bits,
    # so that constants would not stay constant.
    length = x.shape[axis]
    if traced_by_torch() or not isinstance(length, int) or length > _LONGEST or not on_cpu(x):
        return False
    return keras.backend.backend() != "jax" or size > 2


def _blur_by_products(x: Tensor, axis: int, size: int, order: int) -> Tensor:
    """Blur and downsample one axis of known length by a product with its matrix."""
    # The operator `@` keeps the dtype; `ops.matmul` computes float64 in float32.
    shape = list(ops.shape(x))
    matrix = ops.convert_to_tensor(
        blur_matrix(shape[axis], size, order), dtype=keras.backend.standardize_dtype(x.dtype)
    )
    lead, length, trail = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    shape[axis] = matrix.shape[0]
    if axis == len(shape) - 1:
        return ops.reshape(ops.reshape(x, (lead, length)) @ ops.transpose(matrix), shape)
    return ops.reshape(matrix @ ops.reshape(x, (lead, length, trail)), shape)


def _blur_by_shifts(x: Tensor, axis: int, size: int, order: int) -> Tensor:
    """Blur and downsample one axis by a weighted sum of shifted samples."""
    taps, before = blur_taps(size, order), -blur_start(size, order)
    shifts = _shifts_by_steps if keras.backend.backend() == "torch" else _shifts_by_phases
    shifted = shifts(x, axis, size, len(taps), before)
    return sum(tap * copy for tap, copy in zip(taps, shifted, strict=True))


def _shifts_by_steps(x: Tensor, axis: int, size: int, taps: int, before: int) -> list[Tensor]:
    """Return, for every tap, the samples that it reads for all outputs, by slices with steps.

    PyTorch's exporter cannot prove that slices of a computed length lie within the axis.
    """
    widths = [(0, 0)] * len(x.shape)
    widths[axis] = (before, taps - 1 - before)
    padded, leading = pad(x, widths, "symmetric"), [slice(None)] * axis
    return [padded[(*leading, slice(t, t - taps + 1 or None, size))] for t in range(taps)]


def _shifts_by_phases(x: Tensor, axis: int, size: int, taps: int, before: int) -> list[Tensor]:
    """Return the same samples by slices without steps.

    Their gradients are faster on the other backends.
    """
    outputs = (ops.shape(x)[axis] + size - 1) // size
    # The axis is cut into cells of `size` samples; the taps of an output span `span` cells.
    span = -(-taps // size)
    cells = outputs + span - 1
    widths = [(0, 0)] * len(x.shape)
    widths[axis] = (before, span * size - 1 - before)  # enough for a last cell of one sample
    leading = (slice(None),) * axis
    padded = crop(pad(x, widths, "symmetric"), [*leading, slice(0, cells * size)])
    shape = list(ops.shape(x))
    shape[axis : axis + 1] = [cells, size]
    phases = ops.unstack(ops.reshape(padded, shape), size, axis=axis + 1)
    return [
        crop(phases[t % size], [*leading, slice(t // size, t // size + outputs)])
        for t in range(taps)
    ]
