"""The taps of an interpolation on one axis: the weights of input samples in each output sample.

Output sample `o` of an axis upsampled by `size` lies at `(o + 0.5) / size - 0.5` on the input's
grid (half-pixel centres). With `o = size * i + p`, its taps are the same for every `i`. So `size`
rows of weights, one per phase `p`, describe the whole axis.

Edge rule: taps outside the input are dropped, and the remaining ones are scaled to sum to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from keras_upsampling.maths.interpolation import INTERPOLATIONS

# Taps that are zero mathematically are about 1e-17 in floating point.
_ZERO = 1e-14


@dataclass(frozen=True)
class PhaseTaps:
    """The taps of every phase, on one window of input samples that all phases share.

    Attributes:
        first: Offset of the window's first sample from input sample `i`; at most 0.
        weights: `(size, window)` array; each row sums to one. Away from the borders, output sample
            `size * i + p` is `sum(weights[p, t] * x[i + first + t])`.
    """

    first: int
    weights: np.ndarray

    @property
    def last(self) -> int:
        """Offset of the window's last sample from input sample `i`; at least 0."""
        return self.first + self.weights.shape[1] - 1


@lru_cache(maxsize=256)
def phase_taps(size: int, interpolation: str) -> PhaseTaps:
    """Return the taps of every phase of an axis upsampled by `size`."""
    kernel = INTERPOLATIONS[interpolation]
    reach = int(np.ceil(kernel.radius))
    offsets = np.arange(-reach, reach + 1)
    positions = (np.arange(size) + 0.5) / size - 0.5
    weights = kernel.weight(positions[:, None] - offsets)
    weights[np.abs(weights) < _ZERO] = 0.0
    used = np.flatnonzero(weights.any(axis=0))
    weights = weights[:, used[0] : used[-1] + 1]
    weights = weights / weights.sum(axis=1, keepdims=True)
    weights.flags.writeable = False
    return PhaseTaps(first=int(offsets[used[0]]), weights=weights)


@dataclass(frozen=True)
class AxisFilter:
    """An interpolation as one filter, applied to the input with `size - 1` zeros between samples.

    With `z[size * i] = x[i]` and zeros elsewhere, output sample `m` is
    `sum(weights[d] * z[m - first - d])` away from the borders.

    Attributes:
        first: Offset of the first weight; at most 0.
        weights: The taps of the filter, which are symmetric.
        reach: Number of output samples at each end that the edge rule changes.
    """

    first: int
    weights: tuple[float, ...]
    reach: int


def axis_filter(size: int, interpolation: str) -> AxisFilter:
    """Return the filter that upsamples an axis by `size`."""
    taps = phase_taps(size, interpolation)
    # The weight of the sample at offset `l` in phase `p` is the filter at `p - size * l`.
    weight_at = {
        phase - size * (taps.first + tap): float(weight)
        for (phase, tap), weight in np.ndenumerate(taps.weights)
        if weight
    }
    first, last = min(weight_at), max(weight_at)
    weights = tuple(weight_at.get(offset, 0.0) for offset in range(first, last + 1))
    # Sample -1 has the weight at `m + size` in output `m`.
    return AxisFilter(first, weights, reach=max(0, last - size + 1))


@lru_cache(maxsize=64)
def resampling_blocks(length: int, size: int, interpolation: str, block: int) -> np.ndarray:
    """Return the matrix that upsamples one axis, as blocks along its diagonal.

    The matrix, `(size * length, length)`, is zero outside a diagonal band as wide as the taps.
    Each block computes the outputs of `block` consecutive input samples from these samples and
    their neighbours.

    Returns:
        `(blocks, size * block, block + window - 1)` array. Column `j` of block `b` contains the
        weights of input sample `b * block + first + j` (`first` and `window` as in `phase_taps`).
        Columns outside the input are zero. The last block may extend past the end of the input.
    """
    taps = phase_taps(size, interpolation)
    window = taps.weights.shape[1]
    count = -(-length // block)
    band = np.zeros((block, size, block + window - 1))
    for i in range(block):
        band[i, :, i : i + window] = taps.weights
    samples = np.arange(count)[:, None] * block + taps.first + np.arange(block + window - 1)
    inside = (samples >= 0) & (samples < length)
    blocks = band.reshape(size * block, -1) * inside[:, None, :]
    sums = blocks.sum(axis=2, keepdims=True)
    blocks /= np.where(sums == 0, 1, sums)  # rows past the end have no taps
    blocks.flags.writeable = False
    return blocks


def resampling_matrix(length: int, size: int, interpolation: str) -> np.ndarray:
    """Return the matrix that upsamples one axis, `(size * length, length)`."""
    first = phase_taps(size, interpolation).first
    return resampling_blocks(length, size, interpolation, length)[0][:, -first : length - first]
