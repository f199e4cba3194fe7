"""`bench --random` and `bench --fit`: test the choice of methods, and fit its rates."""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path

import keras

from keras_upsampling.bench.choosing import Measurements, measure_choice, report
from keras_upsampling.bench.fitting import fit_rates, minimum_cases, rates_table, solver, with_rates
from keras_upsampling.bench.random_cases import (
    FIT_INTERPOLATIONS,
    INTERPOLATIONS,
    random_cases,
)
from keras_upsampling.bench.report import facts
from keras_upsampling.commands.files import check_writable, named_path, replace_file
from keras_upsampling.commands.shared import dtype_error, positive_integer
from keras_upsampling.commands.streams import aside, publish, reason, say
from keras_upsampling.ops import _upsample_conv

# Defaults of a fit. The seed differs from that of `--random`, so that the cases do too.
_FIT_CASES, _FIT_SEED = 80, 100


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to those of `bench`."""
    group = parser.add_argument_group(
        "choice of methods",
        "Instead of the grid, time random cases with every method of the one step, and with the "
        "method that UpsampleConv chooses.",
    )
    group.add_argument("--random", type=positive_integer, metavar="N", help="time N random cases")
    group.add_argument(
        "--seed", type=int, help=f"seed of the random cases (default: 0; {_FIT_SEED} for a fit)"
    )
    group.add_argument(
        "--fit",
        type=named_path,
        nargs="*",
        metavar="FILE",
        help="fit the rates of this machine and save them in the package, from files written by "
        f"--random --json or else from {_FIT_CASES} random cases",
    )
    group.add_argument(
        "--jit-compile",
        action="store_true",
        help="compile with XLA on TensorFlow, as jit_compile=True does",
    )


# Options that only the grid uses, and options that only random cases use.
_GRID_OPTIONS = (
    *("quick", "shape", "rank", "size", "kernel_size", "dilation_rate", "groups", "method"),
    *("against", "seconds"),
)
_RANDOM_OPTIONS = ("seed", "jit_compile")


def option_error(options: argparse.Namespace) -> str | None:
    """Return the error of contradictory options; None if there is none."""
    random = options.random is not None or options.fit is not None
    unused = _GRID_OPTIONS if random else _RANDOM_OPTIONS
    if options.fit:
        unused = (*unused, "random", "seed", "json", "interpolation")
    passed = [name for name in unused if getattr(options, name) not in (None, False)]
    if passed:
        names = ", ".join("--" + name.replace("_", "-") for name in passed)
        if not random:
            return (
                f"{names} can only be used with --random or --fit. Add one of them, or leave it "
                "out."
            )
        mode = "--fit FILE" if options.fit else "--random" if options.random else "--fit"
        return f"{names} cannot be used with {mode}. Leave it out."
    backend, dtypes = keras.backend.backend(), options.dtype or []
    if options.jit_compile and backend != "tensorflow":
        return f"--jit-compile requires TensorFlow. Keras runs on {backend}; leave it out."
    if options.fit is not None and not options.fit and _count(options) < minimum_cases():
        return (
            f"--fit needs at least {minimum_cases()} cases, one per rate. "
            f"Received: --random {options.random}. Use a larger number."
        )
    if random and len(dtypes) > 1:
        return (
            f"Random cases have one dtype. Received: --dtype {' '.join(dtypes)}. Run the command "
            "once per dtype."
        )
    return dtype_error(dtypes)


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; return the exit code."""
    engine = keras.backend.backend() + ("-xla" if options.jit_compile else "")
    dtype = (options.dtype or ["float32"])[0]
    measured = Measurements(facts(), engine, _command(options, dtype), [])
    try:
        if options.fit is not None:  # fail before anything is measured
            solver()
            check_writable(rates_file())
        if options.fit:
            measured = _read(options.fit, engine, dtype)
            return _fit(measured)
    except (ImportError, OSError, ValueError) as error:
        say(f"--fit: {reason(error)}")
        return 2
    code = 0
    try:
        _measure_all(options, dtype, measured)
    except KeyboardInterrupt:
        say(f"Interrupted after {len(measured.choices) // 2} of {_count(options)} cases.")
        code = 130
    finally:  # results are published even after a failure
        if measured.choices and not publish(report(measured), measured.as_json(), options.json):
            code = code or 1
    return code if code or options.fit is None else _fit(measured)


def _count(options: argparse.Namespace) -> int:
    return options.random or _FIT_CASES


def _seed(options: argparse.Namespace) -> int:
    if options.seed is not None:
        return int(options.seed)
    return 0 if options.fit is None else _FIT_SEED


def _interpolations(options: argparse.Namespace) -> tuple[str, ...]:
    default = INTERPOLATIONS if options.fit is None else FIT_INTERPOLATIONS
    return tuple(options.interpolation or default)


def _command(options: argparse.Namespace, dtype: str) -> str:
    """Return a command that repeats the measurements."""
    interpolations = _interpolations(options)
    return (
        f"python -m keras_upsampling bench --random {_count(options)} --seed {_seed(options)}"
        + (
            f" --interpolation {' '.join(interpolations)}"
            if interpolations != INTERPOLATIONS
            else ""
        )
        + (f" --dtype {dtype}" if dtype != "float32" else "")
        + (" --jit-compile" if options.jit_compile else "")
    )


def _measure_all(options: argparse.Namespace, dtype: str, measured: Measurements) -> None:
    """Measure all random cases, with a progress bar, and append to `measured.choices`."""
    cases = random_cases(_count(options), _seed(options), dtype, _interpolations(options))
    with aside():
        progress = keras.utils.Progbar(len(cases), unit_name="case")
        progress.update(0)
        for i, case in enumerate(cases):
            measured.choices.extend(measure_choice(case, measured.engine))
            progress.update(i + 1)


def _read(paths: list[Path], engine: str, dtype: str) -> Measurements:
    """Return the measurements of files, joined.

    Raises:
        ValueError: If a file is unreadable, or of another engine, dtype or machine.
    """
    measurements: list[Measurements] = []
    for path in paths:
        try:
            measured = Measurements.from_json(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not a text file") from error
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {reason(error)}") from error
        measurements.append(measured)
        dtypes = {choice.case.dtype for choice in measured.choices}
        if measured.engine != engine or dtypes != {dtype}:
            raise ValueError(
                f"{path}: expected measurements with {engine} in {dtype}. Received: "
                f"{measured.engine} in {', '.join(dtypes) or 'no dtype'}. Set KERAS_BACKEND, "
                "--jit-compile or --dtype to match."
            )
        facts_of_first = measurements[0].facts
        if measured.facts != facts_of_first:
            differing = [
                name for name, fact in measured.facts.items() if fact != facts_of_first[name]
            ]
            raise ValueError(
                f"{path}: expected measurements from the same machine and versions as {paths[0]}. "
                f"Received: another {', '.join(differing)}. Fit each separately."
            )
    return measurements[0]._replace(
        command="; ".join(measured.command for measured in measurements),
        choices=[choice for measured in measurements for choice in measured.choices],
    )


def _fit(measured: Measurements) -> int:
    """Fit the rates, print them, and save them in the package; return the exit code."""
    path = rates_file()
    try:
        rates = fit_rates(measured.choices)
        text = with_rates(path.read_text(encoding="utf-8"), measured, rates)
        print(rates_table(rates))
        replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    except (OSError, RuntimeError, ValueError) as error:
        say(f"--fit: {reason(error)}")
        return 1
    say(f"Rates saved to {path}.")
    return 0


def rates_file() -> Path:
    """Return the path of the package's file of rates."""
    return Path(str(resources.files(_upsample_conv).joinpath("rates.json")))
