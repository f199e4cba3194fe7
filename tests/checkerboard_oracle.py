"""The score of one image again, in plain NumPy and `numpy.fft`; shares no code with the package.

Slow and by the letter: every harmonic, both of a conjugate pair, every bin of the whole transform.
"""

import itertools
import math

import numpy as np


def filtered(x, filters):
    """Inner part of the convolution of `x` with one symmetric filter per axis."""
    for axis, taps in enumerate(filters):
        x = np.apply_along_axis(np.convolve, axis, x, taps, "valid")
    return x


def box(width):
    return np.ones(width) / width


def triangle(size):
    return np.convolve(box(size), box(size))


def continued(x, s):
    """A signal and `s - 1` samples more at either end: those a period before, on the same slope."""
    fall = x[:s].mean() - x[s : 2 * s].mean()
    rise = x[-s:].mean() - x[-2 * s : -s].mean()
    before = [x[k + s] + fall for k in range(1 - s, 0)]
    after = [x[k - s] + rise for k in range(len(x), len(x) + s - 1)]
    return np.array([*before, *x, *after])


def high_pass(x, size):
    for _ in range(2):
        wide = x
        for axis, s in enumerate(size):
            wide = np.apply_along_axis(continued, axis, wide, s)
        x = x - filtered(wide, [triangle(s) for s in size])
    return x


def weights(r, size):
    around = np.pad(r**2, [(s + 1, s + 1) for s in size], mode="wrap")
    v = filtered(around, [np.convolve(triangle(s), box(5)) for s in size])
    return 1 / (v + 1 / (255**2 * 12) + 0.03 * v.mean())


def phases(x, size):
    """Each phase of a map, as an array `(*size, samples)`."""
    return np.array(
        [
            x[tuple(slice(k, None, s) for k, s in zip(phase, size, strict=True))].ravel()
            for phase in np.ndindex(*size)
        ]
    ).reshape(*size, -1)


def mean_of_phases(r, size):
    """The mean of every phase, weighted by what the map's own weights are."""
    w = weights(r, size)
    return phases(w * r, size).sum(axis=-1) / phases(w, size).sum(axis=-1)


def gain(r, size):
    """How much larger the pattern is that leaves none than the weighted mean of the map.

    By rounds of two steps, the second of them extrapolated to the sum of a geometric series; two
    rounds in one dimension, else one.
    """
    first = pattern = mean_of_phases(r, size)
    repeats = [n // s for n, s in zip(r.shape, size, strict=True)]
    for _ in range(2 if r.ndim == 1 else 1):
        step = mean_of_phases(r - np.tile(pattern, repeats), size)
        pattern = pattern + step
        further = mean_of_phases(r - np.tile(pattern, repeats), size)
        ratio = np.clip((step * further).sum() / (step**2).sum(), 0, 0.9)
        pattern = pattern + further * sum(ratio**k for k in range(300))
    return pattern.std() / first.std()


def unexplained(r, reference):
    """Least squares on the 3, 9 or 27 shifts of the reference."""
    inner = tuple(slice(1, n - 1) for n in r.shape)
    shifts = [
        np.roll(reference, shift, axis=tuple(range(r.ndim)))[inner].ravel()
        for shift in itertools.product((-1, 0, 1), repeat=r.ndim)
    ]
    seen, target = np.stack(shifts, axis=1), r[inner].ravel()
    best = np.linalg.lstsq(seen, target, rcond=None)[0]
    return (target - seen @ best).reshape(r[inner].shape)


def surroundings(offset, shape, size, *, guard):
    """Whether a bin, so far from a harmonic, belongs to what is around it."""
    least = 5.5 if len(shape) == 1 else 2.5
    reach = [max(n * min(0.12, 0.45 / max(size)), least) for n in shape]
    distance = math.sqrt(sum((k / r) ** 2 for k, r in zip(offset, reach, strict=True)))
    return distance <= 1 and max(map(abs, offset)) > 1 and distance > guard


def in_band(offset, shape, size):
    least = 5.5 if len(shape) == 1 else 2.5
    reach = [max(n * min(0.12, 0.45 / max(size)), least) * 7 / 24 for n in shape]
    return sum((k / max(r, 1.0)) ** 2 for k, r in zip(offset, reach, strict=True)) <= 1


def score(x, size, *, data_range=1.0, reference=None, period=None, counts=None):
    """Line ratio, band ratio, squared amplitude (which chance makes negative) of one map.

    And both ratios once more, with what is faint among the surroundings, and the squared amplitude
    of the weighted mean, which is too small where there is noise. What is around a harmonic is the
    mean over so many equal pieces along every axis, which `counts` says.
    """
    r = high_pass(np.asarray(x, float) / data_range, size)
    if reference is not None:
        r = unexplained(r, high_pass(np.asarray(reference, float) / data_range, size))
    counts = counts or (1,) * r.ndim
    lengths = [n // (c * s) * s for n, c, s in zip(r.shape, counts, size, strict=True)]
    r = r[tuple(slice(n * c) for n, c in zip(lengths, counts, strict=True))]
    w = weights(r, size)
    whole = np.abs(np.fft.fftn(w * r)) ** 2 / r.size
    pieces = [
        (w * r)[tuple(slice(k * n, (k + 1) * n) for k, n in zip(place, lengths, strict=True))]
        for place in np.ndindex(*counts)
    ]
    power = np.mean([np.abs(np.fft.fftn(piece)) ** 2 / piece.size for piece in pieces], axis=0)
    nothing = (1e-3 / (255 * math.sqrt(12))) ** 2 * np.mean(w**2)
    offsets = list(itertools.product(*[range(-n // 2, n // 2) for n in lengths]))

    found, more = [], 0.0
    count = np.prod(size) - 1 if period is None else _of_period(size, period)
    # A pattern of amplitude 0.0005 has so much on each of so many harmonics.
    faint = 0.0005**2 * w.sum() ** 2 / r.size / count
    for harmonic in itertools.product(*map(range, size)):
        denominators = [s // math.gcd(a, s) for a, s in zip(harmonic, size, strict=True)]
        if not any(harmonic) or period not in (None, math.lcm(*denominators)):
            continue
        centre = [a * n // s for a, n, s in zip(harmonic, lengths, size, strict=True)]

        def at(chosen, centre=centre):
            found = [
                power[tuple((c + k) % n for c, k, n in zip(centre, offset, lengths, strict=True))]
                for offset in chosen
            ]
            return np.mean(found)

        zero = [axis for axis, a in enumerate(harmonic) if a == 0]
        kinds = [
            axes for count in range(len(zero) + 1) for axes in itertools.combinations(zero, count)
        ]

        def around(guard, kinds=kinds, at=at):
            near = [o for o in offsets if surroundings(o, lengths, size, guard=guard)]
            return max(at([o for o in near if not any(o[axis] for axis in axes)]) for axes in kinds)

        line = tuple(a * n // s for a, n, s in zip(harmonic, r.shape, size, strict=True))
        here, beside = whole[line], around(0)
        more += here - beside
        band = at([o for o in offsets if in_band(o, lengths, size)])
        beside_band = around(1.5 * 7 / 24)
        found.append(
            [
                (here + nothing) / (beside + nothing),
                (band + nothing) / (beside_band + nothing),
                (here + nothing) / (beside + nothing + faint),
                (band + nothing) / (beside_band + nothing + faint),
            ]
        )
    square = more * r.size * (data_range / w.sum()) ** 2
    line, band, line_over_faint, band_over_faint = np.mean(found, axis=0)
    amplitude = gain(r, size) ** 2 * square
    return line, band, amplitude, line_over_faint, band_over_faint, square


def _of_period(size, period):
    """How many harmonics have that least period."""
    return sum(
        math.lcm(*[s // math.gcd(a, s) for a, s in zip(harmonic, size, strict=True)]) == period
        for harmonic in itertools.product(*map(range, size))
    )


def p_value(line, band, shape, size, pieces=1):
    """How probable the better of both ratios is, of maps of so many pieces of that shape.

    For two tries.
    """
    offsets = list(itertools.product(*[range(-n // 2, n // 2) for n in shape]))
    bins = int(np.prod(size)) - 1
    alone = sum(  # those that are their own conjugate
        all(2 * a % s == 0 for a, s in zip(harmonic, size, strict=True))
        for harmonic in itertools.product(*map(range, size))
    )
    count = (bins + alone - 1) // 2
    beside = sum(surroundings(o, shape, size, guard=0) for o in offsets)
    beside_band = sum(surroundings(o, shape, size, guard=1.5 * 7 / 24) for o in offsets)
    inside = sum(in_band(o, shape, size) for o in offsets)
    chances = [
        mean_survival(line, count, bins / count, pieces * bins / count * beside),
        # Neighbours go together, so those of the band count half.
        mean_survival(
            band,
            count,
            pieces * bins / count * inside / 2,
            pieces * bins / count * beside_band / 2,
        ),
    ]
    return float(np.clip(2 * min(chances), 1e-7, 0.99))


def mean_survival(value, count, above, below):
    """How probable so large a mean of `count` values of an F distribution is, nearly.

    By the F distribution that varies by the same share of its mean.
    """
    if count == 1:
        return f_survival(value, above, below)

    def moments(a, b):
        mean = b / (b - 2)
        return mean, 2 * (a + b - 2) / (a * (b - 4)) * mean**2

    mean, variance = moments(above, below)
    low, high = 4.0, 1e9  # the more degrees, the less it varies
    for _ in range(200):
        tried = (low + high) / 2
        a_mean, a_variance = moments(count * above, tried)
        if a_variance / a_mean**2 > variance / count / mean**2:
            low = tried
        else:
            high = tried
    return f_survival(value / mean * a_mean, count * above, tried)


def f_survival(value, above, below):
    """How probable so large a value of the F distribution is, by summing up its density."""
    # In u = above x / (above x + below), which has a beta distribution.
    u = (np.arange(200_000) + 0.5) / 200_000
    density = (above / 2 - 1) * np.log(u) + (below / 2 - 1) * np.log1p(-u)
    density = np.exp(density - density.max())
    return density[u > above * value / (above * value + below)].sum() / density.sum()
