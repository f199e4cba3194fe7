"""Cases drawn at random, to see how well the methods are chosen where nobody looked."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from keras_upsampling.bench.cases import Case

# The longest side by the number of spatial axes.
_LONGEST = {1: 4096, 2: 160, 3: 32}
# Multiply-adds of upsampling, then convolving: enough to matter, and soon done.
_LEAST_WORK, _MOST_WORK = 2e7, 4e9
_LARGEST_MAP = 2e7
# Two cases in three enlarge by nearest; what rates are fitted to has all interpolations.
INTERPOLATIONS = ("nearest", "nearest", "linear")
INTERPOLATIONS_OF_A_FIT = (*INTERPOLATIONS * 3, "cubic", "lanczos3", "lanczos5")


def random_cases(
    count: int,
    seed: int,
    dtype: str = "float32",
    interpolations: Sequence[str] = INTERPOLATIONS,
) -> list[Case]:
    """Return `count` cases, always the same for one seed.

    Batch, sides, channels and filters are drawn log-uniformly, each apart from the others. Two
    cases in three are images.
    """
    rng = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        case = _draw(rng, dtype, interpolations)
        enlarged = math.prod(case.input_shape) * case.size ** len(case.spatial)
        taps = case.kernel_size ** len(case.spatial)
        largest = max(enlarged, enlarged // case.channels * case.filters)
        if _LEAST_WORK <= enlarged * taps * case.filters <= _MOST_WORK and largest <= _LARGEST_MAP:
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
