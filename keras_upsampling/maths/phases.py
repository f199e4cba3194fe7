"""Upsampling and convolution as one step, on one axis: the polyphase kernels.

Upsample an axis `x` by `size`, pad it with `before` samples at the start, and convolve it:

    y[o] = sum_t w[t] * u[o + d * t - before],    u[size * i + p] = sum_l h_p[l] * x[i + first + l]

Let `o - before = size * j + p`, with phase `p` from 0 to `size - 1`. Tap `t` reads the upsampled
sample `u[size * j + p + d * t]`. This is phase `(p + d * t) % size` at input sample
`j + (p + d * t) // size`: a weighted sum of input samples. All phases read from the same window of
`x`, which starts at `j + first`. So one convolution of `x`, with `size` times as many filters,
computes all phases. Interleaved, they are `y`, from sample `crop` on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_upsampling.maths.padding import kernel_extent
from keras_upsampling.maths.resampling import resampling_matrix


class Phases(NamedTuple):
    """Upsampling and convolution of one axis, as one convolution per phase.

    Attributes:
        window: Number of input samples that each phase reads.
        matrix: Matrix that computes the polyphase kernels from the kernel,
            `(size * window, kernel_size)`. Row `p * window + i` computes tap `i` of phase `p`.
        before: Number of samples to pad the input with at its start.
        after: Number of samples to pad the input with at its end.
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
    """Return the phases of an upsampling followed by a convolution.

    Args:
        first: Offset of the first input sample that the interpolation reads, at most 0, from
            `maths.resampling.phase_taps`.
        weights: Weights of the interpolation, `(size, window)`, from the same function.
        kernel_size: Number of taps of the convolution.
        dilation_rate: Distance between the taps, on the upsampled axis.
        widths: Number of samples padded before and after the upsampled axis.
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
    padded_front = -(-before // size)
    return Phases(
        window,
        tuple(map(tuple, rows)),
        before=padded_front - first,
        after=last + first + window,
        crop=size * padded_front - before,
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
    """Return the matrix that upsamples one axis, pads it, and reads it at every tap.

    Args:
        length: Length of the input, in samples.
        size: Factor of the upsampling.
        interpolation: Interpolation of the upsampling.
        kernel_size: Number of taps of the convolution.
        dilation_rate: Distance between the taps, on the upsampled axis.
        widths: Number of samples padded before and after the upsampled axis.
        around: The boundary padding: `"zeros"`, or a mode of `numpy.pad`.

    Returns:
        `(outputs, kernel_size * length)` array. Column `length * t + i` is the weight of input
        sample `i` in the value that tap `t` reads, for each output.
    """
    upsampled = resampling_matrix(length, size, interpolation)
    mode: Any = "constant" if around == "zeros" else around
    padded = np.pad(upsampled, (widths, (0, 0)), mode=mode)
    outputs = len(padded) - kernel_extent(kernel_size, dilation_rate) + 1
    starts = range(0, dilation_rate * kernel_size, dilation_rate)
    return np.concatenate([padded[start : start + outputs] for start in starts], axis=1)
