"""The power of a map at every frequency, and the mean of every phase, for plots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Spectrum(NamedTuple):
    """Power by frequency, from -1/2 to 1/2 along every axis.

    Attributes:
        power: Power of each cell, an array with as many axes as `edges` has entries.
        edges: For each axis, the boundaries of its cells in cycles per sample: one more than
            there are cells, evenly spaced.
    """

    power: np.ndarray
    edges: tuple[np.ndarray, ...]


def power_spectrum(maps: np.ndarray, weights: np.ndarray) -> Spectrum:
    """Return the squared amplitude of the wave at every frequency, averaged over the maps.

    A real wave is the sum of two complex ones, each with half of its amplitude, except at the
    frequencies 0 and 1/2. An axis of even length shows the frequency 1/2 at both ends.

    Args:
        maps: Maps, `(maps, *spatial)`.
        weights: Weight of every sample, in the shape of the maps; positive.
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
        # The frequency k/n lies in the middle of its cell.
        edges.append((np.arange(-(n // 2), n // 2 + 2) - 0.5) / n)
    return Spectrum(power, tuple(edges))


def strongest(spectrum: Spectrum, max_cells: int) -> Spectrum:
    """Return a spectrum of at most `max_cells` cells per axis, each the maximum of its bins.

    A mean would hide the single bin of a pattern. The number of cells is odd before and after, so
    that the frequency 0 stays in the middle; `max_cells` must be odd, too.
    """
    power, edges = spectrum.power, []
    for axis, edge in enumerate(spectrum.edges):
        n = power.shape[axis]
        bins_per_cell = -(-n // max_cells) // 2 * 2 + 1 if n > max_cells else 1
        cells = -(-n // bins_per_cell) // 2 * 2 + 1
        padding = (cells * bins_per_cell - n) // 2
        widths = [(0, 0)] * power.ndim
        widths[axis] = (padding, padding)
        power = np.pad(power, widths)
        power = power.reshape(*power.shape[:axis], cells, bins_per_cell, *power.shape[axis + 1 :])
        power = power.max(axis=axis + 1)
        width = edge[1] - edge[0]
        edges.append(edge[0] + (np.arange(cells + 1) * bins_per_cell - padding) * width)
    return Spectrum(power, tuple(edges))


def harmonic_places(size: Sequence[int]) -> np.ndarray:
    """Return the positions of the harmonics of period `size` in a spectrum, `(places, axes)`.

    These are all `a / size` from -1/2 to 1/2, both included, without the constant.
    """
    frequencies = [np.arange(-(s // 2), s // 2 + 1) / s for s in size]
    return np.array([place for place in itertools.product(*frequencies) if any(place)])


def phase_means(maps: np.ndarray, weights: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return the weighted mean of every phase minus the mean over the phases, `(maps, *size)`.

    Args:
        maps: Maps, `(maps, *spatial)`; every axis is a multiple of its `size`.
        weights: Weight of every sample, in the shape of the maps; positive.
        size: Number of phases along each axis.
    """
    split_shape = [
        n for length, s in zip(maps.shape[1:], size, strict=True) for n in (length // s, s)
    ]
    period_axes = tuple(range(1, 2 * len(size), 2))
    total, weight = (
        x.reshape(-1, *split_shape).sum(axis=period_axes) for x in (weights * maps, weights)
    )
    axes = tuple(range(1, len(size) + 1))
    means = total / weight
    return means - means.mean(axis=axes, keepdims=True)
