"""The ripple of a layer, computed from its kernel.

A layer that upsamples by `size` computes `prod(size)` phases. On one axis, output sample
`size * i + p` depends on the taps `p`, `p + size`, `p + 2 * size`, ... of the kernel. If the
phases respond differently to a constant, a ramp or noise, the output has a checkerboard, and
training the other layers is not certain to remove it.

Each layer is represented by the kernel of an equal transposed convolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Ripple(NamedTuple):
    """How much the phases of a layer differ. The ripples are ratios: 0.1 is 10 %.

    Attributes:
        gain: Root mean square deviation of the DC gains of the phases from their mean, over the
            mean. 0 if constants stay constant. For a random kernel with independent taps, about
            `sqrt(prod(size) - 1)`.
        ramp: The same for the responses to a ramp that rises by one per input sample, for the axis
            with the larger value. If `gain` is 0 and `ramp` is not, smooth maps get steps.
        power: Standard deviation, over the mean, of the sums of squared taps of the phases: how
            unevenly noise is amplified.
        overlap: Number of input samples that contribute to each phase: integers in the shape of
            `size`, in the order of the kernel's taps.
    """

    gain: float
    ramp: float
    power: float
    overlap: np.ndarray


def ripple(
    kernel: np.ndarray,
    size: Sequence[int],
    *,
    bias: np.ndarray | None = None,
    reached: Sequence[np.ndarray] | None = None,
) -> Ripple:
    """Return the ripple of a transposed convolution.

    Args:
        kernel: Kernel of the transposed convolution, `(*kernel_size, filters, channels)`.
        size: Stride of each axis.
        bias: Bias of each phase, `(*size, filters)`, if the phases have different biases.
        reached: For each axis, a mask of the taps that can be nonzero; all taps by default.
    """
    kernel = np.asarray(kernel, dtype=float)
    axes = tuple(range(len(size)))
    lengths = kernel.shape[: len(size)]
    if reached is None:
        reached = [np.ones(length, dtype=bool) for length in lengths]

    gains, slopes, powers, overlap = [], [], [], []
    for phase in itertools.product(*map(range, size)):
        taps = tuple(slice(p, None, s) for p, s in zip(phase, size, strict=True))
        polyphase = kernel[taps]
        gain = polyphase.sum(axis=axes)
        gains.append(gain if bias is None else np.column_stack([gain, bias[phase]]))
        slopes.append(
            [_slope(polyphase, axis, p, lengths[axis], size) for axis, p in enumerate(phase)]
        )
        powers.append(np.sum(polyphase**2))
        overlap.append(np.prod([mask[tap].sum() for mask, tap in zip(reached, taps, strict=True)]))

    # The mean excludes the bias: a bias shared by all phases must not reduce the ripple.
    level = float(np.linalg.norm(np.mean([gain[:, : kernel.shape[-1]] for gain in gains], axis=0)))
    return Ripple(
        gain=_ratio(_spread(gains), level),
        ramp=max(_ratio(_spread(axis), level) for axis in zip(*slopes, strict=True)),
        power=_ratio(float(np.std(powers)), float(np.mean(powers))),
        overlap=np.reshape(overlap, tuple(size)).astype(int),
    )


def compound(ripples: Iterable[float]) -> float:
    """Return the compound gain ripple of several layers in a row.

    The relative gains of the layers multiply, and so do their mean squares, `1 + ripple**2`.
    """
    return float(np.sqrt(np.prod([1 + ripple**2 for ripple in ripples]) - 1))


def subpixel_kernel(kernel: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return the transposed convolution's kernel that equals a sub-pixel convolution.

    Args:
        kernel: Kernel of the convolution, `(*kernel_size, channels, *size, filters)`.
        size: Factor of the depth to space, one per axis.

    Returns:
        Kernel of the transposed convolution, `(*(size * kernel_size), filters, channels)`.
    """
    rank = len(size)
    # A convolution's tap `t` reads `t` samples ahead, a transposed one's writes `t` samples ahead.
    kernel = np.flip(kernel, axis=tuple(range(rank)))
    pairs = [axis for i in range(rank) for axis in (i, rank + 1 + i)]
    kernel = np.transpose(kernel, (*pairs, 2 * rank + 1, rank))
    taps = [kernel.shape[2 * i] * s for i, s in enumerate(size)]
    return kernel.reshape(*taps, *kernel.shape[-2:])


def composed_kernel(
    kernel: np.ndarray, filters: Sequence[np.ndarray], dilation_rate: Sequence[int]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the composed kernel of an interpolation followed by a convolution.

    Args:
        kernel: Kernel of the convolution, `(*kernel_size, channels, filters)`.
        filters: Filter of the interpolation, one per axis.
        dilation_rate: Dilation of the convolution, one per axis.

    Returns:
        The kernel of the transposed convolution, `(*taps, filters, channels)`, and for each axis a
        mask of the taps that can be nonzero.
    """
    reached: list[np.ndarray] = []
    for axis, (weights, dilation) in enumerate(zip(filters, dilation_rate, strict=True)):
        count = kernel.shape[axis]
        rows = np.zeros((len(weights) + dilation * (count - 1), count))
        for tap in range(count):
            start = dilation * (count - 1 - tap)
            rows[start : start + len(weights), tap] = weights
        kernel = np.moveaxis(np.tensordot(rows, kernel, axes=(1, axis)), 0, axis)
        reached.append(np.any(rows, axis=1))
    return np.swapaxes(kernel, -1, -2), reached


def _slope(
    polyphase: np.ndarray, axis: int, phase: int, length: int, size: Sequence[int]
) -> np.ndarray:
    """Return a phase's response to a ramp along `axis` that is zero at the output sample."""
    # The input sample is at the centre of the kernel.
    positions = ((length - 1) / 2 - np.arange(phase, length, size[axis])) / size[axis]
    other_axes = tuple(i for i in range(len(size)) if i != axis)
    return np.tensordot(positions, polyphase.sum(axis=other_axes), axes=1)


def _spread(values: Sequence[np.ndarray]) -> float:
    """Return the root mean square norm of the deviations from the mean."""
    stacked = np.stack(values)
    squares = ((stacked - stacked.mean(axis=0)) ** 2).reshape(len(stacked), -1).sum(axis=1)
    return float(np.sqrt(squares.mean()))


def _ratio(spread: float, level: float) -> float:
    # A kernel of zeros has no ripple.
    return spread / level if level else (np.inf if spread else 0.0)
