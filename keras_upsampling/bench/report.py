"""Results of the benchmark, as tables and as plain records."""

from __future__ import annotations

import itertools
import platform
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

import keras_upsampling
from keras_upsampling._tables import table
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.contenders import KERAS, OURS, SUBPIXEL, TRANSPOSE_EQUAL
from keras_upsampling.bench.timing import FORWARD, STEP, Result, Timing
from keras_upsampling.ops.devices import backend_version, device_name, device_of, processor


def facts() -> dict[str, str]:
    """Return the machine and the versions that the results depend on."""
    backend, device = keras.backend.backend(), device_of(ops.zeros(1))
    kind = device.partition(":")[0].upper()
    return {
        "device": kind,
        **({} if kind == "CPU" else {kind: device_name(device)}),
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "Keras": keras.version(),
        backend: backend_version(),
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
                name: {contender: timing._asdict() for contender, timing in timings.items()}
                for name, timings in result.passes.items()
            },
        }
        for result in results
    ]


# Rows of the summary: a name, which cases belong to it, and the contender to compare with.
_GROUPS: tuple[tuple[str, Callable[[Case], bool], str], ...] = (
    (
        "2-D, nearest, s=2, k=3",
        lambda case: _plain(case, 2, "nearest") and (case.size, case.kernel_size) == (2, 3),
        KERAS,
    ),
    (
        "2-D, nearest, s=4 or k=5",
        lambda case: _plain(case, 2, "nearest") and (case.size == 4 or case.kernel_size == 5),
        KERAS,
    ),
    (
        "2-D, linear, s=2, k=3",
        lambda case: _plain(case, 2, "linear") and (case.size, case.kernel_size) == (2, 3),
        KERAS,
    ),
    (
        "2-D, cubic and Lanczos",
        lambda case: _plain(case, 2, "cubic", "lanczos3", "lanczos5"),
        KERAS,
    ),
    ("2-D, nearest", lambda case: _plain(case, 2, "nearest"), TRANSPOSE_EQUAL),
    ("2-D, nearest", lambda case: _plain(case, 2, "nearest"), SUBPIXEL),
    ("1-D, nearest", lambda case: _plain(case, 1, "nearest"), KERAS),
    ("3-D, nearest", lambda case: _plain(case, 3, "nearest"), KERAS),
    ("all", lambda _: True, KERAS),
)


def _plain(case: Case, rank: int, *interpolations: str) -> bool:
    matches = len(case.spatial) == rank and case.interpolation in interpolations
    return matches and case.dilation_rate == case.groups == 1


# What the tables of memory show.
MEMORY = (
    "Peak memory of a call beyond inputs and weights, in MiB. On TensorFlow: the live tensors if "
    "the graph runs in order. On JAX: the outputs and temporary buffers of the compiled program. "
    "On PyTorch: the growth of the process. On a GPU, TensorFlow and PyTorch: the memory allocated."
)


def report(results: Sequence[Result]) -> str:
    """Return the results as tables in Markdown, aligned for terminals."""
    # A contender is missing from cases that it does not support. The case with the most
    # contenders determines their order.
    by_number = sorted((result.passes[FORWARD] for result in results), key=len, reverse=True)
    contenders = [name for name in dict.fromkeys(itertools.chain(*by_number)) if name != OURS]
    all_timings = [
        timing for result in results for timings in result.passes.values()
        for timing in timings.values()
    ]  # fmt: skip
    rounds = [timing.rounds for timing in all_timings]
    rate = statistics.median(result.product_rate for result in results)
    conditions = {
        **facts(),
        "product of matrices": f"{rate / 1e9:.1f} GMAC/s",
        "rounds": f"{min(rounds)} to {max(rounds)} for each pass of a case",
    }
    sections = [
        table(("", ""), list(conditions.items())),
        "Times are those of this library. A ratio is the time of another contender over the time "
        "of this library: above 1, this library is faster. Ratios are medians over the rounds of "
        "one run, with their quartiles. The product of two 1024x1024 matrices is timed in the "
        "same rounds.",
        "### Summary",
        _summary(results),
    ]
    for name in (FORWARD, STEP):
        rows = []
        for result in results:
            timings = result.passes[name]
            row = [str(result.case), f"{timings[OURS].seconds * 1e3:.2f} ms"]
            rows.append(row + [_ratio(timings.get(contender)) for contender in contenders])
        sections += [
            f"### {name.capitalize()}",
            table(["case", "this library", *contenders], rows),
        ]
    shares = [
        [str(result.case), *(_share(result.share.get(name)) for name in (OURS, *contenders))]
        for result in results
    ]
    sections += [
        "### Share of the product's rate",
        "The rate of the forward pass over the rate of the product of matrices. Every contender is "
        "credited with the multiply-adds of one convolution per phase. Above 1, it computes fewer.",
        table(["case", "this library", *contenders], shares),
    ]
    memory = [
        [
            str(result.case),
            name,
            *(_mebibytes(timings.get(contender)) for contender in (OURS, *contenders)),
        ]
        for result in results
        for name, timings in result.passes.items()
    ]
    if any(any(row[2:]) for row in memory):
        sections += [
            "### Memory",
            MEMORY,
            table(["case", "pass", "this library", *contenders], memory),
        ]
    return "\n\n".join(sections) + "\n"


def _summary(results: Sequence[Result]) -> str:
    rows = []
    for name, belongs, baseline in _GROUPS:
        group = [result for result in results if belongs(result.case)]
        if not group:
            continue
        for pass_name in (FORWARD, STEP):
            timings = [result.passes[pass_name].get(baseline) for result in group]
            ratios = [timing.ratio for timing in timings if timing]
            if not ratios:
                continue
            rows.append(
                [
                    name,
                    baseline,
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
