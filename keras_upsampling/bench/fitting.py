"""Rates of a machine, fitted to measured times of every method."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from keras_upsampling._tables import table
from keras_upsampling.bench.choosing import machine
from keras_upsampling.bench.measurements import Choice, Measurements
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.ops._upsample_conv.methods import METHODS, PASSES, counting, kinds
from keras_upsampling.ops._upsample_conv.rate_file import Rates

ByPass: TypeAlias = Mapping[str, Rates]

# A rate that ships as zero may still grow to where it explains this share of a measured time.
_FREE_SHARE = 0.01
# The fields of a record of rates that identify the machine.
_MACHINE = ("engine", "device", "dtype")


def fit_rates(choices: Sequence[Choice]) -> dict[str, Rates]:
    """Return the rates of the forward and of the backward pass that fit the measurements best.

    A training step is a forward and a backward pass.

    Raises:
        ImportError: If SciPy is not installed.
        ValueError: If there are too few cases, or no times of some method or pass.
    """
    solver()  # raises if SciPy is missing
    check_methods(choices)
    cases = {choice.case for choice in choices}
    if len(cases) < minimum_cases():
        raise ValueError(
            f"Fitting {minimum_cases()} rates needs at least {minimum_cases()} different cases. "
            f"Received: {len(cases)}. Measure more random cases."
        )
    return by_pass(fit(relative_work(choices)))


def check_methods(choices: Sequence[Choice]) -> None:
    """Raise a `ValueError` if some method has no times in some pass."""
    measured = {
        (name, choice.pass_name) for choice in choices for name in choice.seconds if name in METHODS
    }
    missing = {(name, pass_name) for name in METHODS for pass_name in (FORWARD, STEP)} - measured
    if missing:
        # Work without a rate would count as free, and its method would always be chosen.
        raise ValueError(
            "Every method must be measured in the forward pass and in training steps. Missing: "
            + ", ".join(sorted(f"{name} ({pass_name})" for name, pass_name in missing))
        )


def fit(work: np.ndarray, prior: ByPass | None = None, weight: float = 0.0) -> np.ndarray:
    """Return the rates that fit `relative_work`, drawn towards a prior with some weight.

    This is a non-negative least squares of relative errors, so that small and large maps count
    alike. The prior adds a row for each rate: its deviation from the prior, relative to the prior.
    """
    nnls = solver()
    # Counts of multiply-adds and of operations differ by many orders of magnitude. Scaled, they
    # are shares of the time. A share below a millionth is rounding noise.
    largest = np.maximum(work.max(axis=0), np.finfo(float).tiny)
    rows, target, scale = work / largest, np.ones(len(work)), 1 / largest
    if prior and weight:
        expected = np.array([prior[name].get(kind, 0.0) for name in PASSES for kind in kinds()])
        # One factor, since another machine is above all faster or slower.
        expected = expected / math.exp(np.log(np.maximum(work @ expected, 1e-9)).mean())
        scale = np.maximum(expected, _FREE_SHARE / largest)
        strength = math.sqrt(weight * len(work) / len(expected))
        rows = np.concatenate([work * scale, strength * np.eye(len(expected))])
        target = np.concatenate([target, strength * expected / scale])
    # The default number of steps is too small for some of these.
    shares = nnls(rows, target, maxiter=100 * rows.shape[1])[0]
    rates = shares * scale
    return np.where(rates * largest < 1e-6, 0.0, rates)


def relative_work(choices: Sequence[Choice]) -> np.ndarray:
    """Return the work of every measured method, over its time: a row each, a column per rate.

    Times the rates, a row is the share of the time that they explain.
    """
    works, is_step, durations = [], [], []
    for choice in choices:
        # A fixed order makes results repeatable.
        for name in filter(choice.seconds.__contains__, METHODS):
            works.append(METHODS[name].work(choice.case.task, choice.case.task_shape))
            is_step.append(choice.pass_name == STEP)
            durations.append(choice.seconds[name])
    counts = np.array([[work.get(kind, 0.0) for kind in kinds()] for work in works])
    both_passes = np.concatenate([counts, counts * np.array(is_step)[:, None]], axis=1)
    return both_passes / np.array(durations)[:, None]


def by_pass(rates: np.ndarray) -> dict[str, Rates]:
    """Return rates, given in the order of the columns of `relative_work`, by pass and kind."""
    return {
        name: {
            kind: float(f"{rate:.4g}")
            for kind, rate in zip(kinds(), pass_rates, strict=True)
            if rate
        }
        for name, pass_rates in zip(PASSES, np.split(rates, len(PASSES)), strict=True)
    }


def minimum_cases() -> int:
    """Return the smallest number of cases for a fit: one per rate."""
    return len(PASSES) * len(kinds())


def solver() -> Callable[..., tuple[np.ndarray, float]]:
    """Return SciPy's non-negative least squares.

    Raises:
        ImportError: If SciPy is not installed.
    """
    try:
        from scipy.optimize import nnls
    except ImportError as error:
        raise ImportError(
            "Fitting needs SciPy. Install it with: pip install 'keras_upsampling[fit]'"
        ) from error
    return nnls


def rates_table(rates: dict[str, Rates]) -> str:
    """Return the rates as a table in Markdown."""
    kinds = sorted({kind for pass_rates in rates.values() for kind in pass_rates})
    rows = [
        [kind, *(f"{1e9 * pass_rates.get(kind, 0.0):.3g}" for pass_rates in rates.values())]
        for kind in kinds
    ]
    return table(["nanoseconds per unit of", *rates], rows)


def with_rates(text: str, measured: Measurements, rates: dict[str, Rates]) -> str:
    """Return the text of the file of rates with the rates of one machine added.

    They replace existing rates of the same engine, device and dtype.

    Args:
        text: The present text of the file.
        measured: The measurements that the rates were fitted to.
        rates: The fitted rates, by pass.
    """
    cases = {choice.case for choice in measured.choices}
    (dtype,) = {case.dtype for case in cases}
    record: dict[str, Any] = {
        **dict(
            zip(_MACHINE, machine(measured.engine, dtype, measured.facts["device"]), strict=True)
        ),
        "facts": measured.facts,
        "command": measured.command,
        "cases": len(cases),
        "counting": counting(),
        **rates,
    }
    records = {
        tuple(entry[name] for name in _MACHINE): entry for entry in [*json.loads(text), record]
    }
    # Three lines per record keep the file short and its diffs readable.
    lines = [
        "{"
        + json.dumps({key: value for key, value in entry.items() if key not in PASSES})[1:-1]
        + "".join(f",\n  {json.dumps(name)}: {json.dumps(entry[name])}" for name in PASSES)
        + "}"
        for _, entry in sorted(records.items())
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"
