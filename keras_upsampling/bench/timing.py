"""All contenders of a case in turn, round after round, so that a busy moment meets all of them.

Ratios are taken within a round, and their medians over the rounds.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.contenders import OURS, contenders, method_name
from keras_upsampling.bench.programs import compiled

FORWARD = "forward"
STEP = "training step"


class Timing(NamedTuple):
    """One pass of one contender in one case; times in seconds.

    `ratio` is how many times as long it takes as this library, the median over the rounds;
    `ratio_quartiles` the spread of that.
    """

    seconds: float
    quartiles: tuple[float, float]
    ratio: float
    ratio_quartiles: tuple[float, float]
    peak_bytes: int | None


class Result(NamedTuple):
    """A case with the timings of every pass and contender, and the machine's own rate.

    `product_rate` is in multiply-adds a second: those of a product of two square matrices,
    measured just before.
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


def measure(case: Case, *, methods: Sequence[str] = (), seconds: float = 2.0) -> Result:
    """Time every contender of one case, for about `seconds` a pass once it is compiled.

    Named methods that cannot do the case are left out.
    """
    rng = np.random.default_rng(0)
    x = ops.convert_to_tensor(rng.standard_normal(case.input_shape), dtype=case.dtype)
    shape = (case.batch, *(n * case.size for n in case.spatial), case.filters)
    cotangent = ops.convert_to_tensor(rng.standard_normal(shape), dtype=case.dtype)
    models = contenders(case, methods)
    passes = {}
    rate = _product_rate(case.dtype)
    for name, incoming in {FORWARD: None, STEP: cotangent}.items():
        programs = {}
        for way, model in models.items():
            try:
                programs[way] = compiled(model, x, incoming)
                programs[way].run()  # compiles
            except ValueError:
                if way not in map(method_name, methods):
                    raise
                programs.pop(way, None)
        times = _rounds({name: program.run for name, program in programs.items()}, seconds)
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
                peak_bytes=program.peak_bytes(),
            )
            for name, program in programs.items()
        }
    return Result(case, passes, rate)


def _rounds(runs: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """Run all in turn, again and again; return the time a call takes, round by round."""

    def timed(run: Callable[[], Any], repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - start) / repeats

    once = {name: timed(run, 1) for name, run in runs.items()}
    # A single short call would be drowned by the clock and by whatever ran before.
    repeats = {name: max(1, math.ceil(0.004 / took)) for name, took in once.items()}
    a_round = sum(once[name] * repeats[name] for name in runs)
    count = min(51, max(2, round(seconds / a_round)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for _ in range(count):
        for name in order:
            times[name].append(timed(runs[name], repeats[name]))
        order.append(order.pop(0))  # none always runs behind the same one
    return times


def _quartiles(numbers: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low, high


def _product_rate(dtype: str, length: int = 1024) -> float:
    """Return the multiply-adds a second of a product of two square matrices."""
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(length, length), dtype=dtype),
            layers.Dense(length, use_bias=False, dtype=dtype),
        ]
    )
    x = ops.ones((length, length), dtype=dtype)
    run = compiled(model, x).run
    run()  # compiles
    return length**3 / statistics.median(_rounds({"product": run}, 0.2)["product"])
