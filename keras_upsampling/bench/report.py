"""What was measured, as tables and as plain records."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

import keras_upsampling
from keras_upsampling._tables import table
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.contenders import KERAS, OURS, SUBPIXEL, TRANSPOSE_EQUAL
from keras_upsampling.bench.timing import FORWARD, STEP, Result, Timing
from keras_upsampling.ops.devices import on_cpu


def facts() -> dict[str, str]:
    """Return what the figures depend on besides the code: machine and versions."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line for line in lines if line.startswith("model name")).split(": ")[1]
    backend = keras.backend.backend()
    return {
        "device": "CPU" if on_cpu(ops.zeros(1)) else "GPU",
        "processor": f"{processor}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "Keras": keras.version(),
        backend: str(importlib.import_module(backend).__version__),
        "keras_upsampling": keras_upsampling.__version__,
    }


def as_records(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the results as plain records, for JSON."""
    return [
        {
            **result.case._asdict(),
            "product_rate": result.product_rate,
            "share": result.share,
            "passes": {
                name: {way: timing._asdict() for way, timing in timings.items()}
                for name, timings in result.passes.items()
            },
        }
        for result in results
    ]


# What the summary takes medians over: a name, which cases belong, and compared with what.
_GROUPS: tuple[tuple[str, Callable[[Case], bool], str], ...] = (
    (
        "2-D, nearest, s=2, k=3",
        lambda c: _plain(c, 2, "nearest") and (c.size, c.kernel_size) == (2, 3),
        KERAS,
    ),
    (
        "2-D, nearest, s=4 or k=5",
        lambda c: _plain(c, 2, "nearest") and (c.size == 4 or c.kernel_size == 5),
        KERAS,
    ),
    (
        "2-D, linear, s=2, k=3",
        lambda c: _plain(c, 2, "linear") and (c.size, c.kernel_size) == (2, 3),
        KERAS,
    ),
    (
        "2-D, cubic and Lanczos",
        lambda c: _plain(c, 2, "cubic", "lanczos3", "lanczos5"),
        KERAS,
    ),
    ("2-D, nearest", lambda c: _plain(c, 2, "nearest"), TRANSPOSE_EQUAL),
    ("2-D, nearest", lambda c: _plain(c, 2, "nearest"), SUBPIXEL),
    ("1-D, nearest", lambda c: _plain(c, 1, "nearest"), KERAS),
    ("3-D, nearest", lambda c: _plain(c, 3, "nearest"), KERAS),
    ("all", lambda _: True, KERAS),
)


def _plain(case: Case, rank: int, *interpolations: str) -> bool:
    asked = len(case.spatial) == rank and case.interpolation in interpolations
    return asked and case.dilation_rate == case.groups == 1


def report(results: Sequence[Result]) -> str:
    """Return the results as tables in Markdown, which a terminal shows well too."""
    # Contenders are missing where they cannot do a case: the fullest says in what order they come.
    by_number = sorted((result.passes[FORWARD] for result in results), key=len, reverse=True)
    ways = [name for name in dict.fromkeys(itertools.chain(*by_number)) if name != OURS]
    every = [
        timing for result in results for timings in result.passes.values()
        for timing in timings.values()
    ]  # fmt: skip
    rounds = [timing.rounds for timing in every]
    rate = statistics.median(result.product_rate for result in results)
    measured = {
        **facts(),
        "product of matrices": f"{rate / 1e9:.1f} thousand million multiply-adds a second",
        "rounds": f"{min(rounds)} to {max(rounds)} for each pass of a case",
    }
    parts = [
        table(("", ""), list(measured.items())),
        "Times are of this library. Ratios are how many times as long the others take, medians "
        "over the rounds of one run, with the quartiles: above 1, this library is faster. The "
        "product is that of two matrices of 1024x1024, in the same rounds.",
        "### Summary",
        _summary(results),
    ]
    for name in (FORWARD, STEP):
        rows = []
        for result in results:
            timings = result.passes[name]
            row = [str(result.case), f"{timings[OURS].seconds * 1e3:.2f} ms"]
            rows.append(row + [_ratio(timings.get(way)) for way in ways])
        parts += [f"### {name.capitalize()}", table(["case", "this library", *ways], rows)]
    shares = [
        [str(result.case), *(_share(result.share.get(way)) for way in (OURS, *ways))]
        for result in results
    ]
    parts += [
        "### Share of the product's rate",
        "Of the forward pass, counting for all the multiply-adds of one convolution per phase. "
        "More than 1 means that fewer are made.",
        table(["case", "this library", *ways], shares),
    ]
    memory = [
        [str(result.case), name, *(_mebibytes(timings.get(way)) for way in (OURS, *ways))]
        for result in results
        for name, timings in result.passes.items()
    ]
    if any(any(row[2:]) for row in memory):
        parts += [
            "### Memory",
            "What a call needs at its peak beyond inputs and weights, in MiB: on TensorFlow the "
            "tensors alive at once if its graph runs in order, on JAX what the compiled program "
            "asks for, on PyTorch what the process grows by; on a GPU what TensorFlow and PyTorch "
            "allocated.",
            table(["case", "pass", "this library", *ways], memory),
        ]
    return "\n\n".join(parts) + "\n"


def _summary(results: Sequence[Result]) -> str:
    rows = []
    for name, belongs, other in _GROUPS:
        chosen = [result for result in results if belongs(result.case)]
        if not chosen:
            continue
        for pass_name in (FORWARD, STEP):
            timings = [result.passes[pass_name].get(other) for result in chosen]
            ratios = [timing.ratio for timing in timings if timing]
            if not ratios:
                continue
            rows.append(
                [
                    name,
                    other,
                    pass_name,
                    str(len(ratios)),
                    f"{statistics.median(ratios):.2f}",
                    f"{min(ratios):.2f}",
                    f"{max(ratios):.2f}",
                ]
            )
    return table(["cases", "compared with", "pass", "how many", "median", "worst", "best"], rows)


def _ratio(timing: Timing | None) -> str:
    if timing is None:
        return ""
    low, high = timing.ratio_quartiles
    return f"{timing.ratio:.2f} ({low:.2f} to {high:.2f})"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.2f}"


def _mebibytes(timing: Timing | None) -> str:
    if timing is None or timing.peak_bytes is None:
        return ""
    return f"{timing.peak_bytes / 2**20:.1f}"
