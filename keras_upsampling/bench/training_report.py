"""Tables of the whole training steps of published architectures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from keras_upsampling._tables import by, table
from keras_upsampling.bench.architectures import ARCHITECTURES, Architecture
from keras_upsampling.bench.blocks import upsample_conv
from keras_upsampling.bench.report import MEMORY, facts
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.bench.training import (
    LESS_MEMORY,
    ONE_LAYER,
    TRANSPOSE,
    TWO_LAYERS,
    Times,
    TrainingResult,
)

_EXPLANATION = (
    "Each architecture is built from `UpSampling` and `Conv`, from `UpsampleConv`, and from "
    "`ConvTranspose` with the same kernel, and trained by `train_on_batch` with Adam, for the mean "
    "squared error. `ratio`: the time of UpSampling, Conv over the time of UpsampleConv; above 1, "
    "UpsampleConv is faster. `itself`: the time of UpSampling, Conv over the time of the same "
    "model, built again. Both are medians over the rounds of one run, with their quartiles. "
    "`slower`: whether UpsampleConv takes longer by more than the quartiles of `itself`. "
    "ConvTranspose computes something else and leaves checkerboards; architectures in which its "
    "kernel would be shorter than its stride are left out."
)


def report(results: Sequence[TrainingResult], conditions: Mapping[str, str]) -> str:
    """Return the results as tables in Markdown.

    Args:
        results: The results.
        conditions: Facts to add to those of the machine.
    """
    rounds = [
        len(times.seconds[TWO_LAYERS]) for result in results for times in result.passes.values()
    ]
    header = {
        **facts(),
        **conditions,
        "rounds": f"{min(rounds)} to {max(rounds)} for each pass of an architecture",
    }
    sections = [table(("", ""), list(header.items())), _EXPLANATION, "### Summary"]
    sections.append(_summary(results))
    for pass_name in (STEP, FORWARD):
        sections += [
            f"### {pass_name.capitalize()}",
            table(
                ["architecture", TWO_LAYERS, ONE_LAYER, "ratio", "itself", "slower", TRANSPOSE],
                [[result.name, *_cells(result.passes[pass_name])] for result in results],
            ),
        ]
    contenders = (TWO_LAYERS, ONE_LAYER, LESS_MEMORY, TRANSPOSE)
    memory = [
        [result.name, name, *(_mebibytes(times.peak_bytes.get(key)) for key in contenders)]
        for result in results
        for name, times in result.passes.items()
    ]
    if any(any(row[2:]) for row in memory):
        sections += [
            "### Memory",
            f"{MEMORY} A step is without its update here. {LESS_MEMORY}: after "
            '`config.set_preference("memory")`.',
            table(["architecture", "pass", *contenders], memory),
        ]
    sections += [
        "### Architectures",
        "Published ones, in sizes that a small machine can train. `differs`: what differs from the "
        "source but for the block; in parentheses what it is there.",
        table(
            ["architecture", "batch", "input", "output", "weights", "source", "differs"],
            [[result.name, *_description(ARCHITECTURES[result.name])] for result in results],
        ),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(results: Sequence[TrainingResult]) -> str:
    melgan = [result for result in results if result.name.startswith("melgan")]
    groups = {"all": results, "one dimension (MelGAN)": melgan}
    rows = []
    for pass_name in (STEP, FORWARD):
        for group, members in groups.items():
            passes = [result.passes[pass_name] for result in members]
            gains = [times.gain.median for times in passes]
            if gains:
                numbers = statistics.geometric_mean(gains), min(gains), max(gains)
                cells = [f"{number:.2f}" for number in numbers]
                slower = str(sum(times.slower for times in passes))
                rows.append([pass_name, group, str(len(gains)), *cells, slower])
    header = ["pass", "architectures", "number", "geometric mean of ratios"]
    return table([*header, "worst", "best", "slower"], rows)


def _cells(times: Times) -> list[str]:
    def milliseconds(name: str) -> str:
        seconds = times.seconds.get(name)
        return f"{1e3 * statistics.median(seconds):.1f} ms" if seconds else ""

    return [
        milliseconds(TWO_LAYERS),
        milliseconds(ONE_LAYER),
        str(times.gain),
        str(times.spread),
        "yes" if times.slower else "",
        milliseconds(TRANSPOSE),
    ]


def _mebibytes(peak: int | None) -> str:
    return "" if peak is None else f"{peak / 2**20:.1f}"


def _description(architecture: Architecture) -> list[str]:
    model = architecture.build(upsample_conv, architecture.width, architecture.length)
    inputs, outputs = (
        " and ".join(by(tensor.shape[1:]) for tensor in tensors)
        for tensors in (model.inputs, model.outputs)
    )
    weights = str(model.count_params())
    source, differs = architecture.source, architecture.differs
    return [str(architecture.batch), inputs, outputs, weights, source, differs]
