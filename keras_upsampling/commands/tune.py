"""`tune`: measures the rates of this machine in two minutes, and saves them for this user."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.fitting import solver
from keras_upsampling.bench.measurements import Choice
from keras_upsampling.bench.random_cases import kind_of_bounds, random_cases
from keras_upsampling.bench.report import facts
from keras_upsampling.bench.tuning import MINIMUM_CASES, measure_methods, tune
from keras_upsampling.bench.tuning_report import STANDARD, Compared, Outcome, compare, report
from keras_upsampling.commands.files import check_writable, replace_file
from keras_upsampling.commands.shared import Commands, add_json, dtype_error
from keras_upsampling.commands.streams import aside, publish, reason, say
from keras_upsampling.ops import devices
from keras_upsampling.ops._upsample_conv.known_rates import shipped_rates
from keras_upsampling.ops._upsample_conv.rate_file import default_path, with_changes

# Seconds for each dtype on each device, compilation included; the last program may end later.
_SECONDS = 110.0
_SEED = 300
# Compiling takes most of the time, so cases are small and rounds few.
_ROUNDS = 3
# More than any machine measures in the time.
_MOST_CASES = 200


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
        help="measure TensorFlow with XLA alone, as jit_compile=True; on a GPU, where Keras turns "
        "XLA on by itself, it is measured with and without unless this is set",
    )
    add_json(parser)
    parser.set_defaults(run=run)


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
    path = default_path()
    try:  # fail before anything is measured
        solver()
        path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(path)
        with_changes(path, [], [])
    except ImportError as failure:
        say(f"tune: {reason(failure)}")
        return 2
    except (OSError, ValueError) as failure:
        say(f"tune: {path}: {reason(failure)}")
        return 2
    outcomes: list[Outcome] = []
    code = 0
    try:
        for device in devices.devices_to_measure():
            for dtype, engine in itertools.product(dtypes, _engines(device, options.jit_compile)):
                with _on(device):
                    outcomes.append(_tune(engine, device, dtype))
                # At once, so that nothing which comes later can lose it.
                if not _save(outcomes[-1], path):
                    code = 1
    except KeyboardInterrupt:
        code = 130
        finished = "; ".join(" ".join(outcome.key) for outcome in outcomes)
        say(f"Interrupted. Finished before, and kept if better: {finished or 'nothing'}.")
    figures = json.dumps([outcome.as_record() for outcome in outcomes], indent=1)
    if outcomes and not publish("\n\n".join(map(report, outcomes)), figures, options.json):
        code = code or 1
    return code


def _engines(device: str, jit_compile: bool) -> tuple[str, ...]:
    """Return the engines to measure: all on an accelerator, where Keras turns XLA on by itself."""
    engines = devices.engines_of_backend()
    if jit_compile:
        return engines[1:]
    return engines[:1] if device == "cpu" else engines


def _save(outcome: Outcome, path: Path) -> bool:
    """Save rates if they are better than what ships; return False without any, or if that fails."""
    if outcome.tuned is None:
        return False
    if not outcome.is_better and not path.exists():
        return True
    engine, *_, dtype = outcome.key
    option = " --jit-compile" if engine.endswith("-xla") else ""
    command = f"python -m keras_upsampling tune{option} --dtype {dtype}"
    entries = [outcome.rate_set(str(path), command)] if outcome.is_better else []
    # What was tuned earlier, and is no longer better than what ships, goes.
    forgotten = [] if outcome.is_better else [outcome.key]
    try:  # the file is read as late as possible: another run may have written it
        replace_file(
            path,
            lambda partial: partial.write_text(
                with_changes(path, entries, forgotten), encoding="utf-8"
            ),
        )
    except (OSError, ValueError) as failure:
        say(f"{path}: {reason(failure)}")
        return False
    if entries:
        say(
            f"Rates of {' '.join(outcome.key)} saved to {path}. Programs that start from now on "
            "use them."
        )
    return True


def _on(device: str) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which the backend computes on a device."""
    is_default = device == devices.device_of(keras.ops.zeros(1))
    return contextlib.nullcontext() if is_default else keras.device(device)


def _tune(engine: str, device: str, dtype: str) -> Outcome:
    """Measure cases until the time is used, fit, and compare on the standard shapes."""
    start = time.monotonic()
    key = engine, devices.backend_version(), devices.device_name(device), dtype
    shipped = shipped_rates().get((engine, device.partition(":")[0], dtype))
    present = shipped.rates if shipped else None
    kind = kind_of_bounds(device)
    choices: list[Choice] = []
    compared: list[Compared] = []
    tuned, problem = None, ""
    with aside():
        progress = keras.utils.Progbar(round(_SECONDS), unit_name="second")
        progress.update(0)
        try:
            for _ in _measured(engine, kind, dtype, start, choices):
                progress.update(min(round(time.monotonic() - start), round(_SECONDS) - 1))
            tuned = tune(choices, present, engine)
            for shape in STANDARD[kind]:
                if not compared or time.monotonic() - start < _SECONDS:
                    compared += compare(Case(*shape, dtype), engine, present, tuned.rates)
        except Exception as error:  # every backend has its own, such as for memory
            tuned, problem = None, reason(error)
        progress.update(round(_SECONDS), finalize=True)
    seconds = time.monotonic() - start
    return Outcome(key, facts(), len(choices) // 2, seconds, tuned, tuple(compared), problem)


def _measured(
    engine: str, kind: str, dtype: str, start: float, choices: list[Choice]
) -> Iterator[None]:
    """Measure random cases as long as time is left for the standard shapes."""
    bounds = "tune" if kind == "cpu" else "tune gpu"
    for done, case in enumerate(random_cases(_MOST_CASES, _SEED, dtype, work=bounds)):
        # On a slow machine, one standard shape must do. Each has half the programs of a case.
        shapes = len(STANDARD[kind]) if done >= MINIMUM_CASES else 1
        elapsed = time.monotonic() - start
        if elapsed + elapsed / max(1, done) * (1 + shapes / 2) > _SECONDS:
            return
        choices += measure_methods(case, engine, _ROUNDS)
        yield
