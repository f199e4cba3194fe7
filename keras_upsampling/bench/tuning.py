"""Rates of a machine from the few cases that two minutes allow, with the shipped rates as a prior.

The fit of `fitting` needs a case per rate. Here the rates are also drawn towards what ships, times
one factor; how strongly is chosen by cross-validation, and shipped rates that nothing beats stay.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.choosing import time_layers
from keras_upsampling.bench.contenders import upsample_conv_layer
from keras_upsampling.bench.fitting import ByPass, by_pass, check_methods, fit, relative_work
from keras_upsampling.bench.measurements import Choice
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.ops._upsample_conv.choice import Goal, best, possible
from keras_upsampling.ops._upsample_conv.methods import METHODS
from keras_upsampling.ops._upsample_conv.rate_file import Rates

# With fewer cases, cross-validation took rates that were worse than those that it should keep.
MINIMUM_CASES = 8
_FOLDS = 8
# How strongly rates are drawn towards the prior. Zero ignores it.
_WEIGHTS = (0.0, 0.001, 0.01, 0.1, 1.0, 10.0)


class Tuned(NamedTuple):
    """The outcome of a fit.

    Attributes:
        rates: The fitted rates.
        weight: How strongly they were drawn towards the prior.
        gains: For every case, judged by a fit without it: the logarithm of the time of the
            present choice over the time of the new one.
    """

    rates: dict[str, Rates]
    weight: float
    gains: tuple[float, ...]


def is_better(gains: Sequence[float]) -> bool:
    """Return whether the mean of logarithmic gains exceeds twice its standard error.

    That is no test of significance: the best weight was taken by the same gains.
    """
    return statistics.mean(gains) > 2 * statistics.stdev(gains) / math.sqrt(len(gains))


def measure_methods(case: Case, engine: str, rounds: int) -> list[Choice]:
    """Time both passes of a case with every possible method."""
    layers = {
        name: upsample_conv_layer(case, name) for name in possible(case.task, case.task_shape)
    }
    times = time_layers(case, {FORWARD: layers, STEP: layers}, engine, rounds)
    return [Choice(case, pass_name, "", seconds) for pass_name, seconds in times.items()]


def methods_for(case: Case, names: Sequence[str], rates: ByPass | None, engine: str) -> list[str]:
    """Return the method of the forward pass alone, and those of both passes of a training step.

    Without rates, all is upsampled, then convolved.
    """
    if rates is None:
        return ["resize"] * 3
    arguments = names, case.task, case.task_shape, [rates]
    forward, _ = best(*arguments, Goal(engine, with_gradients=False))
    return [forward, *best(*arguments, Goal(engine, with_gradients=True))]


def time_of_choice(pair: Sequence[Choice], rates: ByPass | None, engine: str) -> float:
    """Return the mean logarithm of the times that the rates' choice takes in both passes of a case.

    Where a training step has two methods, the backward pass of the second is the difference of its
    training step and its forward pass.
    """
    passes = {choice.pass_name: choice.seconds for choice in pair}
    names = [name for name in METHODS if name in passes[FORWARD]]
    alone, forward, backward = methods_for(pair[0].case, names, rates, engine)
    step = passes[STEP][forward]
    if forward != backward:
        gradients = passes[STEP][backward] - passes[FORWARD][backward]
        # Noise can make the difference negative; the gradients alone take some of the step.
        step = passes[FORWARD][forward] + max(gradients, 0.1 * passes[STEP][backward])
    return (math.log(passes[FORWARD][alone]) + math.log(step)) / 2


def tune(choices: Sequence[Choice], present: ByPass | None, engine: str) -> Tuned:
    """Return rates fitted to a few measured cases.

    Every weight of the prior is judged by the choices that its rates make on cases left out of the
    fit, and the best is taken. `is_better` tells whether it is worth keeping.

    Args:
        choices: Times of all methods, in both passes of every case.
        present: The rates to improve on; None where there are none.
        engine: The engine that was measured.

    Raises:
        ImportError: If SciPy is not installed.
        RuntimeError: If the fit does not converge.
        ValueError: If there are too few cases, or no times of some method.
    """
    by_case: dict[Case, list[Choice]] = {}
    for choice in choices:
        by_case.setdefault(choice.case, []).append(choice)
    cases = list(by_case.values())
    if len(cases) < MINIMUM_CASES:
        raise ValueError(
            f"Expected {MINIMUM_CASES} measured cases or more. Received: {len(cases)}. Close other "
            "programs, which slow the measurements down."
        )
    check_methods(choices)
    work = [relative_work(pair) for pair in cases]
    weights = _WEIGHTS if present else _WEIGHTS[:1]
    gains: dict[float, list[float]] = {weight: [] for weight in weights}
    for fold in range(_FOLDS):
        kept = np.concatenate([rows for i, rows in enumerate(work) if i % _FOLDS != fold])
        left_out = cases[fold::_FOLDS]
        before = [time_of_choice(pair, present, engine) for pair in left_out]
        for weight in weights:
            fitted = by_pass(fit(kept, present, weight))
            gains[weight] += [
                former - time_of_choice(pair, fitted, engine)
                for pair, former in zip(left_out, before, strict=True)
            ]
    # Of equals, the one that is closest to the prior.
    weight = max(reversed(weights), key=lambda weight: statistics.mean(gains[weight]))
    return Tuned(by_pass(fit(np.concatenate(work), present, weight)), weight, tuple(gains[weight]))
