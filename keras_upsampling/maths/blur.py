"""The filter that comes before striding: boxes convolved with each other, and where they lie.

A box of `size` samples answers every pattern of period `size` by nothing. So behind a filter that
has the box in it, each sample weighs the same in the sum of what striding keeps, and the gradient
of a constant is constant. With `order` boxes the same holds of gradients that are polynomials of a
degree below `order`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def blur_taps(size: int, order: int) -> tuple[float, ...]:
    """Return the `order * (size - 1) + 1` taps of `order` boxes of `size` samples; they sum to one.

    In whole numbers up to the last division, without NumPy, so that compilers can follow.
    """
    taps = [1]
    for _ in range(order):
        longer = len(taps) + size - 1
        taps = [sum(taps[max(0, i + 1 - size) : i + 1]) for i in range(longer)]
    return tuple(tap / size**order for tap in taps)


def blur_start(size: int, order: int) -> int:
    """Return where the first output's first tap lies, at most 0: `start`; the next's is `+ size`.

    The middle of the taps lies in the middle of the `size` samples that the output stands for, or
    half a sample before it, where `order` is even and `size` is too.
    """
    return -(((order - 1) * (size - 1) + 1) // 2)


def pooled_length(length: int, size: int) -> int:
    """Return how many outputs an axis has: one for every `size` samples, or what is left."""
    return -(-length // size)


@lru_cache(maxsize=64)
def blur_matrix(length: int, size: int, order: int) -> np.ndarray:
    """Return `(outputs, length)`: the weight of every sample of an axis in every output."""
    taps, before = blur_taps(size, order), -blur_start(size, order)
    outputs = pooled_length(length, size)
    after = size * outputs + len(taps) - size - before - length
    samples = np.pad(np.eye(length), ((before, after), (0, 0)), "symmetric")
    last = size * (outputs - 1) + 1
    matrix = np.sum([tap * samples[t : t + last : size] for t, tap in enumerate(taps)], axis=0)
    matrix.flags.writeable = False
    return matrix
