"""The taps of one axis: which input samples make an output sample, and how much.

Output sample `o` of an axis enlarged by `size` lies at `(o + 0.5) / size - 0.5` on the
input's grid (half-pixel centres). With `o = size * i + p` its taps are the same for
every `i`, so `size` rows of weights, one per phase `p`, describe the whole axis.

Edge rule: taps that fall outside the input are dropped, and the others are scaled up
to sum to one again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from keras_upsampling.maths.interpolation import INTERPOLATIONS

# A tap that is zero on paper comes out near 1e-17 in floating point.
_ZERO = 1e-14


@dataclass(frozen=True)
class PhaseTaps:
    """The taps of every phase, over one common window of input samples.

    Attributes:
        first: Offset of the window's first sample from input sample `i`; at most 0.
        weights: `(size, window)` array; row `p` sums to one. Output sample
            `size * i + p` is `sum(weights[p, t] * x[i + first + t])` in the interior.
    """

    first: int
    weights: np.ndarray

    @property
    def last(self) -> int:
        """Offset of the window's last sample from input sample `i`; at least 0."""
        return self.first + self.weights.shape[1] - 1


@lru_cache(maxsize=256)
def phase_taps(size: int, interpolation: str) -> PhaseTaps:
    """Return the taps of every phase of an axis enlarged `size` times."""
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
    """Upsampling as a filter over the samples with `size - 1` zeros between them.

    With `z[size * i] = x[i]`, output sample `m` is `sum(weights[d] * z[m - first - d])` in the
    interior.

    Attributes:
        first: Offset of the first weight; at most 0.
        weights: The filter, from end to end; it reads the same backwards.
        reach: How many output samples at each end the edge rule changes.
    """

    first: int
    weights: tuple[float, ...]
    reach: int


def axis_filter(size: int, interpolation: str) -> AxisFilter:
    """Return the filter that enlarges an axis `size` times."""
    taps = phase_taps(size, interpolation)
    # Phase `p` weighs the sample at offset `l` by what the filter has at `p - size * l`.
    by_offset = {
        phase - size * (taps.first + tap): float(weight)
        for (phase, tap), weight in np.ndenumerate(taps.weights)
        if weight
    }
    first, last = min(by_offset), max(by_offset)
    weights = tuple(by_offset.get(offset, 0.0) for offset in range(first, last + 1))
    # Output `m` meets sample -1 by the weight at `m + size`.
    return AxisFilter(first, weights, reach=max(0, last - size + 1))


@lru_cache(maxsize=64)
def resampling_blocks(length: int, size: int, interpolation: str, block: int) -> np.ndarray:
    """Return the matrix that enlarges one axis, cut along its diagonal.

    The whole matrix, `(size * length, length)`, is zero but for a band as wide as the
    taps. Each block makes the outputs of `block` consecutive input samples, from those
    samples and the few around them.

    Returns:
        `(blocks, size * block, block + window - 1)` array. Column `j` of block `b` weighs
        input sample `b * block + first + j` (`first` and `window` as in `phase_taps`);
        columns outside the input are zero. The last block may run past the input's end.
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
    blocks /= np.where(sums == 0, 1, sums)  # rows past the end have no taps left
    blocks.flags.writeable = False
    return blocks


def resampling_matrix(length: int, size: int, interpolation: str) -> np.ndarray:
    """Return the matrix, `(size * length, length)`, that enlarges one axis."""
    first = phase_taps(size, interpolation).first
    return resampling_blocks(length, size, interpolation, length)[0][:, -first : length - first]
