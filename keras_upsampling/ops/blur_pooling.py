"""Striding behind a blur: maps made smaller with an even gradient.

Axis by axis, in one of two ways with one result:

- *products*: the matrix of the whole axis, its border rule included. A product's gradient is
  another product, where that of every slice is a map of zeros that PyTorch, and TensorFlow
  outside of XLA, write out and add up.
- *shifts*: a weighted sum of shifted samples. XLA fuses the sums, so on JAX this is the quickest
  for a factor of 2. It needs no known length, and `torch.compile` and `torch.export` follow it.

Milliseconds, forward and with the gradient, of a map `(8, 64, 64, 32)` and an order of 3 on a busy
CPU of two cores, interleaved, the least of 15 (on PyTorch good for a factor of two only):

    size  way           JAX         TensorFlow    under XLA     PyTorch
    2     products      3.1  4.3    5.2   6.1     3.6   3.2     2.1   24
    2     shifts        0.8  2.5    6.1   121     1.2   3.3      62   46
    2     depthwise      22  650    2.9   7.2      30   419     1.7   15
    2     average pools 3.8  3.5    9.0    17     4.3   5.0     2.4   94
    3     products      2.3  3.0    3.8   3.7     3.0   2.4     1.9   16
    3     shifts        1.2  9.9    3.0    94     1.6    15     2.6  294
    3     depthwise      32 2000    3.1    25      37  1150      13   57
    3     average pools 6.7   40    9.6    17      19    51      13  113

`(32, 28, 28, 16)` ranks most of them alike. TensorFlow's depthwise convolution, besides, has no
strides that differ by axis.
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

# The longest axis to take products for: their cost grows with the square of its length.
_LONGEST = 256


def blur_pool(
    x: Tensor, size: IntPerAxis = 2, *, order: int = 3, data_format: str | None = None
) -> Tensor:
    """Blur the spatial axes of a batch, and keep every `size`-th sample.

    What `BlurPool1D`, `BlurPool2D` and `BlurPool3D` do; see there for the filter and the borders.

    Args:
        x: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. Integers are turned
            into `keras.config.floatx()`.
        size: Factor for every axis, or one per axis.
        order: How many boxes of `size` samples the filter is made of.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        Tensor with `ceil(length / size)` samples on every spatial axis.

    Raises:
        TypeError: a factor or the order is not an integer, or `x` is symbolic or complex.
        ValueError: a factor or the order is below 1, or `x` of the wrong rank or with an axis of
            no samples.

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
            way = _by_products if _takes_products(x, axis, factor) else _by_shifts
            x = way(x, axis, factor, order)
    return ops.cast(x, dtype)


def _takes_products(x: Tensor, axis: int, size: int) -> bool:
    # Compiled by PyTorch, no array of NumPy's may take part; and where products of float32 are
    # rounded to fewer bits, as graphics cards do, a constant would not stay what it was.
    length = x.shape[axis]
    if traced_by_torch() or not isinstance(length, int) or length > _LONGEST or not on_cpu(x):
        return False
    return keras.backend.backend() != "jax" or size > 2


def _by_products(x: Tensor, axis: int, size: int, order: int) -> Tensor:
    """One axis of known length, as a product with its matrix."""
    # The operator `@` keeps the dtype; `ops.matmul` answers float64 in float32.
    shape = list(ops.shape(x))
    matrix = ops.convert_to_tensor(
        blur_matrix(shape[axis], size, order), dtype=keras.backend.standardize_dtype(x.dtype)
    )
    lead, length, trail = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    shape[axis] = matrix.shape[0]
    if axis == len(shape) - 1:
        return ops.reshape(ops.reshape(x, (lead, length)) @ ops.transpose(matrix), shape)
    return ops.reshape(matrix @ ops.reshape(x, (lead, length, trail)), shape)


def _by_shifts(x: Tensor, axis: int, size: int, order: int) -> Tensor:
    """One axis, as a weighted sum of shifted samples."""
    taps, before = blur_taps(size, order), -blur_start(size, order)
    way = _in_steps if keras.backend.backend() == "torch" else _by_phases
    shifted = way(x, axis, size, len(taps), before)
    return sum(tap * copy for tap, copy in zip(taps, shifted, strict=True))


def _in_steps(x: Tensor, axis: int, size: int, taps: int, before: int) -> list[Tensor]:
    """Return, for every tap, what it meets for each output; as PyTorch's exporter understands it.

    That cannot prove that a slice of a length which depends on the axis's lies within it.
    """
    widths = [(0, 0)] * len(x.shape)
    widths[axis] = (before, taps - 1 - before)
    padded, leading = pad(x, widths, "symmetric"), [slice(None)] * axis
    return [padded[(*leading, slice(t, t - taps + 1 or None, size))] for t in range(taps)]


def _by_phases(x: Tensor, axis: int, size: int, taps: int, before: int) -> list[Tensor]:
    """Return the same by slices without steps, whose gradients are quick elsewhere."""
    outputs = (ops.shape(x)[axis] + size - 1) // size
    # In cells of `size` samples, of which every output's taps reach across as many.
    across = -(-taps // size)
    cells = outputs + across - 1
    widths = [(0, 0)] * len(x.shape)
    widths[axis] = (before, across * size - 1 - before)  # enough for a last cell of one sample
    leading = (slice(None),) * axis
    padded = crop(pad(x, widths, "symmetric"), [*leading, slice(0, cells * size)])
    shape = list(ops.shape(x))
    shape[axis : axis + 1] = [cells, size]
    phases = ops.unstack(ops.reshape(padded, shape), size, axis=axis + 1)
    return [
        crop(phases[t % size], [*leading, slice(t // size, t // size + outputs)])
        for t in range(taps)
    ]
