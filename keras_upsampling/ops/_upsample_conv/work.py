"""What there is to do, counted on paper: so much of each kind of work.

Numbers are counted, not bytes: the seconds that one takes belong to a dtype. The backward pass
goes through the same operations the other way, so it has the same counts, and seconds of its own.
"""

from __future__ import annotations

from typing import TypeAlias

from keras_upsampling.ops._upsample_conv.task import Task

# How much of each kind. What is `"held"` at once takes no time.
Work: TypeAlias = dict[str, float]


def total(*parts: Work) -> Work:
    """Return all the parts together."""
    kinds = dict.fromkeys(kind for part in parts for kind in part)
    return {kind: sum(part.get(kind, 0) for part in parts) for kind in kinds}


def multiply_adds(kind: str, samples: float, taps: float, channels: float, filters: float) -> Work:
    """Return an operation that mixes channels, of a kind: `samples` outputs for every filter.

    Few channels or filters leave much of the hardware idle. What that costs falls as there are
    more of them, so the multiply-adds count once more for each channel and for each filter.
    """
    return {
        kind: samples * taps * channels * filters,
        f"{kind} / channels": samples * taps * filters,
        f"{kind} / filters": samples * taps * channels,
        "copied": samples * filters,
        "operations": 1,
    }


def passes(numbers: float, operations: float = 1) -> Work:
    """Return operations that read or write so many numbers in all, and little else."""
    return {"copied": numbers, "operations": operations}


def enlarging(task: Task, numbers: float) -> Work:
    """Return what `resample.enlarge` has to do for a map of so many numbers, axis by axis."""
    parts = []
    for s in reversed(task.size):
        if s > 1:
            parts.append(passes(numbers * (1 + s)))
            numbers *= s
    return total(*parts)
