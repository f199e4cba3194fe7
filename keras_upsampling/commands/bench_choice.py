"""`bench --random` and `bench --fit`: test the choice of methods, and fit its rates."""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path

import keras

from keras_upsampling.bench.choosing import measure_choice, report
from keras_upsampling.bench.fitting import fit_rates, minimum_cases, rates_table, solver, with_rates
from keras_upsampling.bench.measurements import Measurements, read_measurements
from keras_upsampling.bench.random_cases import (
    FIT_INTERPOLATIONS,
    INTERPOLATIONS,
    kind_of_bounds,
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
        f"--random --json or by tools/gpu_check.py, or else from {_FIT_CASES} random cases",
    )
    group.add_argument(
        "--jit-compile",
        action="store_true",
        help="compile with XLA on TensorFlow, as jit_compile=True does",
    )
    group.add_argument(
        "--data-format",
        choices=("channels_last", "channels_first"),
        help="data format of the cases (default: channels_last)",
    )
    group.add_argument(
        "--tf32",
        choices=("on", "off"),
        help="of a file of tools/gpu_check.py, fit to what was measured with TF32 switched on or "
        "off (default: as the backend sets it)",
    )


# Options that only the grid uses, and which mode each of the others needs.
_GRID_OPTIONS = (
    *("quick", "shape", "rank", "size", "kernel_size", "dilation_rate", "groups", "method"),
    "against",
)
_NEEDED_MODES = {
    "jit_compile": "--random, --fit or --programs",
    "seed": "--random or --fit",
    "data_format": "--random or --fit",
    "tf32": "--fit FILE",
}
_UNUSED_OPTIONS: dict[str, tuple[str, ...]] = {
    "": tuple(_NEEDED_MODES),
    "--random": (*_GRID_OPTIONS, "seconds", "tf32"),
    "--fit": (*_GRID_OPTIONS, "seconds", "tf32"),
    "--fit FILE": (*_GRID_OPTIONS, "seconds", "random", "seed", "json", "interpolation"),
    "--programs": (
        *_GRID_OPTIONS,
        *("random", "seed", "fit", "interpolation", "data_format", "tf32"),
    ),
}


def _mode(options: argparse.Namespace) -> str:
    """Return the option that replaces the grid by something else; empty for the grid."""
    if options.programs is not None:
        return "--programs"
    if options.fit:
        return "--fit FILE"
    if options.random:  # also with `--fit` that has no file
        return "--random"
    return "" if options.fit is None else "--fit"


def option_error(options: argparse.Namespace) -> str | None:
    """Return the error of contradictory options; None if there is none."""
    mode = _mode(options)
    values = {name: getattr(options, name) for name in _UNUSED_OPTIONS[mode]}
    passed = [name for name, value in values.items() if value is not None and value is not False]
    if passed:
        names = ", ".join("--" + name.replace("_", "-") for name in passed)
        if mode:
            return f"{names} cannot be used with {mode}. Leave it out."
        return (
            f"{names} can only be used with {_NEEDED_MODES[passed[-1]]}. Add one of them, or leave "
            "it out."
        )
    backend, dtypes = keras.backend.backend(), options.dtype or []
    if options.jit_compile and backend != "tensorflow":
        return f"--jit-compile requires TensorFlow. Keras runs on {backend}; leave it out."
    if options.fit is not None and not options.fit and _count(options) < minimum_cases():
        return (
            f"--fit needs at least {minimum_cases()} cases, one per rate. "
            f"Received: --random {options.random}. Use a larger number."
        )
    if mode and len(dtypes) > 1:
        return (
            f"{'Programs' if options.programs is not None else 'Random cases'} have one dtype. "
            f"Received: --dtype {' '.join(dtypes)}. Run the command once per dtype."
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
            return _fit(_read(options, engine, dtype))
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


def _data_format(options: argparse.Namespace) -> str:
    return str(options.data_format or "channels_last")


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
        + (f" --data-format {options.data_format}" if options.data_format else "")
    )


def _measure_all(options: argparse.Namespace, dtype: str, measured: Measurements) -> None:
    """Measure all random cases, with a progress bar, and append to `measured.choices`."""
    bounds = kind_of_bounds(measured.facts["device"])
    cases = [
        case._replace(data_format=_data_format(options))
        for case in random_cases(
            _count(options), _seed(options), dtype, _interpolations(options), bounds
        )
    ]
    with aside():
        progress = keras.utils.Progbar(len(cases), unit_name="case")
        progress.update(0)
        for i, case in enumerate(cases):
            measured.choices.extend(measure_choice(case, measured.engine))
            progress.update(i + 1)


def _read(options: argparse.Namespace, engine: str, dtype: str) -> Measurements:
    """Return what was measured with the engine and the options, of all files, joined.

    Raises:
        ValueError: If a file is unreadable, has nothing that was measured so, or is of another
            machine.
    """
    chosen: list[Measurements] = []
    for path in options.fit:
        try:
            measurements = read_measurements(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not a text file") from error
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {reason(error)}") from error
        belonging = [
            measured.only(dtype, _data_format(options))
            for measured in measurements
            if (measured.engine, measured.tf32) == (engine, options.tf32)
        ]
        belonging = [measured for measured in belonging if measured.choices]
        if not belonging:
            tf32 = f" with TF32 {options.tf32}" if options.tf32 else ""
            raise ValueError(
                f"{path}: expected measurements with {engine} in {dtype}{tf32}, "
                f"{_data_format(options)}. Received: "
                + ("; ".join(map(str, measurements)) or "none")
                + ". Set KERAS_BACKEND, --jit-compile, --dtype, --tf32 or --data-format to match."
            )
        chosen += belonging
        first = chosen[0].facts
        differing = {
            name: None
            for measured in belonging
            for name in {**first, **measured.facts}
            if measured.facts.get(name) != first.get(name)
        }
        if differing:
            raise ValueError(
                f"{path}: expected measurements from the same machine and versions as the first in "
                f"{options.fit[0]}. Received: another {', '.join(differing)}. Fit each separately."
            )
    return chosen[0]._replace(
        command="; ".join(measured.command for measured in chosen),
        choices=[choice for measured in chosen for choice in measured.choices],
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
