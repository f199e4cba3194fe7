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

from keras_upsampling._arguments import (
    concrete_tensor,
    data_format_or_default,
    interpolation_name,
    positive_ints,
    spatial_axes,
    spatial_rank,
)
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.maths.resampling import resampling_blocks, resampling_matrix
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.gradient import resized
from keras_upsampling.ops.pad import pad
from keras_upsampling.ops.tables import phase_taps, traced_by_torch, zero_padded

# Samples of the input per block of the banded matrix: smaller blocks waste less on zeros,
# larger ones make better matrix products.
_BLOCK = 32

# Up to how many blocks have a product each. That is quicker than one with copies, but on JAX; with
# more, the gradients, each as long as the whole axis, would be too many to add up.
_PRODUCTS = 16

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
    data_format = data_format_or_default(data_format)
    x = concrete_tensor(x, "Upsample1D, Upsample2D or Upsample3D")
    rank = spatial_rank(x.shape)
    size = positive_ints(size, rank, "size")
    interpolation = interpolation_name(interpolation, rank)
    axes = spatial_axes(rank, data_format)
    if any(x.shape[axis] == 0 for axis in axes):
        raise ValueError(
            "Every spatial axis must have at least one sample. "
            f"Received an input of shape {tuple(x.shape)}."
        )
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

    if "complex" in keras.backend.standardize_dtype(x.dtype):
        raise TypeError(
            "Complex numbers can be enlarged by nearest only. Received "
            f"interpolation={interpolation!r} and an input of dtype {x.dtype}; enlarge the real "
            "and the imaginary part apart."
        )
    if not keras.backend.is_float_dtype(x.dtype):
        x = ops.cast(x, keras.config.floatx())
    dtype = keras.backend.standardize_dtype(x.dtype)
    # Half precision would round at every tap; the sums are made in float32 at least.
    precise = dtype if dtype in ("float32", "float64") else "float32"
    if precise != dtype:
        x = ops.cast(x, precise)
    if interpolation == "linear" and _resize_is_exact(x, size, axes):
        x, enlarged = _by_resize(x, size, axes), []
    for axis, factor in enlarged:
        way = _by_shifts if _takes_shifts(x, axis, factor, interpolation) else _by_products
        x = way(x, axis, factor, interpolation)
    return x if precise == dtype else ops.cast(x, dtype)


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
    return x.shape[axis] > _BLOCK * _PRODUCTS and lines < _BLOCK


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


def _by_products(x: Tensor, axis: int, factor: int, interpolation: str) -> Tensor:
    """One axis of known length, as products with the blocks of its banded matrix."""
    # The operator `@` keeps the dtype; `ops.matmul` answers float64 in float32.
    dtype = keras.backend.standardize_dtype(x.dtype)
    behind = x.shape[axis + 1 :]
    shape = list(ops.shape(x))
    length = shape[axis]
    lead, trail = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    shape[axis] = factor * length
    # Cutting up to one and a half blocks would cost more than the zeros it saves.
    block = length if 2 * length <= 3 * _BLOCK else _BLOCK
    if block == length and axis == len(shape) - 1:
        matrix = ops.convert_to_tensor(resampling_matrix(length, factor, interpolation), dtype)
        return ops.reshape(ops.reshape(x, (lead, length)) @ ops.transpose(matrix), shape)

    x = ops.reshape(x, (lead, length, trail))
    # TensorFlow is slow at many products of few columns. Those are put side by side for one
    # product: 256x256x16, cubic, takes 9 ms in place of 18.
    joined = (
        keras.backend.backend() == "tensorflow"
        and axis < len(shape) - 1
        and None not in behind
        and math.prod(behind) < 64
    )
    if joined:
        x = ops.reshape(ops.transpose(x, (1, 0, 2)), (1, length, lead * trail))
    blocks = resampling_blocks(length, factor, interpolation, block)
    few = len(blocks) == 1 or (keras.backend.backend() != "jax" and len(blocks) <= _PRODUCTS)
    way = _by_a_product_each if few else _by_one_product
    x = way(x, blocks, block, phase_taps(factor, interpolation)[0])
    if joined:
        x = ops.transpose(ops.reshape(x, (factor * length, lead, trail)), (1, 0, 2))
    return ops.reshape(x, shape)


def _by_a_product_each(x: Tensor, blocks: np.ndarray, block: int, first: int) -> Tensor:
    """Meet each block with the samples that it needs, where they lie."""
    length, factor = x.shape[1], blocks.shape[1] // block
    parts = []
    for i, matrix in enumerate(blocks):
        start, outputs = i * block + first, factor * min(block, length - i * block)
        inside = slice(max(0, -start), min(matrix.shape[1], length - start))
        matrix = ops.convert_to_tensor(
            matrix[:outputs, inside], keras.backend.standardize_dtype(x.dtype)
        )
        part = slice(start + inside.start, start + inside.stop)
        parts.append(matrix @ crop(x, [slice(None), part]))
    return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _by_one_product(x: Tensor, blocks: np.ndarray, block: int, first: int) -> Tensor:
    """Meet all blocks at once with copies of the samples that they need."""
    lead, length, trail = ops.shape(x)
    count, outputs, inputs = blocks.shape
    covered, halo = count * block, inputs - block
    x = zero_padded(x, ((0, 0), (-first, covered - length + first + halo), (0, 0)))
    inner = crop(x, [slice(None), slice(0, covered)])
    inner = ops.reshape(inner, (lead, count, block, trail))
    # What a block needs beyond its own samples are the first ones of the next.
    following = crop(inner, [slice(None), slice(1, None), slice(0, halo)])
    last = ops.expand_dims(crop(x, [slice(None), slice(covered, None)]), axis=1)
    beyond = ops.concatenate([following, last], axis=1)
    frames = ops.concatenate([inner, beyond], axis=2)
    product = ops.convert_to_tensor(blocks, keras.backend.standardize_dtype(x.dtype)) @ frames
    product = ops.reshape(product, (lead, count * outputs, trail))
    return crop(product, [slice(None), slice(0, outputs // block * length)])
