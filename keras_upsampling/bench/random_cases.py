"""Random cases, to test the choice of methods on cases that nobody selected."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from keras_upsampling.bench.cases import Case

# The greatest length of an axis, by rank.
_LONGEST = {1: 4096, 2: 160, 3: 32}


class Bounds(NamedTuple):
    """Bounds on the multiply-adds of upsampling, then convolving, and on the values of a map."""

    least_work: float
    most_work: float
    largest_map: float


# Large enough to time, and quick, on each kind of device; quick to compile and run, for tuning;
# and of no use but to try a program. Small cases would time how long a GPU takes to start routines.
BOUNDS = {
    "small": Bounds(1e3, 5e6, 1e5),
    "tune": Bounds(2e6, 5e7, 2e7),
    "tune gpu": Bounds(1e9, 5e10, 3e7),
    "cpu": Bounds(2e7, 4e9, 2e7),
    "gpu": Bounds(3e8, 2e11, 1e8),
}


def kind_of_bounds(device: str) -> str:
    """Return which of the `BOUNDS` suit a device: `"cpu"`, or `"gpu"` for every accelerator."""
    return "cpu" if device.lower().startswith("cpu") else "gpu"


# Two cases in three are nearest. Rates are fitted to all interpolations.
INTERPOLATIONS = ("nearest", "nearest", "linear")
FIT_INTERPOLATIONS = (*INTERPOLATIONS * 3, "cubic", "lanczos3", "lanczos5")


def random_cases(
    count: int,
    seed: int,
    dtype: str = "float32",
    interpolations: Sequence[str] = INTERPOLATIONS,
    work: str = "cpu",
) -> list[Case]:
    """Return `count` cases, the same ones for the same seed, within some of the `BOUNDS`.

    Batch, lengths, channels and filters are drawn log-uniformly and independently. Two cases in
    three are images.
    """
    rng, bounds = random.Random(seed), BOUNDS[work]
    cases: list[Case] = []
    while len(cases) < count:
        case = _draw(rng, dtype, interpolations)
        upsampled = math.prod(case.input_shape) * case.size ** len(case.spatial)
        taps = case.kernel_size ** len(case.spatial)
        largest = max(upsampled, upsampled // case.channels * case.filters)
        multiply_adds = upsampled * taps * case.filters
        if bounds.least_work <= multiply_adds <= bounds.most_work and largest <= bounds.largest_map:
            cases.append(case)
    return cases


def _draw(rng: random.Random, dtype: str, interpolations: Sequence[str]) -> Case:
    def log_uniform(low: int, high: int) -> int:
        return min(high, int(math.exp(rng.uniform(math.log(low), math.log(high + 1)))))

    rank = rng.choice((1, 2, 2, 2, 2, 3))
    return Case(
        batch=log_uniform(1, 32),
        spatial=(log_uniform(5, _LONGEST[rank]),) * rank,
        channels=log_uniform(3, 512),
        filters=log_uniform(1, 384),
        size=rng.randint(2, 4),
        kernel_size=rng.randint(1, 5),
        interpolation=rng.choice(interpolations),
        dtype=dtype,
    )
