"""Upsampling of one axis by matrix products with the diagonal blocks of its banded matrix."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.resampling import resampling_blocks, resampling_matrix
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.tables import pad_with_zeros, phase_taps

# Input samples per block of the banded matrix: smaller blocks waste less on zeros, larger ones
# make faster matrix products.
BLOCK = 32


# The largest number of blocks that have a product each. Separate products avoid copies, except on
# JAX; but each has a gradient as long as the whole axis, and adding up many of those is slow.
PRODUCTS = 16


def upsample_by_products(x: Tensor, axis: int, factor: int, interpolation: str) -> Tensor:
    """Upsample one axis of known length by products with the blocks of its banded matrix."""
    # The operator `@` keeps the dtype; `ops.matmul` computes float64 in float32.
    dtype = keras.backend.standardize_dtype(x.dtype)
    trailing_lengths = x.shape[axis + 1 :]
    shape = list(ops.shape(x))
    length = shape[axis]
    lead, trail = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    shape[axis] = factor * length
    # Cutting up to one and a half blocks would cost more than the zeros it saves.
    block = length if 2 * length <= 3 * BLOCK else BLOCK
    if block == length and axis == len(shape) - 1:
        matrix = ops.convert_to_tensor(resampling_matrix(length, factor, interpolation), dtype)
        return ops.reshape(ops.reshape(x, (lead, length)) @ ops.transpose(matrix), shape)

    x = ops.reshape(x, (lead, length, trail))
    # TensorFlow is slow at many products of few columns: their columns are joined, for one
    # product of many columns.
    joined = (
        keras.backend.backend() == "tensorflow"
        and axis < len(shape) - 1
        and None not in trailing_lengths
        and math.prod(trailing_lengths) < 64
    )
    if joined:
        x = ops.reshape(ops.transpose(x, (1, 0, 2)), (1, length, lead * trail))
    blocks = resampling_blocks(length, factor, interpolation, block)
    few = len(blocks) == 1 or (keras.backend.backend() != "jax" and len(blocks) <= PRODUCTS)
    multiply = _multiply_separately if few else _multiply_at_once
    x = multiply(x, blocks, block, phase_taps(factor, interpolation)[0])
    if joined:
        x = ops.transpose(ops.reshape(x, (factor * length, lead, trail)), (1, 0, 2))
    return ops.reshape(x, shape)


def _multiply_separately(x: Tensor, blocks: np.ndarray, block: int, first: int) -> Tensor:
    """Multiply each block with a slice of the input that contains its samples."""
    length, factor = x.shape[1], blocks.shape[1] // block
    products = []
    for i, matrix in enumerate(blocks):
        start, outputs = i * block + first, factor * min(block, length - i * block)
        inside = slice(max(0, -start), min(matrix.shape[1], length - start))
        matrix = ops.convert_to_tensor(
            matrix[:outputs, inside], keras.backend.standardize_dtype(x.dtype)
        )
        samples = slice(start + inside.start, start + inside.stop)
        products.append(matrix @ crop(x, [slice(None), samples]))
    return ops.concatenate(products, axis=1) if len(products) > 1 else products[0]


def _multiply_at_once(x: Tensor, blocks: np.ndarray, block: int, first: int) -> Tensor:
    """Multiply all blocks in one batched product, with copies of the samples of each block."""
    lead, length, trail = ops.shape(x)
    count, outputs, inputs = blocks.shape
    covered, halo = count * block, inputs - block
    x = pad_with_zeros(x, ((0, 0), (-first, covered - length + first + halo), (0, 0)))
    inner = crop(x, [slice(None), slice(0, covered)])
    inner = ops.reshape(inner, (lead, count, block, trail))
    # The halo of a block is the first samples of the next block.
    following = crop(inner, [slice(None), slice(1, None), slice(0, halo)])
    last = ops.expand_dims(crop(x, [slice(None), slice(covered, None)]), axis=1)
    halos = ops.concatenate([following, last], axis=1)
    frames = ops.concatenate([inner, halos], axis=2)
    product = ops.convert_to_tensor(blocks, keras.backend.standardize_dtype(x.dtype)) @ frames
    product = ops.reshape(product, (lead, count * outputs, trail))
    return crop(product, [slice(None), slice(0, outputs // block * length)])
