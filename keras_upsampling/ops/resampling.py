"""Separable upsampling by integer factors, with the same values on every backend.

Every axis is computed by one of four functions with the same result:

- *repeat*: nearest is a copy, by `ops.repeat`, as in `UpSampling2D`.
- *resize*: TensorFlow and PyTorch have a routine of their own for linear interpolation, much faster
  than a composition of other operations. It is used where it is exact.
- *shifts*: a weighted sum of shifted copies for each phase. XLA fuses the sums, so on JAX this is
  the fastest for linear by small factors. It needs no known length, and `torch.compile` and
  `torch.export` can trace it.
- *products*: products with the diagonal blocks of the axis's banded matrix. Matrix products are
  fast on every backend, their gradients too, and with the blocks the cost per sample does not grow
  with the length of the axis.

TensorFlow's own routines for cubic and Lanczos are faster, but not used: they do not compile under
XLA, and the cubic one rounds its weights to a table that is exact only for powers of two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_upsampling._arguments import interpolation_name
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.ops.banded_products import BLOCK, PRODUCTS, upsample_by_products
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.gradient import differentiable_resize
from keras_upsampling.ops.inputs import checked_batch, real_floats, sum_dtype
from keras_upsampling.ops.padding import pad
from keras_upsampling.ops.tables import pad_with_zeros, phase_taps, traced_by_torch

# The largest factor for shifts on JAX: every phase is a separate sum, so compiling takes longer
# with more phases.
_SHIFTS = 4


def resample(
    x: Tensor,
    size: IntPerAxis,
    *,
    interpolation: str = "nearest",
    data_format: str | None = None,
) -> Tensor:
    """Upsample the spatial axes of a batch by integer factors.

    Sampling positions are half-pixel centres. At the borders, taps outside the map are dropped and
    the other taps are scaled to sum to one. On every backend and in every rank, the values are
    those of `keras.layers.UpSampling2D` on JAX. The input must be finite: with an interpolation
    other than nearest, a NaN or an infinity may spread along its axis.

    Args:
        x: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. Nearest keeps
            any dtype; other interpolations cast integers to `keras.config.floatx()`.
        size: Factor for every axis, or one per axis.
        interpolation: `"nearest"`, `"linear"`, `"cubic"` (Keys, a = -0.5), `"lanczos3"` or
            `"lanczos5"`; in two dimensions also `"bilinear"` and `"bicubic"`, in three
            `"trilinear"`.
        data_format: `"channels_last"` or `"channels_first"`. None: Keras's setting.

    Returns:
        Tensor with every spatial axis `size` times as long.

    Raises:
        TypeError: If a factor is not an integer, or `x` is symbolic or complex.
        ValueError: If `interpolation` is unknown, a factor is below 1, or `x` has the wrong rank or
            an empty spatial axis.

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
    if "float8" in dtype:  # TensorFlow cannot copy it; float32 represents it exactly
        return ops.cast(upsample(ops.cast(x, "float32"), size, interpolation, axes), dtype)
    return upsample(x, size, interpolation, axes)


def upsample(
    x: Tensor,
    size: Sequence[int],
    interpolation: str,
    axes: Sequence[int],
    by_routine: bool = True,
) -> Tensor:
    """Upsample as `resample` does, for checked arguments.

    Without `by_routine`, the backend's own routine is not used: on a GPU its gradient adds up in an
    order that differs from run to run.
    """
    # The last axis first: its products are the smallest, so they are computed while the other
    # axes are short.
    changes = [(axis, factor) for axis, factor in zip(axes, size, strict=True) if factor > 1][::-1]
    if interpolation == "nearest":
        for axis, factor in changes:
            x = ops.repeat(x, factor, axis=axis)
        return x

    x = real_floats(x, "x", alternative="use interpolation='nearest'")
    dtype = keras.backend.standardize_dtype(x.dtype)
    x = ops.cast(x, sum_dtype(dtype))
    if by_routine and interpolation == "linear" and _resize_is_exact(x, size, axes):
        x, changes = _upsample_by_resize(x, size, axes), []
    for axis, factor in changes:
        shifts = _shifts_are_best(x, axis, factor, interpolation)
        upsample_axis = _upsample_by_shifts if shifts else upsample_by_products
        x = upsample_axis(x, axis, factor, interpolation)
    return ops.cast(x, dtype)


def _resize_is_exact(x: Tensor, size: Sequence[int], axes: Sequence[int]) -> bool:
    # Both routines round positions (o + 0.5) * (1 / factor) - 0.5. This is exact for powers of two;
    # for other factors the error grows along the axis, and is negligible on short axes on PyTorch.
    dtypes, longest = {
        "tensorflow": (("float32",), 0),  # its routine computes float64 in float32
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
        and max(_routine_lengths(lengths, size)) <= _largest_with_halves(dtype)
    )


def _routine_lengths(lengths: Sequence[int], size: Sequence[int]) -> list[int]:
    """Return the lengths of all axes that the routine writes in `_upsample_by_resize`."""
    upsampled = [length * factor for length, factor in zip(lengths, size, strict=True)]
    joined = [upsampled[1] * upsampled[2]] if len(size) == 3 and size[0] > 1 else []
    return upsampled + joined


def _largest_with_halves(dtype: str) -> int:
    """Return the largest number below which a float dtype represents all multiples of 0.5."""
    return 2 ** int(np.finfo(dtype).nmant)


def _shifts_are_best(x: Tensor, axis: int, factor: int, interpolation: str) -> bool:
    # `torch.compile` fuses the sums, and cannot hold NumPy arrays.
    if not isinstance(x.shape[axis], int) or traced_by_torch():
        return True
    if keras.backend.backend() == "jax" and interpolation == "linear" and factor <= _SHIFTS:
        return True
    # With fewer lines than a block has columns, the blocks have more values than the output map:
    # gigabytes for an axis of millions of samples.
    lines = math.prod(n for i, n in enumerate(x.shape) if i != axis and isinstance(n, int))
    return x.shape[axis] > BLOCK * PRODUCTS and lines < BLOCK


def _upsample_by_resize(x: Tensor, size: Sequence[int], axes: Sequence[int]) -> Tensor:
    """Upsample all axes linearly by the backend's own routine, which takes two axes."""
    channels_last = axes[0] == 1
    lengths = [x.shape[axis] for axis in axes]
    upsampled = [length * factor for length, factor in zip(lengths, size, strict=True)]

    def resize(x: Tensor, target: Sequence[int]) -> Tensor:
        data_format = "channels_last" if channels_last else "channels_first"
        return differentiable_resize(x, target, data_format)

    if len(axes) == 2:
        return resize(x, upsampled)

    batch, channels = ops.shape(x)[0], ops.shape(x)[-1 if channels_last else 1]

    def image_shape(rows: int, columns: int, lead: int = 1) -> tuple[Tensor, ...]:
        """Return a shape of two spatial axes; a leading axis joins the batch or the channels."""
        if channels_last:
            return (batch * lead, rows, columns, channels)
        return (batch, channels * lead, rows, columns)

    if len(axes) == 1:
        x = resize(ops.reshape(x, image_shape(lengths[0], 1)), (upsampled[0], 1))
    else:
        depth, rows, columns = lengths
        x = resize(ops.reshape(x, image_shape(rows, columns, depth)), upsampled[1:])
        if size[0] > 1:
            flat = upsampled[1] * upsampled[2]
            x = resize(ops.reshape(x, image_shape(depth, flat)), (upsampled[0], flat))
    shape = (batch, *upsampled, channels) if channels_last else (batch, channels, *upsampled)
    return ops.reshape(x, shape)


def phase_planes(x: Tensor, axis: int, factor: int, interpolation: str) -> list[Tensor]:
    """Upsample one axis and return its phases separately, each as long as the axis of `x`.

    Sample `factor * i + p` of the upsampled axis is sample `i` of phase `p`.
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
        # For two taps that sum to one, dropping the outer tap equals repeating the edge.
        return sums(pad(x, widths, "edge"))
    # With zero padding, the same sums of a map of ones are the sums of the taps inside the map.
    ones = [1] * len(x.shape)
    ones[axis] = ops.shape(x)[axis]
    inside = sums(pad_with_zeros(ops.ones(ones, dtype=x.dtype), widths))
    return [
        phase * (1 / weight)
        for phase, weight in zip(sums(pad_with_zeros(x, widths)), inside, strict=True)
    ]


def _upsample_by_shifts(x: Tensor, axis: int, factor: int, interpolation: str) -> Tensor:
    """Upsample one axis by a weighted sum of shifted copies for each phase."""
    shape = list(ops.shape(x))
    shape[axis] *= factor
    return ops.reshape(ops.stack(phase_planes(x, axis, factor, interpolation), axis + 1), shape)
