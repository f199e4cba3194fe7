"""Upsampling and convolving as one step, on one axis: which tap meets which sample.

Nearest upsampling by `size` and a convolution with `before` samples padded in front make

    y[o] = sum_t w[t] * x[floor((o + d * t - before) / size)]

with `x` padded where the index leaves it. Let `o - before = size * j + p`, so that the first tap
falls on sample `j`. Then all phases `p = 0 .. size - 1` see the same window of samples,
`j .. j + window - 1`, and phase `p` weighs sample `j + l` by the sum of the taps `t` with
`floor((p + d * t) / size) = l`. So one convolution of `x`, with `size` times as many filters,
makes every phase; interleaved, they are `y`, from sample `crop` on.
"""

from __future__ import annotations

from typing import NamedTuple

from keras_upsampling.maths.padding import kernel_extent


class Phases(NamedTuple):
    """One axis of nearest upsampling and convolving, as one convolution per phase.

    Attributes:
        window: How many samples of the input each phase sees.
        matrix: `size * window` rows of `kernel_size` zeros and ones: which taps of the kernel
            fall on each sample of the window, phase by phase.
        before: How many samples to pad the input with in front.
        after: How many behind.
        crop: Index of the first interleaved sample that belongs to the output.
    """

    window: int
    matrix: tuple[tuple[float, ...], ...]
    before: int
    after: int
    crop: int


def nearest_phases(
    size: int, kernel_size: int, dilation_rate: int, widths: tuple[int, int]
) -> Phases:
    """Return the phases of nearest upsampling and a convolution.

    Args:
        size: Factor of the axis.
        kernel_size: Taps of the convolution.
        dilation_rate: Step between them, on the enlarged axis.
        widths: Samples padded before and after the enlarged axis.
    """
    before, after = widths
    window = (size - 1 + dilation_rate * (kernel_size - 1)) // size + 1
    matrix = tuple(
        tuple(float((phase + dilation_rate * t) // size == sample) for t in range(kernel_size))
        for phase in range(size)
        for sample in range(window)
    )
    # The last output starts `extent` before the end of the padded axis.
    last = (after - kernel_extent(kernel_size, dilation_rate)) // size
    front = -(-before // size)
    return Phases(window, matrix, before=front, after=last + window, crop=size * front - before)
