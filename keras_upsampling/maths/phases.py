"""Upsampling and convolving as one step, on one axis: which tap meets which sample.

An axis enlarged by `size` and padded with `before` samples in front, then convolved, is

    y[o] = sum_t w[t] * u[o + d * t - before],    u[size * i + p] = sum_l h_p[l] * x[i + first + l]

Let `o - before = size * j + p`. Then all phases `p = 0 .. size - 1` see one window of samples of
`x`, from `j + first` on: tap `t` falls on phase `(p + d * t) % size` of what sample
`j + (p + d * t) // size` was enlarged to, which is a weighted sum of samples in the window. So
one convolution of `x`, with `size` times as many filters, makes every phase; interleaved, they
are `y`, from sample `crop` on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_upsampling.maths.padding import kernel_extent
from keras_upsampling.maths.resampling import resampling_matrix


class Phases(NamedTuple):
    """One axis of upsampling and convolving, as one convolution per phase.

    Attributes:
        window: How many samples of the input each phase sees.
        matrix: `size * window` rows of `kernel_size` numbers: what every tap of the kernel adds
            to the weight of each sample of the window, phase by phase.
        before: How many samples to pad the input with in front.
        after: How many behind.
        crop: Index of the first interleaved sample that belongs to the output.
    """

    window: int
    matrix: tuple[tuple[float, ...], ...]
    before: int
    after: int
    crop: int


def axis_phases(
    first: int,
    weights: Sequence[Sequence[float]],
    kernel_size: int,
    dilation_rate: int,
    widths: tuple[int, int],
) -> Phases:
    """Return the phases of upsampling and a convolution.

    Args:
        first: Offset of the first sample that the upsampling weighs, at most 0; as `weights`
            from `maths.resampling.phase_taps`.
        weights: The weights of every phase.
        kernel_size: Taps of the convolution.
        dilation_rate: Step between them, on the enlarged axis.
        widths: Samples padded before and after the enlarged axis.
    """
    size, taps = len(weights), len(weights[0])
    before, after = widths
    window = (size - 1 + dilation_rate * (kernel_size - 1)) // size + taps
    rows = [[0.0] * kernel_size for _ in range(size * window)]
    for p in range(size):
        for t in range(kernel_size):
            sample, phase = divmod(p + dilation_rate * t, size)
            for tap, weight in enumerate(weights[phase]):
                rows[p * window + sample + tap][t] += weight
    # The last output starts `extent` before the end of the padded axis.
    last = (after - kernel_extent(kernel_size, dilation_rate)) // size
    front = -(-before // size)
    return Phases(
        window,
        tuple(map(tuple, rows)),
        before=front - first,
        after=last + first + window,
        crop=size * front - before,
    )


def tap_matrix(
    length: int,
    size: int,
    interpolation: str,
    kernel_size: int,
    dilation_rate: int,
    widths: tuple[int, int],
    around: str,
) -> np.ndarray:
    """Return the matrix that upsamples one axis, pads it, and adds up the taps of a convolution.

    Args:
        length: Samples of the input.
        size: Factor of the upsampling.
        interpolation: Of the upsampling.
        kernel_size: Taps of the convolution.
        dilation_rate: Step between them, on the enlarged axis.
        widths: Samples padded before and after the enlarged axis.
        around: What stands there: `"zeros"`, or `numpy.pad`'s mode.

    Returns:
        `(outputs, kernel_size * length)` array: column `length * t + i` is what sample `i` adds
        to each output by tap `t`.
    """
    enlarged = resampling_matrix(length, size, interpolation)
    mode: Any = "constant" if around == "zeros" else around
    padded = np.pad(enlarged, (widths, (0, 0)), mode=mode)
    outputs = len(padded) - kernel_extent(kernel_size, dilation_rate) + 1
    starts = range(0, dilation_rate * kernel_size, dilation_rate)
    return np.concatenate([padded[start : start + outputs] for start in starts], axis=1)
