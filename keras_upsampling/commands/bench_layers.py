"""`bench`: times UpsampleConv beside what else one would use."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_upsampling.bench.cases import Case, Shape, cases
from keras_upsampling.bench.contenders import OTHERS
from keras_upsampling.bench.report import as_records, facts, report
from keras_upsampling.bench.timing import Result, measure
from keras_upsampling.commands import bench_choice
from keras_upsampling.commands.shared import Commands, add_json, positive_integer, positive_number
from keras_upsampling.commands.streams import aside, publish, say
from keras_upsampling.maths.interpolation import INTERPOLATIONS
from keras_upsampling.ops._upsample_conv.choice import METHODS
from keras_upsampling.ops.devices import on_cpu


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "bench",
        help="time UpsampleConv beside what else one would use",
        description="Times UpsampleConv beside UpSampling + Conv, ConvTranspose and sub-pixel "
        "convolution, forward and training step, on the Keras backend that is set. Prints "
        "tables in Markdown.",
    )
    parser.add_argument("--quick", action="store_true", help="a few cases, within a minute")
    parser.add_argument(
        "--shape", type=_shape, nargs="+", metavar="SHAPE:FILTERS", help=_HELP["--shape"]
    )
    for name, kind, known in (
        ("--rank", int, (1, 2, 3)),
        ("--size", positive_integer, None),
        ("--kernel-size", positive_integer, None),
        ("--interpolation", str, tuple(INTERPOLATIONS)),
        ("--dtype", str, ("float32", "float64", "bfloat16", "float16")),
        ("--dilation-rate", positive_integer, None),
        ("--groups", positive_integer, None),
        ("--method", str, tuple(METHODS)),
        ("--against", str, tuple(OTHERS)),
    ):
        parser.add_argument(name, type=kind, choices=known, nargs="+", help=_HELP[name])
    parser.add_argument(
        "--seconds", type=positive_number, help="time for each pass of a case (default: 2)"
    )
    bench_choice.add(parser)
    add_json(parser)
    parser.set_defaults(run=run)


_HELP = {
    "--shape": "of the input, channels last, and the filters: 8x14x14x64:32 (default: a grid of "
    "shapes)",
    "--rank": "spatial axes (default: 1 2 3)",
    "--size": "factors (default: 2 3 4)",
    "--kernel-size": "taps of the convolution (default: 3 5)",
    "--interpolation": "of two-dimensional cases, or of random ones (default: nearest linear)",
    "--dtype": "default: float32, and half precision too on a GPU",
    "--dilation-rate": "step between the kernel's taps (default: 1)",
    "--groups": "of channels and filters (default: 1)",
    "--method": "methods of the one step to time as well",
    "--against": "what else to time (default: all)",
}


def _shape(text: str) -> Shape:
    """Read the shape of an input and the filters that it meets."""
    try:
        shape, filters = text.split(":")
        batch, *spatial, channels = map(positive_integer, shape.split("x"))
        if len(spatial) not in (1, 2, 3):
            raise ValueError
        return batch, tuple(spatial), channels, positive_integer(filters)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the shape of an input of one to three spatial axes and a number of "
            "filters, all positive; write it like 8x14x14x64:32"
        ) from None


# What `--quick` runs, where the command line does not say otherwise.
_QUICK = {"ranks": (2,), "sizes": (2,), "kernel_sizes": (3,), "largest": 70_000}


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; return the exit code."""
    wrong = bench_choice.refused(options)
    if wrong:
        say(wrong)
        return 2
    if options.random or options.fit is not None:
        return bench_choice.run(options)
    chosen = {
        "shapes": options.shape,
        # What is asked for by its shape is not left out for it.
        "largest": options.shape and math.inf,
        "ranks": options.rank or (options.shape and (1, 2, 3)),
        "sizes": options.size,
        "kernel_sizes": options.kernel_size,
        "interpolations": options.interpolation,
        "dtypes": options.dtype or _dtypes_of_device(),
        "dilation_rates": options.dilation_rate,
        "groups": options.groups,
    }
    chosen = {name: values for name, values in chosen.items() if values}
    grid = cases(**{**(_QUICK if options.quick else {}), **chosen})
    if not grid:
        say(f"Nothing to time: {_why_nothing(options)}")
        return 2
    for case in grid:
        if case.channels % case.groups or case.filters % case.groups:
            say(f"The groups must divide channels and filters: {case}.")
            return 2
    results: list[Result] = []
    code = 0
    try:
        _measure_all(grid, options, results)
    except KeyboardInterrupt:
        code = 130
    finally:  # whatever happens, what was measured is not lost
        if results:
            figures = json.dumps({"facts": facts(), "results": as_records(results)}, indent=1)
            if not publish(report(results), figures, options.json):
                code = code or 1
    return code


def _why_nothing(options: argparse.Namespace) -> str:
    """Return why no case is left of what was asked for."""
    ranks = {len(spatial) for _, spatial, _, _ in options.shape or ()}
    if ranks and options.rank and not ranks & set(options.rank):
        asked, given = (" or ".join(map(str, sorted(n))) for n in (set(options.rank), ranks))
        return (
            f"--rank asks for {asked} spatial axes, and the shapes of --shape have {given}; leave "
            "--rank out."
        )
    return "Keras has interpolations other than nearest in two dimensions only."


def _measure_all(grid: Sequence[Case], options: argparse.Namespace, results: list[Result]) -> None:
    """Measure case after case, with a progress bar, and put what is found into `results`."""
    seconds = options.seconds or (0.5 if options.quick else 2.0)
    # The progress bar is not part of what is printed.
    with aside():
        progress = keras.utils.Progbar(len(grid), unit_name="case")
        progress.update(0)
        for case in grid:
            results.append(
                measure(
                    case,
                    methods=options.method or (),
                    against=options.against or tuple(OTHERS),
                    seconds=seconds,
                )
            )
            progress.update(len(results))


def _dtypes_of_device() -> tuple[str, ...]:
    half = () if on_cpu(ops.zeros(1)) else ("bfloat16", "float16")
    return ("float32", *half)
