"""`bench --random` and `bench --fit`: how methods of the one step are chosen, and by what rates."""

from __future__ import annotations

import argparse
import warnings
from importlib import resources
from pathlib import Path

import keras
from keras import ops

from keras_upsampling.bench.choosing import Measurements, measure_choice, report
from keras_upsampling.bench.fitting import fitted, least_cases, rates_table, solver, with_rates
from keras_upsampling.bench.random_cases import (
    INTERPOLATIONS,
    INTERPOLATIONS_OF_A_FIT,
    random_cases,
)
from keras_upsampling.bench.report import facts
from keras_upsampling.commands.files import check_writable, named_path, replace_file
from keras_upsampling.commands.shared import positive_integer
from keras_upsampling.commands.streams import aside, publish, reason, say
from keras_upsampling.ops import _upsample_conv

# What is measured for a fit, where the command line does not say: cases that `--random` does not
# draw by itself.
_CASES_OF_A_FIT, _SEED_OF_A_FIT = 80, 100


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to those of `bench`."""
    group = parser.add_argument_group(
        "how methods are chosen",
        "In place of the grid: random cases by every method of the one step, beside the one that "
        "UpsampleConv chooses.",
    )
    group.add_argument("--random", type=positive_integer, metavar="N", help="time N random cases")
    group.add_argument(
        "--seed", type=int, help=f"of the random cases (default: 0; {_SEED_OF_A_FIT} for a fit)"
    )
    group.add_argument(
        "--fit",
        type=named_path,
        nargs="*",
        metavar="FILE",
        help="find what each kind of work takes on this machine, and keep it with the package; "
        f"from files that --random --json wrote, or else from {_CASES_OF_A_FIT} random cases",
    )
    group.add_argument(
        "--jit-compile",
        action="store_true",
        help="have TensorFlow compile by XLA, as jit_compile=True does",
    )


# Options of the grid, which random cases take no notice of; and those of random cases alone.
_OF_THE_GRID = (
    *("quick", "shape", "rank", "size", "kernel_size", "dilation_rate", "groups", "method"),
    *("against", "seconds"),
)
_OF_RANDOM_CASES = ("seed", "jit_compile")


def refused(options: argparse.Namespace) -> str | None:
    """Return what is wrong with the options, if anything is."""
    random = options.random is not None or options.fit is not None
    ignored = _OF_THE_GRID if random else _OF_RANDOM_CASES
    if options.fit:
        ignored = (*ignored, "random", "seed", "json", "interpolation")
    given = [name for name in ignored if getattr(options, name) not in (None, False)]
    if given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        if not random:
            return f"{names} goes with --random or --fit; add one of those, or leave it out."
        what = "--fit FILE" if options.fit else "--random" if options.random else "--fit"
        return f"{names} does not go with {what}; leave it out."
    backend, dtypes = keras.backend.backend(), options.dtype or []
    if options.jit_compile and backend != "tensorflow":
        return f"--jit-compile is TensorFlow's, and Keras runs on {backend}; leave it out."
    if options.fit is not None and not options.fit and _count(options) < least_cases():
        return f"A fit takes {least_cases()} cases at least, one for each rate; ask for more."
    if random and len(dtypes) > 1:
        return "Random cases are of one dtype; run the command for each that --dtype names."
    for dtype in dtypes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # JAX warns; the error below says it better
            made = keras.backend.standardize_dtype(ops.zeros(1, dtype).dtype)
        if made != dtype:
            return f"Keras on {backend} makes {made} of {dtype}; set JAX_ENABLE_X64=1."
    return None


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; return the exit code."""
    engine = keras.backend.backend() + ("-xla" if options.jit_compile else "")
    dtype = (options.dtype or ["float32"])[0]
    measured = Measurements(facts(), engine, _command(options, dtype), [])
    try:
        if options.fit is not None:  # what would fail later, fails before anything is measured
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
    finally:  # whatever happens, what was measured is not lost
        if measured.choices and not publish(report(measured), measured.as_json(), options.json):
            code = code or 1
    return code if code or options.fit is None else _fit(measured)


def _count(options: argparse.Namespace) -> int:
    return options.random or _CASES_OF_A_FIT


def _seed(options: argparse.Namespace) -> int:
    if options.seed is not None:
        return int(options.seed)
    return 0 if options.fit is None else _SEED_OF_A_FIT


def _interpolations(options: argparse.Namespace) -> tuple[str, ...]:
    default = INTERPOLATIONS if options.fit is None else INTERPOLATIONS_OF_A_FIT
    return tuple(options.interpolation or default)


def _command(options: argparse.Namespace, dtype: str) -> str:
    """Return the command that measures the same."""
    drawn = _interpolations(options)
    return (
        f"python -m keras_upsampling bench --random {_count(options)} --seed {_seed(options)}"
        + (f" --interpolation {' '.join(drawn)}" if drawn != INTERPOLATIONS else "")
        + (f" --dtype {dtype}" if dtype != "float32" else "")
        + (" --jit-compile" if options.jit_compile else "")
    )


def _measure_all(options: argparse.Namespace, dtype: str, measured: Measurements) -> None:
    """Measure case after case, with a progress bar, and put what is found into `measured`."""
    cases = random_cases(_count(options), _seed(options), dtype, _interpolations(options))
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
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: it is not text") from error
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {reason(error)}") from error
        if found[-1].engine != engine or {c.case.dtype for c in found[-1].choices} != {dtype}:
            raise ValueError(
                f"{path}: measured with {found[-1].engine} in "
                f"{', '.join({c.case.dtype for c in found[-1].choices}) or 'no dtype'}; expected "
                f"{engine} in {dtype} (set KERAS_BACKEND, --jit-compile or --dtype for others)"
            )
        if found[-1].facts != found[0].facts:
            other = [name for name, fact in found[-1].facts.items() if fact != found[0].facts[name]]
            raise ValueError(f"{path}: not measured as {paths[0]} was: other {', '.join(other)}")
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
    except (OSError, RuntimeError, ValueError) as error:
        say(f"--fit: {reason(error)}")
        return 1
    say(f"Kept in {path}.")
    return 0


def rates_file() -> Path:
    """Return where the package keeps its rates."""
    return Path(str(resources.files(_upsample_conv).joinpath("rates.json")))
