"""What there is to do, counted on paper: so much of each kind of work.

Numbers are counted, not bytes: the seconds that one takes belong to a dtype. The backward pass
goes through the same operations the other way, so it has the same counts, and seconds of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

from keras_upsampling.ops._upsample_conv.task import Task

# How much of each kind.
Work: TypeAlias = dict[str, float]


def total(*parts: Work) -> Work:
    """Return all the parts together."""
    added: Counter[str] = Counter()
    for part in parts:
        added.update(part)
    return dict(added)


def multiply_adds(kind: str, samples: float, taps: float, channels: float, filters: float) -> Work:
    """Return one operation that mixes channels, of a kind: `samples` outputs for every filter.

    Few channels or filters leave much of the hardware idle. What that costs falls as there are
    more of them, so the multiply-adds count once more for each channel and for each filter.
    """
    return {
        kind: samples * taps * channels * filters,
        f"{kind} / channels": samples * taps * filters,
        f"{kind} / filters": samples * taps * channels,
        "operations": 1,
    }


def passes(numbers: float, operations: float = 1, kind: str = "copied") -> Work:
    """Return operations that go over so many numbers in all, read or written."""
    return {kind: numbers, "operations": operations}


def enlarging(task: Task, numbers: float) -> Work:
    """Return what `resample.enlarge` has to do for a map of so many numbers, axis by axis."""
    kind = "repeated" if task.interpolation == "nearest" else "interpolated"
    work: Work = {}
    for s in reversed(task.size):
        if s > 1:
            work = total(work, passes(numbers * (1 + s), kind=kind))
            numbers *= s
    return work
