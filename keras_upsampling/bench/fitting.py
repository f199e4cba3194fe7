"""The seconds that each kind of work takes on a machine, from measurements of every method."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_upsampling._tables import table
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.choosing import Choice, Measurements, machine
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.ops._upsample_conv.choice import METHODS, PASSES, Rates

# What a machine's rates are told apart by.
_MACHINE = ("engine", "device", "dtype")


def fitted(choices: Sequence[Choice]) -> dict[str, Rates]:
    """Return the rates of the forward and of the backward pass that explain measurements best.

    By non-negative least squares of relative errors: a tenth of a millisecond matters as much on
    a small map as ten do on a large one. A training step is a forward and a backward pass.

    Raises:
        ImportError: SciPy is not installed.
        ValueError: the measurements are too few, or lack a method or a pass.
    """
    nnls = solver()
    measured = {(name, c.pass_name) for c in choices for name in c.seconds if name in METHODS}
    missing = {(name, of) for name in METHODS for of in (FORWARD, STEP)} - measured
    if missing:
        # What has no rate would take no time, and be chosen ever after.
        raise ValueError(
            "Every method must have been measured, forward and in training steps; missing: "
            + ", ".join(sorted(f"{name} ({of})" for name, of in missing))
        )
    cases = {choice.case for choice in choices}
    if len(cases) < least_cases():
        raise ValueError(
            f"{least_cases()} rates need as many cases, each another. Received {len(cases)}."
        )
    works, backward, took = [], [], []
    for choice in choices:
        for name in filter(choice.seconds.__contains__, METHODS):  # in one order, for one result
            works.append(METHODS[name].work(choice.case.task, choice.case.task_shape))
            backward.append(choice.pass_name == STEP)
            took.append(choice.seconds[name])
    kinds = _kinds()
    counts = np.array([[work.get(kind, 0.0) for kind in kinds] for work in works])
    both = np.concatenate([counts, counts * np.array(backward)[:, None]], axis=1)
    relative = both / np.array(took)[:, None]
    # Multiply-adds come in thousand millions, operations in tens: scaled, they are shares of the
    # time, at most. A share of a millionth is noise of the arithmetic.
    scale = np.maximum(relative.max(axis=0), np.finfo(float).tiny)
    shares = nnls(relative / scale, np.ones(len(relative)))[0]
    rates = np.where(shares < 1e-6, 0.0, shares / scale)
    return {
        name: {
            kind: float(f"{rate:.4g}") for kind, rate in zip(kinds, of_pass, strict=True) if rate
        }
        for name, of_pass in zip(PASSES, np.split(rates, len(PASSES)), strict=True)
    }


def _kinds() -> list[str]:
    """Return the kinds of work that take time."""
    case = Case(1, (32, 32), 4, 4, 2, 3, "linear", "float32")
    works = [method.work(case.task, case.task_shape) for method in METHODS.values()]
    return sorted({kind for work in works for kind in work} - {"held"})


def least_cases() -> int:
    """Return how many cases a fit takes at least: one for each rate."""
    return len(PASSES) * len(_kinds())


def solver() -> Callable[..., tuple[np.ndarray, float]]:
    """Return SciPy's non-negative least squares.

    Raises:
        ImportError: SciPy is not installed.
    """
    try:
        from scipy.optimize import nnls
    except ImportError as error:
        raise ImportError(
            "Fitting needs SciPy: pip install 'keras_upsampling[fit]', or pip install scipy."
        ) from error
    return nnls


def rates_table(rates: dict[str, Rates]) -> str:
    """Return a table in Markdown of the rates."""
    kinds = sorted({kind for of_pass in rates.values() for kind in of_pass})
    rows = [
        [kind, *(f"{1e9 * of_pass.get(kind, 0.0):.3g}" for of_pass in rates.values())]
        for kind in kinds
    ]
    return table(["nanoseconds for one", *rates], rows)


def with_rates(text: str, measured: Measurements, rates: dict[str, Rates]) -> str:
    """Return the text of the file of rates, with those of the machine that was measured.

    They take the place of what was there for the same engine, device and dtype.
    """
    cases = {choice.case for choice in measured.choices}
    (dtype,) = {case.dtype for case in cases}
    found: dict[str, Any] = {
        **dict(
            zip(_MACHINE, machine(measured.engine, dtype, measured.facts["device"]), strict=True)
        ),
        "facts": measured.facts,
        "command": measured.command,
        "cases": len(cases),
        **rates,
    }

    records = {
        tuple(record[name] for name in _MACHINE): record for record in [*json.loads(text), found]
    }
    # Three lines each: few to read, and changes show what they change.
    lines = [
        "{"
        + json.dumps({k: v for k, v in record.items() if k not in PASSES})[1:-1]
        + "".join(f",\n  {json.dumps(name)}: {json.dumps(record[name])}" for name in PASSES)
        + "}"
        for _, record in sorted(records.items())
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"
