"""All contenders of a case in turn, round after round, so that a busy moment meets all of them.

Ratios are taken within a round, and their medians over the rounds.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from keras_upsampling._types import Tensor
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.contenders import KERAS, OTHERS, OURS, contenders
from keras_upsampling.bench.programs import Program, compiled

FORWARD = "forward"
STEP = "training step"

_PRODUCT, _PRODUCT_LENGTH = "product", 1024
# For a median and quartiles, however long one takes.
_LEAST_ROUNDS = 3


class Timing(NamedTuple):
    """One pass of one contender in one case; times in seconds.

    `ratio` is how many times as long it takes as this library, the median over the `rounds`;
    `ratio_quartiles` the spread of that.
    """

    seconds: float
    quartiles: tuple[float, float]
    ratio: float
    ratio_quartiles: tuple[float, float]
    rounds: int
    peak_bytes: int | None


class Result(NamedTuple):
    """A case with the timings of every pass and contender, and the machine's own rate.

    `product_rate` is in multiply-adds a second: those of a product of two square matrices,
    which takes its turn in the rounds of the forward passes.
    """

    case: Case
    passes: dict[str, dict[str, Timing]]
    product_rate: float

    @property
    def share(self) -> dict[str, float]:
        """What share of the product's rate each way's forward pass reaches.

        All are credited with the multiply-adds of one convolution per phase, whatever they do.
        """
        return {
            name: self.case.multiply_adds / timing.seconds / self.product_rate
            for name, timing in self.passes[FORWARD].items()
        }


def measure(
    case: Case,
    *,
    methods: Sequence[str] = (),
    against: Sequence[str] = tuple(OTHERS),
    seconds: float = 2.0,
) -> Result:
    """Time every contender of one case, for about `seconds` a pass once it is compiled.

    `methods` and `against` as in `contenders`. What cannot do the case is left out.
    """
    x, cotangent = tensors(case)
    models = contenders(case, methods, against)
    passes = {}
    product = _product(case.dtype)
    rate = 0.0
    for name, incoming in {FORWARD: None, STEP: cotangent}.items():
        programs = {}
        for way, model in models.items():
            try:
                programs[way] = compiled(model, x, incoming)
                programs[way].run()  # compiles
            except ValueError as error:
                if not _refused(way, error):
                    raise
                programs.pop(way, None)
        runs = {way: program.run for way, program in programs.items()}
        if name == FORWARD:
            runs[_PRODUCT] = product.run
        times = rounds(runs, seconds)
        if name == FORWARD:
            rate = _PRODUCT_LENGTH**3 / statistics.median(times.pop(_PRODUCT))
        ratios = {
            name: [theirs / ours for theirs, ours in zip(of_one, times[OURS], strict=True)]
            for name, of_one in times.items()
        }
        passes[name] = {
            name: Timing(
                seconds=statistics.median(times[name]),
                quartiles=_quartiles(times[name]),
                ratio=statistics.median(ratios[name]),
                ratio_quartiles=_quartiles(ratios[name]),
                rounds=len(times[name]),
                peak_bytes=program.peak_bytes(),
            )
            for name, program in programs.items()
        }
    return Result(case, passes, rate)


def tensors(case: Case) -> tuple[Tensor, Tensor]:
    """Return an input for a case, and what comes back to its output in a training step."""
    rng = np.random.default_rng(0)
    x, cotangent = (
        ops.convert_to_tensor(rng.standard_normal(shape), dtype=case.dtype)
        for shape in (case.input_shape, case.output_shape)
    )
    return x, cotangent


def _refused(way: str, error: ValueError) -> bool:
    """Whether a contender says that it cannot do a case, which is no fault of it."""
    # Lanczos on PyTorch
    return way == KERAS and "is not supported by the" in str(error)


# Calls that take less, in seconds, are repeated until they take as long.
_SHORT = 0.02


def rounds(
    runs: Mapping[str, Callable[[], Any]], seconds: float, least: int = _LEAST_ROUNDS
) -> dict[str, list[float]]:
    """Run all in turn, again and again; return the time a call takes, round by round.

    For about so many `seconds`, and as many rounds as there have to be at least.
    """

    def timed(run: Callable[[], Any], repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - start) / repeats

    once = {name: timed(run, 1) for name, run in runs.items()}
    # A single short call would be drowned by the clock, and by caches that whatever ran before
    # has left cold: training and inference call the same again and again.
    repeats = {name: max(1, math.ceil(_SHORT / took)) for name, took in once.items()}
    a_round = sum(once[name] * repeats[name] for name in runs)
    count = min(51, max(least, round(seconds / a_round)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    order, shuffle = list(runs), random.Random(0).shuffle
    for _ in range(count):
        shuffle(order)  # none always runs behind the same one
        for name in order:
            times[name].append(timed(runs[name], repeats[name]))
    return times


def _quartiles(numbers: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low, high


def _product(dtype: str) -> Program:
    """Return a product of two square matrices, compiled."""
    length = _PRODUCT_LENGTH
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(length, length), dtype=dtype),
            layers.Dense(length, use_bias=False, dtype=dtype),
        ]
    )
    program = compiled(model, ops.ones((length, length), dtype=dtype))
    program.run()  # compiles
    return program
