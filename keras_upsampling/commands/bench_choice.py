"""`bench --random` and `bench --fit`: how methods of the one step are chosen, and by what rates."""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path

import keras

from keras_upsampling.bench.choosing import Measurements, measure_choice, report
from keras_upsampling.bench.fitting import fitted, rates_table, with_rates
from keras_upsampling.bench.random_cases import random_cases
from keras_upsampling.bench.report import facts
from keras_upsampling.commands.files import named_path, replace_file
from keras_upsampling.commands.shared import positive_integer
from keras_upsampling.commands.streams import aside, publish, reason, say
from keras_upsampling.ops import _upsample_conv

# How many random cases are measured for a fit, where the command line does not say.
_CASES_OF_A_FIT = 80


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to those of `bench`."""
    group = parser.add_argument_group(
        "how methods are chosen",
        "In place of the grid: random cases by every method of the one step, beside the one that "
        "UpsampleConv chooses.",
    )
    group.add_argument("--random", type=positive_integer, metavar="N", help="time N random cases")
    group.add_argument("--seed", type=int, default=0, help="of the random cases (default: 0)")
    group.add_argument(
        "--fit",
        type=named_path,
        nargs="*",
        metavar="FILE",
        help="find what each kind of work takes on this machine, and keep it with the package: by "
        f"random cases ({_CASES_OF_A_FIT} without --random), or by what --random --json wrote",
    )
    group.add_argument(
        "--jit-compile",
        action="store_true",
        help="have TensorFlow compile by XLA, as jit_compile=True does",
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; return the exit code."""
    engine, dtypes = keras.backend.backend(), options.dtype or ["float32"]
    if options.jit_compile and engine != "tensorflow":
        say(f"--jit-compile is TensorFlow's, and Keras runs on {engine}; leave it out.")
        return 2
    if len(dtypes) > 1:
        say("Random cases are of one dtype; run the command for each that --dtype names.")
        return 2
    if options.jit_compile:
        engine = "tensorflow-xla"
    if options.fit:
        try:
            measured = _read(options.fit, engine, dtypes[0])
        except (OSError, ValueError) as error:
            say(f"--fit: {reason(error)}")
            return 2
        return _fit(measured)
    measured = Measurements(facts(), engine, _command(options, dtypes[0]), [])
    code = 0
    try:
        _measure_all(options, dtypes[0], measured)
    except KeyboardInterrupt:
        code = 130
    finally:  # whatever happens, what was measured is not lost
        if measured.choices and not publish(report(measured), measured.as_json(), options.json):
            code = code or 1
    return code if code or options.fit is None else _fit(measured)


def _count(options: argparse.Namespace) -> int:
    return options.random or _CASES_OF_A_FIT


def _command(options: argparse.Namespace, dtype: str) -> str:
    """Return the command that measures the same."""
    return (
        f"python -m keras_upsampling bench --random {_count(options)} --seed {options.seed}"
        + (f" --dtype {dtype}" if dtype != "float32" else "")
        + (" --jit-compile" if options.jit_compile else "")
    )


def _measure_all(options: argparse.Namespace, dtype: str, measured: Measurements) -> None:
    """Measure case after case, with a progress bar, and put what is found into `measured`."""
    cases = random_cases(_count(options), options.seed, dtype)
    with aside():
        progress = keras.utils.Progbar(len(cases), unit_name="case")
        progress.update(0)
        for i, case in enumerate(cases):
            measured.choices.extend(measure_choice(case, measured.engine))
            progress.update(i + 1)


def _read(paths: list[Path], engine: str, dtype: str) -> Measurements:
    """Return what was measured before, all of it by one engine and in one dtype."""
    found = []
    for path in paths:
        try:
            found.append(Measurements.from_json(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path}: {reason(error)}") from error
        if found[-1].engine != engine or {c.case.dtype for c in found[-1].choices} != {dtype}:
            raise ValueError(
                f"{path}: measured with {found[-1].engine} in "
                f"{', '.join({c.case.dtype for c in found[-1].choices}) or 'no dtype'}; expected "
                f"{engine} in {dtype}, by the backend that is set, --jit-compile and --dtype"
            )
    return found[0]._replace(
        command="; ".join(measured.command for measured in found),
        choices=[choice for measured in found for choice in measured.choices],
    )


def _fit(measured: Measurements) -> int:
    """Find the rates, show them, and keep them with the package; return the exit code."""
    path = rates_file()
    try:
        rates = fitted(measured.choices)
        text = with_rates(path.read_text(encoding="utf-8"), measured, rates)
        print(rates_table(rates))
        replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    except (ImportError, OSError, ValueError) as error:
        say(f"--fit: {reason(error)}")
        return 1
    say(f"Kept in {path}.")
    return 0


def rates_file() -> Path:
    """Return where the package keeps its rates."""
    return Path(str(resources.files(_upsample_conv).joinpath("rates.json")))
