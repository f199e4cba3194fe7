"""Random cases, to test the choice of methods on cases that nobody selected."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from keras_upsampling.bench.cases import Case

# The greatest length of an axis, by rank.
_LONGEST = {1: 4096, 2: 160, 3: 32}
# Bounds on the multiply-adds of upsampling, then convolving: large enough to time, and quick.
_WORK = (2e7, 4e9)
_LARGEST_MAP = 2e7
# Two cases in three are nearest. Rates are fitted to all interpolations.
INTERPOLATIONS = ("nearest", "nearest", "linear")
FIT_INTERPOLATIONS = (*INTERPOLATIONS * 3, "cubic", "lanczos3", "lanczos5")


def random_cases(
    count: int,
    seed: int,
    dtype: str = "float32",
    interpolations: Sequence[str] = INTERPOLATIONS,
    bounds: tuple[float, float] = _WORK,
) -> list[Case]:
    """Return `count` cases, the same ones for the same seed.

    Batch, lengths, channels and filters are drawn log-uniformly and independently. Two cases in
    three are images. `bounds` are those of the multiply-adds of upsampling, then convolving.
    """
    rng = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        case = _draw(rng, dtype, interpolations)
        upsampled = math.prod(case.input_shape) * case.size ** len(case.spatial)
        taps = case.kernel_size ** len(case.spatial)
        largest = max(upsampled, upsampled // case.channels * case.filters)
        work = upsampled * taps * case.filters
        if bounds[0] <= work <= bounds[1] and largest <= _LARGEST_MAP:
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
