"""`bench`: times UpsampleConv beside its alternatives."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_upsampling.bench.cases import Case, Shape, cases
from keras_upsampling.bench.contenders import BASELINES
from keras_upsampling.bench.report import as_records, facts, report
from keras_upsampling.bench.timing import Result, measure
from keras_upsampling.commands import bench_choice, bench_programs
from keras_upsampling.commands.shared import Commands, add_json, positive_integer, positive_number
from keras_upsampling.commands.streams import aside, publish, say
from keras_upsampling.maths.interpolation import INTERPOLATIONS
from keras_upsampling.ops._upsample_conv.methods import METHODS
from keras_upsampling.ops.devices import on_cpu


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "bench",
        help="time UpsampleConv beside its alternatives",
        description="Times UpsampleConv beside UpSampling + Conv, ConvTranspose and sub-pixel "
        "convolution, forward and training step, on the current Keras backend. Prints tables in "
        "Markdown.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="time a few cases, in less than a minute"
    )
    parser.add_argument(
        "--shape", type=_shape, nargs="+", metavar="SHAPE:FILTERS", help=_HELP["--shape"]
    )
    for name, value_type, choices in (
        ("--rank", int, (1, 2, 3)),
        ("--size", positive_integer, None),
        ("--kernel-size", positive_integer, None),
        ("--interpolation", str, tuple(INTERPOLATIONS)),
        ("--dtype", str, ("float32", "float64", "bfloat16", "float16")),
        ("--dilation-rate", positive_integer, None),
        ("--groups", positive_integer, None),
        ("--method", str, tuple(METHODS)),
        ("--against", str, tuple(BASELINES)),
    ):
        parser.add_argument(name, type=value_type, choices=choices, nargs="+", help=_HELP[name])
    parser.add_argument(
        "--seconds", type=positive_number, help="time for each pass of a case (default: 2)"
    )
    bench_choice.add(parser)
    bench_programs.add(parser)
    add_json(parser)
    parser.set_defaults(run=run)


_HELP = {
    "--shape": "input shape, channels last, and number of filters: 8x14x14x64:32 (default: a grid "
    "of shapes)",
    "--rank": "number of spatial axes (default: 1 2 3)",
    "--size": "upsampling factor (default: 2 3 4)",
    "--kernel-size": "taps of the convolution per axis (default: 3 5)",
    "--interpolation": "interpolation of two-dimensional or random cases (default: nearest linear)",
    "--dtype": "dtypes to time (default: float32, and half precision too on a GPU)",
    "--dilation-rate": "step between the kernel's taps (default: 1)",
    "--groups": "groups of channels and filters (default: 1)",
    "--method": "methods of the one step to time as well",
    "--against": "alternatives to time (default: all)",
}


def _shape(text: str) -> Shape:
    """Read an input shape and a number of filters."""
    try:
        shape, filters = text.split(":")
        batch, *spatial, channels = map(positive_integer, shape.split("x"))
        if len(spatial) not in (1, 2, 3):
            raise ValueError
        return batch, tuple(spatial), channels, positive_integer(filters)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an input shape with one to three spatial axes and a number of "
            "filters, all positive. Write it like 8x14x14x64:32"
        ) from None


# Defaults of `--quick`; other options override them.
_QUICK = {"ranks": (2,), "sizes": (2,), "kernel_sizes": (3,), "largest": 70_000}


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; return the exit code."""
    error = bench_choice.option_error(options)
    if error:
        say(error)
        return 2
    if options.random or options.fit is not None:
        return bench_choice.run(options)
    if options.programs is not None:
        return bench_programs.run(options)
    selection = {
        "shapes": options.shape,
        # Shapes that the user names are not limited in size.
        "largest": math.inf if options.shape else None,
        "ranks": options.rank or ((1, 2, 3) if options.shape else None),
        "sizes": options.size,
        "kernel_sizes": options.kernel_size,
        "interpolations": options.interpolation,
        "dtypes": options.dtype or _dtypes_of_device(),
        "dilation_rates": options.dilation_rate,
        "groups": options.groups,
    }
    selection = {name: values for name, values in selection.items() if values}
    grid = cases(**{**(_QUICK if options.quick else {}), **selection})
    if not grid:
        say(f"Nothing to time: {_empty_grid_reason(options)}")
        return 2
    for case in grid:
        if case.channels % case.groups or case.filters % case.groups:
            say(f"--groups must divide the channels and the filters. Received: {case}.")
            return 2
    results: list[Result] = []
    code = 0
    try:
        _measure_all(grid, options, results)
    except KeyboardInterrupt:
        code = 130
    finally:  # results are published even after a failure
        if results:
            figures = json.dumps({"facts": facts(), "results": as_records(results)}, indent=1)
            if not publish(report(results), figures, options.json):
                code = code or 1
    return code


def _empty_grid_reason(options: argparse.Namespace) -> str:
    """Return why the options leave no case."""
    ranks = {len(spatial) for _, spatial, _, _ in options.shape or ()}
    if ranks and options.rank and not ranks & set(options.rank):
        expected, received = (
            " or ".join(map(str, sorted(numbers))) for numbers in (set(options.rank), ranks)
        )
        return (
            f"--rank is {expected}, but the shapes of --shape have {received} spatial axes. Leave "
            "--rank out."
        )
    return (
        "Keras supports interpolations other than nearest in two dimensions only. Use --rank 2 or "
        "--interpolation nearest."
    )


def _measure_all(grid: Sequence[Case], options: argparse.Namespace, results: list[Result]) -> None:
    """Measure every case, with a progress bar, and append to `results`."""
    seconds = options.seconds or (0.5 if options.quick else 2.0)
    # The progress bar goes to standard error, not into the printed tables.
    with aside():
        progress = keras.utils.Progbar(len(grid), unit_name="case")
        progress.update(0)
        for case in grid:
            results.append(
                measure(
                    case,
                    methods=options.method or (),
                    against=options.against or tuple(BASELINES),
                    seconds=seconds,
                )
            )
            progress.update(len(results))


def _dtypes_of_device() -> tuple[str, ...]:
    half = () if on_cpu(ops.zeros(1)) else ("bfloat16", "float16")
    return ("float32", *half)
