"""Timing of all contenders of a case in turn, so that a busy moment slows all of them.

Ratios are taken within a round; their medians are taken over the rounds.
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
from keras_upsampling.bench.contenders import BASELINES, KERAS, OURS, contenders
from keras_upsampling.bench.programs import Program, program_of

FORWARD = "forward"
STEP = "training step"

_PRODUCT, _PRODUCT_LENGTH = "product", 1024
# Enough for a median and quartiles, however long a round takes.
_MINIMUM_ROUNDS = 3


class Timing(NamedTuple):
    """Times of one contender in one pass of a case, in seconds.

    `ratio` is its time over the time of this library, the median over the `rounds`, and
    `ratio_quartiles` are the quartiles of the ratio.
    """

    seconds: float
    quartiles: tuple[float, float]
    ratio: float
    ratio_quartiles: tuple[float, float]
    rounds: int
    peak_bytes: int | None


class Result(NamedTuple):
    """The timings of every pass and contender of a case, and the rate of the machine.

    `product_rate` is the rate of a product of two square matrices in multiply-adds per second. The
    product is timed in the rounds of the forward passes.
    """

    case: Case
    passes: dict[str, dict[str, Timing]]
    product_rate: float

    @property
    def share(self) -> dict[str, float]:
        """Rate of each contender's forward pass over the rate of the product.

        Every contender is credited with the multiply-adds of one convolution per phase.
        """
        return {
            name: self.case.multiply_adds / timing.seconds / self.product_rate
            for name, timing in self.passes[FORWARD].items()
        }


def measure(
    case: Case,
    *,
    methods: Sequence[str] = (),
    against: Sequence[str] = tuple(BASELINES),
    seconds: float = 2.0,
) -> Result:
    """Time every contender that supports a case.

    Args:
        case: The case.
        methods: As in `contenders`.
        against: As in `contenders`.
        seconds: Approximate time of a pass, without its compilation.
    """
    x, cotangent = tensors(case)
    models = contenders(case, methods, against)
    passes = {}
    product = _product(case.dtype)
    rate = 0.0
    for pass_name, gradient in {FORWARD: None, STEP: cotangent}.items():
        programs = {}
        for name, model in models.items():
            try:
                programs[name] = program_of(model, x, gradient)
                programs[name].run()  # compiles
            except ValueError as error:
                if not _is_unsupported(name, error):
                    raise
                programs.pop(name, None)
        runs = {name: program.run for name, program in programs.items()}
        if pass_name == FORWARD:
            runs[_PRODUCT] = product.run
        times = time_rounds(runs, seconds)
        if pass_name == FORWARD:
            rate = _PRODUCT_LENGTH**3 / statistics.median(times.pop(_PRODUCT))
        ratios = {
            name: [theirs / ours for theirs, ours in zip(round_times, times[OURS], strict=True)]
            for name, round_times in times.items()
        }
        passes[pass_name] = {
            name: Timing(
                seconds=statistics.median(times[name]),
                quartiles=quartiles(times[name]),
                ratio=statistics.median(ratios[name]),
                ratio_quartiles=quartiles(ratios[name]),
                rounds=len(times[name]),
                peak_bytes=program.peak_bytes(),
            )
            for name, program in programs.items()
        }
    return Result(case, passes, rate)


def tensors(case: Case) -> tuple[Tensor, Tensor]:
    """Return an input for a case, and a gradient of its output for a training step."""
    rng = np.random.default_rng(0)
    x, cotangent = (
        ops.convert_to_tensor(rng.standard_normal(shape), dtype=case.dtype)
        for shape in (case.input_shape, case.output_shape)
    )
    return x, cotangent


def _is_unsupported(name: str, error: ValueError) -> bool:
    """Whether an error says that Keras does not support a case, such as Lanczos on PyTorch."""
    return name == KERAS and "is not supported by the" in str(error)


# Calls are repeated until they take this many seconds together, on a CPU.
SHORT = 0.02


def time_rounds(
    runs: Mapping[str, Callable[[], Any]],
    seconds: float,
    minimum: int = _MINIMUM_ROUNDS,
    short: float | None = None,
) -> dict[str, list[float]]:
    """Run all contenders in turn; return the seconds per call of each, round by round.

    Args:
        runs: A call of each contender, by name.
        seconds: Approximate time of all rounds.
        minimum: Smallest number of rounds.
        short: Calls are repeated until they take this many seconds together, `SHORT` by default.
    """
    short = SHORT if short is None else short

    def timed(run: Callable[[], Any], repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - start) / repeats

    first = {name: timed(run, 1) for name, run in runs.items()}
    # A single short call is inaccurate: the clock is coarse, and the previous contender leaves
    # the caches cold. Training and inference repeat the same call.
    repeats = {name: max(1, math.ceil(short / duration)) for name, duration in first.items()}
    round_seconds = sum(first[name] * repeats[name] for name in runs)
    count = min(51, max(minimum, round(seconds / round_seconds)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    order, shuffle = list(runs), random.Random(0).shuffle
    for _ in range(count):
        shuffle(order)  # so that no contender always runs after the same one
        for name in order:
            times[name].append(timed(runs[name], repeats[name]))
    return times


def quartiles(numbers: Sequence[float]) -> tuple[float, float]:
    """Return the lower and the upper quartile of numbers."""
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low, high


def _product(dtype: str) -> Program:
    """Return a compiled product of two square matrices."""
    length = _PRODUCT_LENGTH
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(length, length), dtype=dtype),
            layers.Dense(length, use_bias=False, dtype=dtype),
        ]
    )
    program = program_of(model, ops.ones((length, length), dtype=dtype))
    program.run()  # compiles
    return program
