"""The low-pass of a blur pooling: boxes convolved with each other, and their position.

A box of `size` samples removes every pattern of period `size`. If the filter before a stride
contains this box, every input sample has the same total weight in the outputs. The gradient in the
input is then constant if the gradient in the output is constant. With `order` boxes, a gradient
that is a polynomial of degree below `order` stays a polynomial.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def blur_taps(size: int, order: int) -> tuple[float, ...]:
    """Return the taps of `order` boxes of `size` samples, convolved with each other.

    The sums are of integers and without NumPy, so that compilers can trace them.

    Returns:
        `order * (size - 1) + 1` taps that sum to one.
    """
    taps = [1]
    for _ in range(order):
        length = len(taps) + size - 1
        taps = [sum(taps[max(0, i + 1 - size) : i + 1]) for i in range(length)]
    return tuple(tap / size**order for tap in taps)


def blur_start(size: int, order: int) -> int:
    """Return the index of the input sample under the first tap of output 0; it is at most 0.

    The first tap of output `i` is at `start + size * i`. The centre of the taps is the centre of
    the samples `size * i` to `size * i + size - 1`, or half a sample before it if `order` and
    `size` are both even.
    """
    return -(((order - 1) * (size - 1) + 1) // 2)


def pooled_length(length: int, size: int) -> int:
    """Return the output length of an axis: `length / size`, rounded up."""
    return -(-length // size)


@lru_cache(maxsize=64)
def blur_matrix(length: int, size: int, order: int) -> np.ndarray:
    """Return the weight of every input sample in every output, `(outputs, length)`."""
    taps, before = blur_taps(size, order), -blur_start(size, order)
    outputs = pooled_length(length, size)
    after = size * outputs + len(taps) - size - before - length
    samples = np.pad(np.eye(length), ((before, after), (0, 0)), "symmetric")
    last = size * (outputs - 1) + 1
    matrix = np.sum([tap * samples[t : t + last : size] for t, tap in enumerate(taps)], axis=0)
    matrix.flags.writeable = False
    return matrix
