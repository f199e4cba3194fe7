"""Resampling of one axis by products with its banded matrix, cut into blocks along its diagonal."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.resampling import resampling_blocks, resampling_matrix
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.tables import phase_taps, zero_padded

# Samples of the input per block of the banded matrix: smaller blocks waste less on zeros,
# larger ones make better matrix products.
BLOCK = 32


# Up to how many blocks have a product each. That is quicker than one with copies, but on JAX; with
# more, the gradients, each as long as the whole axis, would be too many to add up.
PRODUCTS = 16


def by_products(x: Tensor, axis: int, factor: int, interpolation: str) -> Tensor:
    """One axis of known length, as products with the blocks of its banded matrix."""
    # The operator `@` keeps the dtype; `ops.matmul` answers float64 in float32.
    dtype = keras.backend.standardize_dtype(x.dtype)
    behind = x.shape[axis + 1 :]
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
    few = len(blocks) == 1 or (keras.backend.backend() != "jax" and len(blocks) <= PRODUCTS)
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
