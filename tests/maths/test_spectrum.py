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
    """The definition: the mean over the maps of what is left of each, turned back."""
    powers = []
    for x, w in zip(maps, weights, strict=True):
        total = 0
        for place in np.ndindex(x.shape):
            turns = sum(f * i for f, i in zip(frequency, place, strict=True))
            total += w[place] * x[place] * cmath.exp(-2j * math.pi * turns)
        powers.append(abs(total / w.sum()) ** 2)
    return np.mean(powers)


@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 4, 8), (3, 7)])
def test_the_power_is_that_of_the_plain_sum(shape):
    maps, weights = maps_and_weights(shape)
    spectrum = power_spectrum(maps, weights)
    frequencies = [middles(edge) for edge in spectrum.edges]
    for n, along in zip(shape[1:], frequencies, strict=True):
        np.testing.assert_allclose(along, -along[::-1], atol=1e-12)
        assert along.max() == pytest.approx((n // 2) / n)
    slow = [power_at(maps, weights, f) for f in itertools.product(*frequencies)]
    np.testing.assert_allclose(spectrum.power.ravel(), slow, atol=1e-12)


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
@pytest.mark.parametrize("most", [5, 9])
def test_the_strongest_of_every_cell_is_shown(shape, most):
    maps, weights = maps_and_weights((1, *shape))
    full = power_spectrum(maps, weights)
    few = strongest(full, most)
    assert max(few.power.shape) <= most
    inside = []
    for edge, old, new in zip(few.edges, full.edges, few.power.shape, strict=True):
        np.testing.assert_allclose(edge, -edge[::-1], atol=1e-12)
        assert len(edge) == new + 1
        np.testing.assert_allclose(np.diff(edge), edge[1] - edge[0])
        bins = middles(old)
        inside.append([(bins > a) & (bins < b) for a, b in itertools.pairwise(edge)])
        assert np.sum(inside[-1]) == len(bins)
    for cell in np.ndindex(few.power.shape):
        here = np.ix_(*(along[i] for along, i in zip(inside, cell, strict=True)))
        assert few.power[cell] == full.power[here].max()


def test_few_cells_stay_as_they_are():
    power = np.random.default_rng(0).random((5, 7))
    full = Spectrum(power, (np.arange(6) / 5 - 0.5, np.arange(8) / 7 - 0.5))
    same = strongest(full, 7)
    np.testing.assert_array_equal(same.power, power)
    for edge, old in zip(same.edges, full.edges, strict=True):
        np.testing.assert_allclose(edge, old)


@pytest.mark.parametrize("size", [(2, 2), (1, 2), (3, 4), (5,)])
def test_every_harmonic_has_a_place(size):
    # Whatever a frequency of whole periods is a whole number of cycles away from, in reach.
    expected = {
        tuple(round(a / s + turns, 9) for a, s, turns in zip(harmonic, size, cycles, strict=True))
        for harmonic in itertools.product(*map(range, size))
        for cycles in itertools.product((-1, 0), repeat=len(size))
        if any(harmonic)
    }
    expected = {place for place in expected if all(abs(f) <= 0.5 for f in place)}
    found = [tuple(place) for place in harmonic_places(size).round(9).tolist()]
    assert len(found) == len(set(found))
    assert set(found) == expected


@pytest.mark.parametrize("size", [(2, 2), (1, 3), (4, 2)])
def test_means_of_phases_are_those_of_plain_loops(size):
    maps, weights = maps_and_weights((2, 8, 12))
    found = phase_means(maps, weights, size)
    assert found.shape == (2, *size)
    for x, w, tile in zip(maps, weights, found, strict=True):
        slow = np.zeros(size)
        for phase in np.ndindex(size):
            sums = [0.0, 0.0]
            for place in np.ndindex(x.shape):
                if all(i % s == p for i, s, p in zip(place, size, phase, strict=True)):
                    sums[0] += w[place] * x[place]
                    sums[1] += w[place]
            slow[phase] = sums[0] / sums[1]
        np.testing.assert_allclose(tile, slow - slow.mean(), atol=1e-12)
