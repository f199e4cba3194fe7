"""`tune`: measures the rates of this machine in two minutes, and saves them for this user."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from keras_upsampling._tables import table
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.choosing import Choice, time_layers
from keras_upsampling.bench.contenders import upsample_conv_layer
from keras_upsampling.bench.fitting import solver
from keras_upsampling.bench.random_cases import FIT_INTERPOLATIONS, random_cases
from keras_upsampling.bench.report import facts
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.bench.tuning import (
    ByPass,
    Tuned,
    is_better,
    measure_methods,
    methods_for,
    tune,
)
from keras_upsampling.commands.files import check_writable, replace_file
from keras_upsampling.commands.shared import Commands, add_json, dtype_error
from keras_upsampling.commands.streams import aside, publish, reason, say
from keras_upsampling.ops import devices
from keras_upsampling.ops._upsample_conv.choice import possible
from keras_upsampling.ops._upsample_conv.known_rates import shipped_rates
from keras_upsampling.ops._upsample_conv.methods import PASSES, kinds
from keras_upsampling.ops._upsample_conv.rate_file import (
    Rates,
    RateSet,
    default_path,
    with_changes,
)

# Seconds for each dtype on each device, compilation included.
_SECONDS = 115.0
_SEED = 300
# Compiling takes most of the time, so cases are small and rounds few.
_MAXIMUM_WORK, _ROUNDS = 1e8, 3
# More than any machine measures in the time.
_MOST_CASES = 200

# Stages of common decoders: batch, spatial lengths, channels, filters, factor, taps.
_STANDARD = (
    (1, (32, 32), 64, 32, 2, 3, "nearest"),
    (8, (14, 14), 64, 32, 2, 3, "linear"),
    (4, (16, 16), 32, 16, 4, 5, "nearest"),
)


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "tune",
        help="measure this machine, so that UpsampleConv chooses its methods by its speed",
        description="Measures for two minutes how long each kind of work takes on this machine, "
        "on the current Keras backend, and saves the rates in Keras's home folder if methods that "
        "are chosen by them are faster. Programs that start afterwards use them.",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64", "bfloat16", "float16"),
        nargs="+",
        help="dtypes to measure, two minutes each (default: the one that Keras computes in)",
    )
    parser.add_argument(
        "--jit-compile",
        action="store_true",
        help="compile with XLA on TensorFlow, as jit_compile=True does",
    )
    add_json(parser)
    parser.set_defaults(run=run)


class _Compared(NamedTuple):
    """One pass of a standard shape: times as fast as upsampling, then convolving."""

    case: Case
    pass_name: str
    methods: tuple[str, str]
    gains: tuple[float, float]


class _Outcome(NamedTuple):
    """What was found for one dtype on one device; `tuned` is None with too few cases."""

    device: str
    dtype: str
    cases: int
    seconds: float
    tuned: Tuned | None
    compared: list[_Compared]
    problem: str = ""

    @property
    def gain(self) -> float:
        """Time by the shipped rates over time by the tuned ones, on cases outside of the fit."""
        return math.exp(statistics.mean(self._log_gains))

    @property
    def is_better(self) -> bool:
        """Whether the tuned rates are worth keeping."""
        return self.tuned is not None and is_better(self._log_gains)

    @property
    def _log_gains(self) -> list[float]:
        standard = [math.log(tuned / shipped) for *_, (shipped, tuned) in self.compared]
        return [*(self.tuned.gains if self.tuned else ()), *standard]


def run(options: argparse.Namespace) -> int:
    """Measure, print and save; return the exit code."""
    dtypes = list(dict.fromkeys(options.dtype or [keras.config.dtype_policy().compute_dtype]))
    backend = keras.backend.backend()
    if options.jit_compile and backend != "tensorflow":
        say(f"--jit-compile requires TensorFlow. Keras runs on {backend}; leave it out.")
        return 2
    error = dtype_error(dtypes)
    if error:
        say(error)
        return 2
    engine = backend + ("-xla" if options.jit_compile else "")
    path = default_path()
    try:  # fail before anything is measured
        solver()
        path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(path)
    except (ImportError, OSError, ValueError) as failure:
        say(f"tune: {reason(failure)}")
        return 2
    outcomes: list[_Outcome] = []
    try:
        for device in devices.devices_to_measure():
            for dtype in dtypes:
                with _on(device):
                    outcomes.append(_tune(engine, device, dtype))
    except KeyboardInterrupt:
        say("Interrupted: nothing was saved.")
        return 130
    figures = json.dumps([_record(outcome, engine) for outcome in outcomes], indent=1)
    text = "\n\n".join(_report(outcome, engine) for outcome in outcomes)
    code = 0 if publish(text, figures, options.json) else 1
    measured = [outcome for outcome in outcomes if outcome.tuned]
    if len(measured) < len(outcomes):
        code = 1
    saved = [_rate_set(outcome, engine, options) for outcome in measured if outcome.is_better]
    # What was tuned before, and is no longer better than what ships, goes.
    forgotten = [_key(outcome, engine) for outcome in measured if not outcome.is_better]
    if saved or (forgotten and path.exists()):
        try:
            replace_file(
                path,
                lambda partial: partial.write_text(
                    with_changes(path, saved, forgotten), encoding="utf-8"
                ),
            )
        except (OSError, ValueError) as failure:
            say(f"{path}: {reason(failure)}")
            return 1
    if saved:
        say(f"Rates saved to {path}. Programs that start from now on use them.")
    return code


def _on(device: str) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which the backend computes on a device; the first is its default."""
    return keras.device(device) if device not in ("cpu", "gpu:0") else contextlib.nullcontext()


def _tune(engine: str, device: str, dtype: str) -> _Outcome:
    """Measure cases until the time is used, fit, and compare on the standard shapes."""
    start = time.monotonic()
    with aside():
        progress = keras.utils.Progbar(round(_SECONDS), unit_name="second")
        choices: list[Choice] = []
        for _ in _measured(engine, dtype, start, choices):
            progress.update(min(round(time.monotonic() - start), round(_SECONDS) - 1))
        shipped = shipped_rates().get((engine, device.partition(":")[0], dtype))
        present = shipped.rates if shipped else None
        cases = len(choices) // 2
        try:
            tuned = tune(choices, present, engine)
        except (RuntimeError, ValueError) as error:
            progress.update(round(_SECONDS), finalize=True)
            seconds = time.monotonic() - start
            return _Outcome(device, dtype, cases, seconds, None, [], reason(error))
        compared: list[_Compared] = []
        for shape in _STANDARD:
            if not compared or time.monotonic() - start < _SECONDS:
                compared += _compare(Case(*shape, dtype), engine, present, tuned.rates)
        progress.update(round(_SECONDS), finalize=True)
    return _Outcome(device, dtype, cases, time.monotonic() - start, tuned, compared)


def _measured(engine: str, dtype: str, start: float, choices: list[Choice]) -> Iterator[None]:
    """Measure random cases as long as time is left for the standard shapes."""
    cases = random_cases(_MOST_CASES, _SEED, dtype, FIT_INTERPOLATIONS, _MAXIMUM_WORK)
    for done, case in enumerate(cases):
        elapsed = time.monotonic() - start
        # A standard shape times at most six programs, a case up to ten.
        per_case = elapsed / max(1, done)
        if elapsed + per_case * (1 + 0.6 * len(_STANDARD)) > _SECONDS:
            return
        choices += measure_methods(case, engine, _ROUNDS)
        yield


def _compare(case: Case, engine: str, present: ByPass | None, tuned: ByPass) -> Iterator[_Compared]:
    """Time a standard shape by resizing, by the shipped and by the tuned choice."""
    names = possible(case.task, case.task_shape)
    pairs: dict[str, list[tuple[str, str]]] = {FORWARD: [], STEP: []}
    for rates in (None, present, tuned):
        alone, forward, backward = methods_for(case, names, rates, engine)
        pairs[FORWARD].append((alone, alone))
        pairs[STEP].append((forward, backward))
    every = {pair: upsample_conv_layer(case, *pair) for pair in (*pairs[FORWARD], *pairs[STEP])}
    # Equal choices are timed once, so that noise does not make them differ.
    layers = {
        pass_name: {"/".join(pair): every[pair] for pair in chosen}
        for pass_name, chosen in pairs.items()
    }
    times = time_layers(case, layers, engine, _ROUNDS + 2)
    for pass_name, chosen in pairs.items():
        resizing, shipped, new = (times[pass_name]["/".join(pair)] for pair in chosen)
        labels = ["/".join(dict.fromkeys(pair)) for pair in chosen[1:]]
        yield _Compared(
            case, pass_name, (labels[0], labels[1]), (resizing / shipped, resizing / new)
        )


def _report(outcome: _Outcome, engine: str) -> str:
    """Return what was found as text."""
    title = f"### {' '.join(_key(outcome, engine)[:2])}, {_name(outcome)}, {outcome.dtype}"
    measured = f"{outcome.cases} cases measured in {outcome.seconds:.0f} s."
    if outcome.tuned is None:
        return f"{title}\n\n{measured} Nothing was fitted: {outcome.problem}"
    rows = [
        [
            str(row.case),
            row.pass_name,
            *(f"{gain:.2f}" for gain in row.gains),
            *row.methods,
        ]
        for row in outcome.compared
    ]
    for pass_name in (FORWARD, STEP):
        gains = [row.gains for row in outcome.compared if row.pass_name == pass_name]
        means = [f"{statistics.geometric_mean(column):.2f}" for column in zip(*gains, strict=True)]
        rows.append(["geometric mean", pass_name, *means, "", ""])
    verdict = (
        "The tuned rates are better, and are saved."
        if outcome.is_better
        else "That is not more than chance gives, so the shipped rates stay in use."
    )
    return "\n\n".join(
        [
            title,
            f"{measured} Times as fast as upsampling, then convolving, measured, with the methods "
            "that the shipped and the tuned rates choose:",
            table(["case", "pass", "shipped", "tuned", "shipped: by", "tuned: by"], rows),
            f"On these and on the random cases, each left out of the fit in turn, the tuned "
            f"choice is {outcome.gain:.2f} times as fast as the shipped one. {verdict}",
        ]
    )


def _name(outcome: _Outcome) -> str:
    return devices.device_name(outcome.device)


def _key(outcome: _Outcome, engine: str) -> tuple[str, str, str, str]:
    return engine, devices.backend_version(), _name(outcome), outcome.dtype


def _rates(tuned: Tuned) -> dict[str, Rates]:
    """Return tuned rates with every kind of work; the fit leaves out what takes no time."""
    return {name: {kind: tuned.rates[name].get(kind, 0.0) for kind in kinds()} for name in PASSES}


def _rate_set(outcome: _Outcome, engine: str, options: argparse.Namespace) -> RateSet:
    """Return the entry of the file for tuned rates."""
    assert outcome.tuned is not None
    command = f"python -m keras_upsampling tune --dtype {outcome.dtype}"
    command += " --jit-compile" if options.jit_compile else ""
    rates = _rates(outcome.tuned)
    key = _key(outcome, engine)
    return RateSet(*key, str(default_path()), facts(), command, outcome.cases, rates)


def _record(outcome: _Outcome, engine: str) -> dict[str, Any]:
    """Return what was found as a plain record, for JSON."""
    keys = ("engine", "version", "device", "dtype")
    tuned = outcome.tuned
    return {
        **dict(zip(keys, _key(outcome, engine), strict=True)),
        "facts": facts(),
        "cases": outcome.cases,
        "seconds": outcome.seconds,
        "problem": outcome.problem,
        "saved": outcome.is_better,
        "weight": tuned.weight if tuned else None,
        "gain": outcome.gain if tuned else None,
        "rates": _rates(tuned) if tuned else None,
        "standard": [{**row._asdict(), "case": row.case._asdict()} for row in outcome.compared],
    }
