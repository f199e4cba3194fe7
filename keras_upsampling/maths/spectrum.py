"""What a pattern looks like: the power at every frequency, and the mean of every phase."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Spectrum(NamedTuple):
    """Power by frequency, from -1/2 to 1/2 along every axis.

    Attributes:
        power: One number for each cell, an array of as many axes as `edges`.
        edges: For each axis, where its cells begin and end, in cycles per sample: one more than
            there are cells, evenly spaced.
    """

    power: np.ndarray
    edges: tuple[np.ndarray, ...]


def power_spectrum(maps: np.ndarray, weights: np.ndarray) -> Spectrum:
    """Return the squared amplitude of the wave of every frequency, the mean over the maps.

    A real wave is two complex ones, and each has half of its amplitude; but for the frequencies
    0 and 1/2. Of an axis of even length both ends, -1/2 and 1/2, are there: they are the same.

    Args:
        maps: `(maps, *spatial)`.
        weights: Of every sample of the maps, in their shape; positive.
    """
    axes = tuple(range(1, maps.ndim))
    amplitude = np.fft.fftn(weights * maps, axes=axes)
    total = weights.sum(axis=axes, keepdims=True)
    power = np.mean(abs(amplitude / total) ** 2, axis=0)
    power = np.fft.fftshift(power)
    edges = []
    for axis, n in enumerate(maps.shape[1:]):
        if n % 2 == 0:
            power = np.concatenate([power, power.take([0], axis=axis)], axis=axis)
        # Every bin has the frequency k/n in its middle.
        edges.append((np.arange(-(n // 2), n // 2 + 2) - 0.5) / n)
    return Spectrum(power, tuple(edges))


def strongest(spectrum: Spectrum, most: int) -> Spectrum:
    """Return a spectrum of `most` cells at most along every axis: the largest of neighbours.

    A mean would hide the one bin that a pattern is on. Axes have an odd number of cells, before
    and after, so that the frequency 0 stays in the middle; `most` is odd, too.
    """
    power, edges = spectrum.power, []
    for axis, edge in enumerate(spectrum.edges):
        n = power.shape[axis]
        block = -(-n // most) // 2 * 2 + 1 if n > most else 1
        cells = -(-n // block) // 2 * 2 + 1
        added = (cells * block - n) // 2
        widths = [(0, 0)] * power.ndim
        widths[axis] = (added, added)
        power = np.pad(power, widths)
        power = power.reshape(*power.shape[:axis], cells, block, *power.shape[axis + 1 :])
        power = power.max(axis=axis + 1)
        width = edge[1] - edge[0]
        edges.append(edge[0] + (np.arange(cells + 1) * block - added) * width)
    return Spectrum(power, tuple(edges))


def harmonic_places(size: Sequence[int]) -> np.ndarray:
    """Return where a spectrum shows the harmonics of patterns of period `size`.

    That is every `a / size` from -1/2 to 1/2, both included, but not the constant: an array
    `(places, axes)`.
    """
    along = [np.arange(-(s // 2), s // 2 + 1) / s for s in size]
    return np.array([place for place in itertools.product(*along) if any(place)])


def phase_means(maps: np.ndarray, weights: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return the weighted mean of every phase, less the mean of all phases: `(maps, *size)`.

    Args:
        maps: `(maps, *spatial)`, every axis a multiple of its `size`.
        weights: Of every sample of the maps, in their shape; positive.
        size: How many phases there are along each axis.
    """
    split = [part for n, s in zip(maps.shape[1:], size, strict=True) for part in (n // s, s)]
    counted = tuple(range(1, 2 * len(size), 2))
    total, weight = (x.reshape(-1, *split).sum(axis=counted) for x in (weights * maps, weights))
    axes = tuple(range(1, len(size) + 1))
    means = total / weight
    return means - means.mean(axis=axes, keepdims=True)
