"""The checkerboard that a kernel must make, by arithmetic alone.

A layer that enlarges by `size` treats its output in `prod(size)` ways, the phases: output sample
`size * i + p` is made with the taps `p`, `p + size`, `p + 2 * size`, ... of its kernel. What the
phases do differently to a constant, to a ramp and to noise is what no training of other layers
can take out with certainty.

Every such layer is described here by the kernel of the transposed convolution that does the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Ripple(NamedTuple):
    """How differently a layer treats the samples that it makes. All ratios: 0.1 is 10 %.

    Attributes:
        gain: Of the answers to a constant, root mean square of what every phase has beyond their
            mean, over that mean: 0 exactly if constants stay constant. Random kernels with
            independent taps have about `sqrt(prod(size) - 1)`.
        ramp: The same of the answers to a ramp that rises by one per input sample, for the worse
            axis. Where `gain` is 0, and this is not, smooth maps get steps.
        power: Of the sum of the squares of every phase's taps, standard deviation over mean: how
            much more noise some phases get than others.
        overlap: Integers in the shape of `size`: how many input samples every phase is made from.
            Their order starts at the kernel's first tap.
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
        kernel: `(*taps, filters, channels)`.
        size: Its stride on every axis.
        bias: `(*size, filters)`, if phases have a bias of their own.
        reached: For each axis, which of its taps are not zero by construction; all by default.
    """
    kernel = np.asarray(kernel, dtype=float)
    axes = tuple(range(len(size)))
    lengths = kernel.shape[: len(size)]
    if reached is None:
        reached = [np.ones(length, dtype=bool) for length in lengths]

    gains, slopes, powers, overlap = [], [], [], []
    for phase in itertools.product(*map(range, size)):
        taps = tuple(slice(p, None, s) for p, s in zip(phase, size, strict=True))
        part = kernel[taps]
        gain = part.sum(axis=axes)
        gains.append(gain if bias is None else np.column_stack([gain, bias[phase]]))
        slopes.append([_slope(part, axis, p, lengths[axis], size) for axis, p in enumerate(phase)])
        powers.append(np.sum(part**2))
        overlap.append(np.prod([mask[tap].sum() for mask, tap in zip(reached, taps, strict=True)]))

    # A bias that all phases share raises the output, and hides nothing of the kernel's ripple.
    level = float(np.linalg.norm(np.mean([gain[:, : kernel.shape[-1]] for gain in gains], axis=0)))
    return Ripple(
        gain=_ratio(_spread(gains), level),
        ramp=max(_ratio(_spread(axis), level) for axis in zip(*slopes, strict=True)),
        power=_ratio(float(np.std(powers)), float(np.mean(powers))),
        overlap=np.reshape(overlap, tuple(size)).astype(int),
    )


def compound(ripples: Iterable[float]) -> float:
    """Return the gain ripple of layers one after another.

    The second layer's phases have their ripple on every one of the first's: the powers of what
    is relative to one multiply.
    """
    return float(np.sqrt(np.prod([1 + one**2 for one in ripples]) - 1))


def subpixel_kernel(kernel: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return the transposed convolution's kernel of a convolution that depth-to-space follows.

    Args:
        kernel: `(*taps, channels, *size, filters)`, the convolution's with its outputs in order.
        size: How many phases each axis has.

    Returns:
        `(*(size * taps), filters, channels)`.
    """
    rank = len(size)
    # Phase `p` weighs by tap `t` what lies `t` samples on: a sample's taps run backwards.
    kernel = np.flip(kernel, axis=tuple(range(rank)))
    pairs = [axis for i in range(rank) for axis in (i, rank + 1 + i)]
    kernel = np.transpose(kernel, (*pairs, 2 * rank + 1, rank))
    taps = [kernel.shape[2 * i] * s for i, s in enumerate(size)]
    return kernel.reshape(*taps, *kernel.shape[-2:])


def enlarged_and_convolved(
    kernel: np.ndarray, filters: Sequence[np.ndarray], dilation_rate: Sequence[int]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the transposed convolution's kernel of an interpolation that a convolution follows.

    Args:
        kernel: `(*taps, channels, filters)`, the convolution's.
        filters: For each axis, the interpolation's filter.
        dilation_rate: For each axis, of the convolution.

    Returns:
        `(*taps, filters, channels)`, and which taps of each axis are not zero by construction.
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


def _slope(part: np.ndarray, axis: int, phase: int, length: int, size: Sequence[int]) -> np.ndarray:
    """Return a phase's answer to a ramp along `axis` that is zero where the output sample lies."""
    # The middle of the kernel lies on the input sample.
    places = ((length - 1) / 2 - np.arange(phase, length, size[axis])) / size[axis]
    others = tuple(i for i in range(len(size)) if i != axis)
    return np.tensordot(places, part.sum(axis=others), axes=1)


def _spread(values: Sequence[np.ndarray]) -> float:
    stacked = np.stack(values)
    squares = ((stacked - stacked.mean(axis=0)) ** 2).reshape(len(stacked), -1).sum(axis=1)
    return float(np.sqrt(squares.mean()))


def _ratio(part: float, whole: float) -> float:
    # A kernel of zeros makes nothing, and no ripple.
    return part / whole if whole else (np.inf if part else 0.0)
