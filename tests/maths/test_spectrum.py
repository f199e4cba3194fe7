import cmath
import itertools
import math

import numpy as np
import pytest

from keras_upsampling.maths.spectrum import (
    Spectrum,
    harmonic_places,
    phase_means,
    power_spectrum,
    strongest,
)


def maps_and_weights(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), rng.uniform(0.5, 2, shape)


def middles(edges):
    return (edges[1:] + edges[:-1]) / 2


def power_at(maps, weights, frequency):
    """Return the power by its definition: the Fourier sum of each map, averaged over the maps."""
    powers = []
    for x, w in zip(maps, weights, strict=True):
        total = 0
        for place in np.ndindex(x.shape):
            cycles = sum(f * i for f, i in zip(frequency, place, strict=True))
            total += w[place] * x[place] * cmath.exp(-2j * math.pi * cycles)
        powers.append(abs(total / w.sum()) ** 2)
    return np.mean(powers)


@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 4, 8), (3, 7)])
def test_power_equals_the_plain_fourier_sum(shape):
    maps, weights = maps_and_weights(shape)
    spectrum = power_spectrum(maps, weights)
    frequencies = [middles(edge) for edge in spectrum.edges]
    for n, axis_frequencies in zip(shape[1:], frequencies, strict=True):
        np.testing.assert_allclose(axis_frequencies, -axis_frequencies[::-1], atol=1e-12)
        assert axis_frequencies.max() == pytest.approx((n // 2) / n)
    expected = [power_at(maps, weights, f) for f in itertools.product(*frequencies)]
    np.testing.assert_allclose(spectrum.power.ravel(), expected, atol=1e-12)


def test_a_wave_has_its_squared_amplitude():
    row, column = np.indices((8, 12))
    even = 0.3 * (-1.0) ** (row + column)
    wave = 0.4 * np.cos(2 * np.pi * column / 3)
    for x, frequency, power in ((even, (0.5, 0.5), 0.09), (wave, (0, 1 / 3), 0.04)):
        spectrum = power_spectrum(x[None], np.full((1, 8, 12), 7.0))
        cell = tuple(
            int(np.argmin(abs(middles(edge) - f)))
            for edge, f in zip(spectrum.edges, frequency, strict=True)
        )
        assert spectrum.power[cell] == pytest.approx(power)


@pytest.mark.parametrize("shape", [(9, 5), (31, 65), (1, 8), (21, 4), (33, 130)])
@pytest.mark.parametrize("max_cells", [5, 9])
def test_every_cell_is_the_maximum_of_its_bins(shape, max_cells):
    maps, weights = maps_and_weights((1, *shape))
    full = power_spectrum(maps, weights)
    reduced = strongest(full, max_cells)
    assert max(reduced.power.shape) <= max_cells
    members = []
    for edge, full_edge, cells in zip(reduced.edges, full.edges, reduced.power.shape, strict=True):
        np.testing.assert_allclose(edge, -edge[::-1], atol=1e-12)
        assert len(edge) == cells + 1
        np.testing.assert_allclose(np.diff(edge), edge[1] - edge[0])
        bins = middles(full_edge)
        members.append([(bins > a) & (bins < b) for a, b in itertools.pairwise(edge)])
        assert np.sum(members[-1]) == len(bins)
    for cell in np.ndindex(reduced.power.shape):
        bins_of_cell = np.ix_(
            *(axis_members[i] for axis_members, i in zip(members, cell, strict=True))
        )
        assert reduced.power[cell] == full.power[bins_of_cell].max()


def test_small_spectra_are_not_changed():
    power = np.random.default_rng(0).random((5, 7))
    full = Spectrum(power, (np.arange(6) / 5 - 0.5, np.arange(8) / 7 - 0.5))
    reduced = strongest(full, 7)
    np.testing.assert_array_equal(reduced.power, power)
    for edge, full_edge in zip(reduced.edges, full.edges, strict=True):
        np.testing.assert_allclose(edge, full_edge)


@pytest.mark.parametrize("size", [(2, 2), (1, 2), (3, 4), (5,)])
def test_all_harmonics_have_positions(size):
    # The frequencies a / s and their copies one cycle below, from -1/2 to 1/2.
    expected = {
        tuple(round(a / s + cycle, 9) for a, s, cycle in zip(harmonic, size, cycles, strict=True))
        for harmonic in itertools.product(*map(range, size))
        for cycles in itertools.product((-1, 0), repeat=len(size))
        if any(harmonic)
    }
    expected = {place for place in expected if all(abs(f) <= 0.5 for f in place)}
    places = [tuple(place) for place in harmonic_places(size).round(9).tolist()]
    assert len(places) == len(set(places))
    assert set(places) == expected


@pytest.mark.parametrize("size", [(2, 2), (1, 3), (4, 2)])
def test_phase_means_equal_plain_loops(size):
    maps, weights = maps_and_weights((2, 8, 12))
    means = phase_means(maps, weights, size)
    assert means.shape == (2, *size)
    for x, w, tile in zip(maps, weights, means, strict=True):
        expected = np.zeros(size)
        for phase in np.ndindex(size):
            sums = [0.0, 0.0]
            for place in np.ndindex(x.shape):
                if all(i % s == p for i, s, p in zip(place, size, phase, strict=True)):
                    sums[0] += w[place] * x[place]
                    sums[1] += w[place]
            expected[phase] = sums[0] / sums[1]
        np.testing.assert_allclose(tile, expected - expected.mean(), atol=1e-12)
