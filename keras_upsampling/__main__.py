"""The command line: `python -m keras_upsampling COMMAND`."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
from keras import ops

from keras_upsampling._arguments import positive_int
from keras_upsampling.bench.cases import Case, cases
from keras_upsampling.bench.report import as_records, facts, report
from keras_upsampling.bench.timing import Result, measure
from keras_upsampling.maths.interpolation import INTERPOLATIONS
from keras_upsampling.ops.devices import on_cpu
from keras_upsampling.ops.upsample_conv import METHODS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_upsampling",
        description="Upsampling for Keras 3 decoders, without checkerboards.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_bench(commands)
    options = parser.parse_args(arguments)
    return int(options.run(options))


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "bench",
        help="time UpsampleConv beside what else one would use",
        description="Times UpsampleConv beside UpSampling + Conv, ConvTranspose and sub-pixel "
        "convolution, forward and training step, on the Keras backend that is set. Prints "
        "tables in Markdown.",
    )
    parser.add_argument("--quick", action="store_true", help="a few cases, within a minute")
    for name, kind, known in (
        ("--rank", int, (1, 2, 3)),
        ("--size", _positive, None),
        ("--kernel-size", _positive, None),
        ("--interpolation", str, tuple(INTERPOLATIONS)),
        ("--dtype", str, ("float32", "bfloat16", "float16")),
        ("--method", str, tuple(METHODS)),
    ):
        parser.add_argument(name, type=kind, choices=known, nargs="+", help=_BENCH_HELP[name])
    parser.add_argument(
        "--seconds", type=_seconds, help="time for each pass of a case (default: 2)"
    )
    parser.add_argument(
        "--json", type=_file, metavar="FILE", help="write the figures there as well"
    )
    parser.set_defaults(run=_bench)


def _positive(text: str) -> int:
    try:
        return positive_int(int(text), "value")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return seconds


def _file(text: str) -> Path:
    # Found out now, not after minutes of measuring.
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; name a file in it")
    if not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder for {text!r}; make it first")
    return path


_BENCH_HELP = {
    "--rank": "spatial axes (default: 1 2 3)",
    "--size": "factors (default: 2 3 4)",
    "--kernel-size": "taps of the convolution (default: 3 5)",
    "--interpolation": "of two-dimensional cases (default: nearest linear)",
    "--dtype": "default: float32, and half precision too on a GPU",
    "--method": "named ways of this library to time as well",
}

# What `--quick` runs, where the command line does not say otherwise.
_QUICK = {"ranks": (2,), "sizes": (2,), "kernel_sizes": (3,), "largest": 70_000}


def _bench(options: argparse.Namespace) -> int:
    chosen = {
        "ranks": options.rank,
        "sizes": options.size,
        "kernel_sizes": options.kernel_size,
        "interpolations": options.interpolation,
        "dtypes": options.dtype or _dtypes_of_device(),
    }
    chosen = {name: values for name, values in chosen.items() if values}
    grid = cases(**{**(_QUICK if options.quick else {}), **chosen})
    if not grid:
        print(
            "Nothing to time: all interpolations but nearest are in two dimensions.",
            file=sys.stderr,
        )
        return 2
    results: list[Result] = []
    try:
        _measure_all(grid, options, results)
    except KeyboardInterrupt:
        return 130
    finally:  # whatever happens, what was measured is not lost
        if results:
            print(report(results))
            if options.json:
                records = {"facts": facts(), "results": as_records(results)}
                _write(options.json, json.dumps(records, indent=1) + "\n")
    return 0


def _measure_all(grid: Sequence[Case], options: argparse.Namespace, results: list[Result]) -> None:
    """Measure case after case, with a progress bar, and put what is found into `results`."""
    seconds = options.seconds or (0.5 if options.quick else 2.0)
    # The progress bar is not part of what is printed.
    with contextlib.redirect_stdout(sys.stderr):
        progress = keras.utils.Progbar(len(grid), unit_name="case")
        progress.update(0)
        for case in grid:
            results.append(measure(case, methods=options.method or (), seconds=seconds))
            progress.update(len(results))


def _dtypes_of_device() -> tuple[str, ...]:
    half = () if on_cpu(ops.zeros(1)) else ("bfloat16", "float16")
    return ("float32", *half)


def _write(path: Path, text: str) -> None:
    """Write a file beside its place, then move it there: never half a file."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


if __name__ == "__main__":
    sys.exit(main())
