"""Separable upsampling by whole factors, with the same numbers on every backend.

Axis by axis, in one of four ways with one result:

- *repeat*: nearest is a copy; `ops.repeat` is what `UpSampling2D` uses too.
- *resize*: TensorFlow and PyTorch have a kernel of their own for linear interpolation, much
  quicker than anything composed of other operations. It is taken where it is exact.
- *shifts*: a weighted sum of shifted copies for each phase. XLA fuses the sums, so on JAX this
  is the quickest for linear by small factors. It is also the way that needs no known length,
  and that `torch.compile` and `torch.export` understand.
- *products*: the banded matrix of the axis, cut into blocks along its diagonal: matrix products
  are quick everywhere, their gradient too, and the blocks keep long axes from costing more.

TensorFlow's own kernels for cubic and Lanczos are left alone, though they are quicker: they do
not compile under XLA, and its cubic rounds the weights to a table, which only powers of two meet
exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_upsampling._arguments import interpolation_name
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.ops.banded_products import BLOCK, PRODUCTS, by_products
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.gradient import resized
from keras_upsampling.ops.inputs import checked_batch, real_floats, sum_dtype
from keras_upsampling.ops.padding import pad
from keras_upsampling.ops.tables import phase_taps, traced_by_torch, zero_padded

# The largest factor to take shifts for: their phases are spelt out one by one, and compiling
# them takes the longer the more there are.
_SHIFTS = 4


def resample(
    x: Tensor,
    size: IntPerAxis,
    *,
    interpolation: str = "nearest",
    data_format: str | None = None,
) -> Tensor:
    """Enlarge the spatial axes of a batch by whole factors.

    Sampling positions are half-pixel centres; at the borders, taps that fall outside are
    dropped and the others scaled to sum to one. The numbers are those of
    `keras.layers.UpSampling2D` on JAX, on every backend and in every rank. They must be finite:
    but for nearest, a NaN or an infinity may spread along its axis.

    Args:
        x: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. Nearest keeps
            any dtype; the others turn integers into `keras.config.floatx()`.
        size: Factor for every axis, or one per axis.
        interpolation: `"nearest"`, `"linear"`, `"cubic"` (Keys, a = -0.5), `"lanczos3"` or
            `"lanczos5"`; in two dimensions also `"bilinear"` and `"bicubic"`, in three
            `"trilinear"`.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        Tensor with every spatial axis `size` times as long.

    Raises:
        TypeError: a factor is not an integer, or `x` is symbolic or complex.
        ValueError: unknown interpolation, a factor below 1, or `x` of the wrong rank or with an
            axis of no samples.

    Example:
        >>> from keras import ops
        >>> from keras_upsampling.ops import resample
        >>> x = ops.reshape(ops.array([0.0, 1.0, 2.0]), (1, 3, 1))
        >>> y = resample(x, 2, interpolation="linear", data_format="channels_last")
        >>> [float(number) for number in ops.reshape(y, -1)]
        [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]

    Reference:
        Keys 1981, "Cubic convolution interpolation for digital image processing";
        Duchon 1979, "Lanczos filtering in one and two dimensions".
    """
    batch = checked_batch(x, size, data_format, layers="Upsample1D, Upsample2D or Upsample3D")
    x, size, axes = batch.x, batch.size, batch.axes
    interpolation = interpolation_name(interpolation, batch.rank)
    dtype = keras.backend.standardize_dtype(x.dtype)
    if "float8" in dtype:  # which TensorFlow does not copy, and float32 holds
        return ops.cast(enlarge(ops.cast(x, "float32"), size, interpolation, axes), dtype)
    return enlarge(x, size, interpolation, axes)


def enlarge(x: Tensor, size: Sequence[int], interpolation: str, axes: Sequence[int]) -> Tensor:
    """`resample` with every argument checked."""
    # The last axis first: it is the one whose products are small, so it is better
    # done while the others are short.
    enlarged = [(axis, factor) for axis, factor in zip(axes, size, strict=True) if factor > 1][::-1]
    if interpolation == "nearest":
        for axis, factor in enlarged:
            x = ops.repeat(x, factor, axis=axis)
        return x

    x = real_floats(x, "x")
    dtype = keras.backend.standardize_dtype(x.dtype)
    x = ops.cast(x, sum_dtype(dtype))
    if interpolation == "linear" and _resize_is_exact(x, size, axes):
        x, enlarged = _by_resize(x, size, axes), []
    for axis, factor in enlarged:
        way = _by_shifts if _takes_shifts(x, axis, factor, interpolation) else by_products
        x = way(x, axis, factor, interpolation)
    return ops.cast(x, dtype)


def _resize_is_exact(x: Tensor, size: Sequence[int], axes: Sequence[int]) -> bool:
    # Both kernels find positions as (o + 0.5) * (1 / factor) - 0.5 in float32 (PyTorch's in
    # float64 where the numbers are), exact for powers of two. For other factors the error grows
    # along the axis (on PyTorch 2.4e-5 after 100 samples, factor 3, normal data); compiled by XLA,
    # TensorFlow's slips a whole sample. TensorFlow's kernel answers float64 in float32; Keras's
    # function needs known lengths.
    dtypes, longest = {
        "tensorflow": (("float32",), 0),
        "torch": (("float32", "float64"), 32),
    }.get(keras.backend.backend(), ((), 0))
    dtype = keras.backend.standardize_dtype(x.dtype)
    lengths = [x.shape[axis] for axis in axes]
    return (
        dtype in dtypes
        and all(
            isinstance(length, int) and (factor & (factor - 1) == 0 or length <= longest)
            for length, factor in zip(lengths, size, strict=True)
        )
        and max(_kernel_lengths(lengths, size)) <= _halves(dtype)
    )


def _kernel_lengths(lengths: Sequence[int], size: Sequence[int]) -> list[int]:
    """Return the lengths of all axes that `_by_resize` has the kernel make."""
    enlarged = [length * factor for length, factor in zip(lengths, size, strict=True)]
    joined = [enlarged[1] * enlarged[2]] if len(size) == 3 and size[0] > 1 else []
    return enlarged + joined


def _halves(dtype: str) -> int:
    """Return up to which number floats tell halves apart: all bits but one are before the point."""
    return 2 ** int(np.finfo(dtype).nmant)


def _takes_shifts(x: Tensor, axis: int, factor: int, interpolation: str) -> bool:
    # Compiled by PyTorch, the sums are fused, and no array of NumPy's may take part.
    if not isinstance(x.shape[axis], int) or traced_by_torch():
        return True
    if keras.backend.backend() == "jax" and interpolation == "linear" and factor <= _SHIFTS:
        return True
    # Blocks that have fewer lines to go over than columns hold more numbers than the map they
    # make: of an axis of millions of samples, gigabytes.
    lines = math.prod(n for i, n in enumerate(x.shape) if i != axis and isinstance(n, int))
    return x.shape[axis] > BLOCK * PRODUCTS and lines < BLOCK


def _by_resize(x: Tensor, size: Sequence[int], axes: Sequence[int]) -> Tensor:
    """Linear, by the backend's own kernel for pairs of axes."""
    channels_last = axes[0] == 1
    lengths = [x.shape[axis] for axis in axes]
    enlarged = [length * factor for length, factor in zip(lengths, size, strict=True)]

    def resize(x: Tensor, target: Sequence[int]) -> Tensor:
        return resized(x, target, "channels_last" if channels_last else "channels_first")

    if len(axes) == 2:
        return resize(x, enlarged)

    batch, channels = ops.shape(x)[0], ops.shape(x)[-1 if channels_last else 1]

    def pair(rows: int, columns: int, lead: int = 1) -> tuple[Tensor, ...]:
        """Two axes for the kernel; one before them joins the batch or the channels."""
        if channels_last:
            return (batch * lead, rows, columns, channels)
        return (batch, channels * lead, rows, columns)

    if len(axes) == 1:
        x = resize(ops.reshape(x, pair(lengths[0], 1)), (enlarged[0], 1))
    else:
        depth, rows, columns = lengths
        x = resize(ops.reshape(x, pair(rows, columns, depth)), enlarged[1:])
        if size[0] > 1:
            flat = enlarged[1] * enlarged[2]
            x = resize(ops.reshape(x, pair(depth, flat)), (enlarged[0], flat))
    shape = (batch, *enlarged, channels) if channels_last else (batch, channels, *enlarged)
    return ops.reshape(x, shape)


def phase_planes(x: Tensor, axis: int, factor: int, interpolation: str) -> list[Tensor]:
    """Enlarge one axis; return its phases apart, each as long as the axis of `x`.

    Output sample `factor * i + p` of the enlarged axis is sample `i` of phase `p`.
    """
    if interpolation == "nearest":
        return [x] * factor
    first, weights = phase_taps(factor, interpolation)
    window = len(weights[0])
    widths = [(0, 0)] * len(x.shape)
    widths[axis] = (-first, first + window - 1)

    def sums(padded: Tensor) -> list[Tensor]:
        before = (slice(None),) * axis
        shifted = [crop(padded, [*before, slice(t, t - window + 1 or None)]) for t in range(window)]
        return [
            sum(weight * copy for weight, copy in zip(row, shifted, strict=True) if weight)
            for row in weights
        ]

    if interpolation == "linear":
        # Of two taps that sum to one, giving one's weight to the other is repeating the edge.
        return sums(pad(x, widths, "edge"))
    # The padding is zero, so what the taps inside sum to is what the same sums make of ones.
    ones = [1] * len(x.shape)
    ones[axis] = ops.shape(x)[axis]
    inside = sums(zero_padded(ops.ones(ones, dtype=x.dtype), widths))
    return [
        phase * (1 / part) for phase, part in zip(sums(zero_padded(x, widths)), inside, strict=True)
    ]


def _by_shifts(x: Tensor, axis: int, factor: int, interpolation: str) -> Tensor:
    """One axis, as a weighted sum of shifted copies for each phase."""
    shape = list(ops.shape(x))
    shape[axis] *= factor
    return ops.reshape(ops.stack(phase_planes(x, axis, factor, interpolation), axis + 1), shape)
