"""An independent implementation of the score in NumPy; shares no code with the package.

It is slow and literal: it visits every harmonic, both of each conjugate pair, and every bin of the
complete transform.
"""

import itertools
import math

import numpy as np


def filtered(x, filters):
    """Return the valid convolution of `x` with one symmetric filter per axis."""
    for axis, taps in enumerate(filters):
        x = np.apply_along_axis(np.convolve, axis, x, taps, "valid")
    return x


def box(width):
    return np.ones(width) / width


def triangle(size):
    return np.convolve(box(size), box(size))


def continued(x, s):
    """Extend a signal by `s - 1` samples at both ends: the outermost period, on the same slope."""
    fall = x[:s].mean() - x[s : 2 * s].mean()
    rise = x[-s:].mean() - x[-2 * s : -s].mean()
    start_samples = [x[k + s] + fall for k in range(1 - s, 0)]
    end_samples = [x[k - s] + rise for k in range(len(x), len(x) + s - 1)]
    return np.array([*start_samples, *x, *end_samples])


def high_pass(x, size):
    for _ in range(2):
        wide = x
        for axis, s in enumerate(size):
            wide = np.apply_along_axis(continued, axis, wide, s)
        x = x - filtered(wide, [triangle(s) for s in size])
    return x


def weights(r, size):
    squares = np.pad(r**2, [(s + 1, s + 1) for s in size], mode="wrap")
    variance = filtered(squares, [np.convolve(triangle(s), box(5)) for s in size])
    return 1 / (variance + 1 / (255**2 * 12) + 0.03 * variance.mean())


def phases(x, size):
    """Return the samples of each phase of a map, `(*size, samples)`."""
    return np.array(
        [
            x[tuple(slice(k, None, s) for k, s in zip(phase, size, strict=True))].ravel()
            for phase in np.ndindex(*size)
        ]
    ).reshape(*size, -1)


def mean_of_phases(r, size):
    """Return the mean of every phase, with the weights of the map."""
    w = weights(r, size)
    return phases(w * r, size).sum(axis=-1) / phases(w, size).sum(axis=-1)


def gain(r, size):
    """Return the amplitude of the pattern relative to the weighted mean of the map.

    The pattern is the one whose subtraction leaves no pattern. It is found in iterations of two
    steps; the second step is extrapolated to the sum of a geometric series. There are two
    iterations in one dimension, otherwise one.
    """
    initial = pattern = mean_of_phases(r, size)
    repeats = [n // s for n, s in zip(r.shape, size, strict=True)]
    for _ in range(2 if r.ndim == 1 else 1):
        step = mean_of_phases(r - np.tile(pattern, repeats), size)
        pattern = pattern + step
        next_step = mean_of_phases(r - np.tile(pattern, repeats), size)
        ratio = np.clip((step * next_step).sum() / (step**2).sum(), 0, 0.9)
        pattern = pattern + next_step * sum(ratio**k for k in range(300))
    return pattern.std() / initial.std()


def residual(r, reference):
    """Subtract the least-squares fit of the 3, 9 or 27 shifts of the reference."""
    inner = tuple(slice(1, n - 1) for n in r.shape)
    shifts = [
        np.roll(reference, shift, axis=tuple(range(r.ndim)))[inner].ravel()
        for shift in itertools.product((-1, 0, 1), repeat=r.ndim)
    ]
    shifts_matrix, target = np.stack(shifts, axis=1), r[inner].ravel()
    taps = np.linalg.lstsq(shifts_matrix, target, rcond=None)[0]
    return (target - shifts_matrix @ taps).reshape(r[inner].shape)


def in_surroundings(offset, shape, size, *, guard):
    """Return whether a bin at that offset from a harmonic belongs to its surroundings."""
    min_reach = 5.5 if len(shape) == 1 else 2.5
    reach = [max(n * min(0.12, 0.45 / max(size)), min_reach) for n in shape]
    distance = math.sqrt(sum((k / r) ** 2 for k, r in zip(offset, reach, strict=True)))
    return distance <= 1 and max(map(abs, offset)) > 1 and distance > guard


def in_band(offset, shape, size):
    min_reach = 5.5 if len(shape) == 1 else 2.5
    reach = [max(n * min(0.12, 0.45 / max(size)), min_reach) * 7 / 24 for n in shape]
    return sum((k / max(r, 1.0)) ** 2 for k, r in zip(offset, reach, strict=True)) <= 1


def score(x, size, *, data_range=1.0, reference=None, period=None, counts=None):
    """Return the six numbers from which the score of one map follows.

    Line ratio, band ratio and squared amplitude, which can be negative by chance. Then both ratios
    again with the faint power added to the surroundings, and the squared amplitude of the weighted
    mean, which is too small in noise. The surroundings of a harmonic are the mean over equal
    pieces of the map; `counts` is their number along every axis.
    """
    r = high_pass(np.asarray(x, float) / data_range, size)
    if reference is not None:
        r = residual(r, high_pass(np.asarray(reference, float) / data_range, size))
    counts = counts or (1,) * r.ndim
    lengths = [n // (c * s) * s for n, c, s in zip(r.shape, counts, size, strict=True)]
    r = r[tuple(slice(n * c) for n, c in zip(lengths, counts, strict=True))]
    w = weights(r, size)
    total_power = np.abs(np.fft.fftn(w * r)) ** 2 / r.size
    pieces = [
        (w * r)[tuple(slice(k * n, (k + 1) * n) for k, n in zip(index, lengths, strict=True))]
        for index in np.ndindex(*counts)
    ]
    power = np.mean([np.abs(np.fft.fftn(piece)) ** 2 / piece.size for piece in pieces], axis=0)
    negligible = (1e-3 / (255 * math.sqrt(12))) ** 2 * np.mean(w**2)
    offsets = list(itertools.product(*[range(-n // 2, n // 2) for n in lengths]))

    ratios, excess = [], 0.0
    count = np.prod(size) - 1 if period is None else _count_of_period(size, period)
    # Power of a pattern of amplitude 0.0005 on each of `count` harmonics.
    faint = 0.0005**2 * w.sum() ** 2 / r.size / count
    for harmonic in itertools.product(*map(range, size)):
        denominators = [s // math.gcd(a, s) for a, s in zip(harmonic, size, strict=True)]
        if not any(harmonic) or period not in (None, math.lcm(*denominators)):
            continue
        centre = [a * n // s for a, n, s in zip(harmonic, lengths, size, strict=True)]

        def at(selected, centre=centre):
            powers = [
                power[tuple((c + k) % n for c, k, n in zip(centre, offset, lengths, strict=True))]
                for offset in selected
            ]
            return np.mean(powers)

        zero = [axis for axis, a in enumerate(harmonic) if a == 0]
        kinds = [
            axes for count in range(len(zero) + 1) for axes in itertools.combinations(zero, count)
        ]

        def surroundings_power(guard, kinds=kinds, at=at):
            nearby = [o for o in offsets if in_surroundings(o, lengths, size, guard=guard)]
            return max(
                at([o for o in nearby if not any(o[axis] for axis in axes)]) for axes in kinds
            )

        line = tuple(a * n // s for a, n, s in zip(harmonic, r.shape, size, strict=True))
        line_power, line_surroundings = total_power[line], surroundings_power(0)
        excess += line_power - line_surroundings
        band = at([o for o in offsets if in_band(o, lengths, size)])
        band_surroundings = surroundings_power(1.5 * 7 / 24)
        ratios.append(
            [
                (line_power + negligible) / (line_surroundings + negligible),
                (band + negligible) / (band_surroundings + negligible),
                (line_power + negligible) / (line_surroundings + negligible + faint),
                (band + negligible) / (band_surroundings + negligible + faint),
            ]
        )
    square = excess * r.size * (data_range / w.sum()) ** 2
    line, band, line_over_faint, band_over_faint = np.mean(ratios, axis=0)
    amplitude = gain(r, size) ** 2 * square
    return line, band, amplitude, line_over_faint, band_over_faint, square


def _count_of_period(size, period):
    """Return the number of harmonics whose shortest period is `period`."""
    return sum(
        math.lcm(*[s // math.gcd(a, s) for a, s in zip(harmonic, size, strict=True)]) == period
        for harmonic in itertools.product(*map(range, size))
    )


def p_value(line, band, shape, size, pieces=1):
    """Return the p-value of the larger ratio, for maps of `pieces` pieces of that shape.

    It is doubled, because there are two tests.
    """
    offsets = list(itertools.product(*[range(-n // 2, n // 2) for n in shape]))
    bins = int(np.prod(size)) - 1
    self_conjugate = sum(  # harmonics that are their own conjugate
        all(2 * a % s == 0 for a, s in zip(harmonic, size, strict=True))
        for harmonic in itertools.product(*map(range, size))
    )
    count = (bins + self_conjugate - 1) // 2
    line_surroundings = sum(in_surroundings(o, shape, size, guard=0) for o in offsets)
    band_surroundings = sum(in_surroundings(o, shape, size, guard=1.5 * 7 / 24) for o in offsets)
    band_bins = sum(in_band(o, shape, size) for o in offsets)
    probabilities = [
        mean_survival(line, count, bins / count, pieces * bins / count * line_surroundings),
        # Neighbours are correlated, so the bins of the band count half.
        mean_survival(
            band,
            count,
            pieces * bins / count * band_bins / 2,
            pieces * bins / count * band_surroundings / 2,
        ),
    ]
    return float(np.clip(2 * min(probabilities), 1e-7, 0.99))


def mean_survival(value, count, numerator_dof, denominator_dof):
    """Approximate the probability that a mean of `count` F-distributed values is `value` or larger.

    The mean is modelled by the F distribution with the same ratio of variance to squared mean.
    """
    if count == 1:
        return f_survival(value, numerator_dof, denominator_dof)

    def moments(a, b):
        mean = b / (b - 2)
        return mean, 2 * (a + b - 2) / (a * (b - 4)) * mean**2

    mean, variance = moments(numerator_dof, denominator_dof)
    low, high = 4.0, 1e9  # more degrees of freedom, less variance
    for _ in range(200):
        fitted_dof = (low + high) / 2
        a_mean, a_variance = moments(count * numerator_dof, fitted_dof)
        if a_variance / a_mean**2 > variance / count / mean**2:
            low = fitted_dof
        else:
            high = fitted_dof
    return f_survival(value / mean * a_mean, count * numerator_dof, fitted_dof)


def f_survival(value, numerator_dof, denominator_dof):
    """Return the probability that an F-distributed value is `value` or larger, from its density."""
    # In u = a x / (a x + b) with the degrees of freedom a and b: a beta distribution.
    u = (np.arange(200_000) + 0.5) / 200_000
    density = (numerator_dof / 2 - 1) * np.log(u) + (denominator_dof / 2 - 1) * np.log1p(-u)
    density = np.exp(density - density.max())
    return (
        density[u > numerator_dof * value / (numerator_dof * value + denominator_dof)].sum()
        / density.sum()
    )
