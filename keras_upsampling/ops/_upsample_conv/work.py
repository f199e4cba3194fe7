"""What there is to do, counted on paper: so much of each kind of work."""

from __future__ import annotations

from typing import TypeAlias

from keras_upsampling.ops._upsample_conv.task import Task
from keras_upsampling.ops.tables import phase_taps

# How much of each kind. Numbers are counted, not bytes: the seconds that one takes belong to a
# dtype. What is `"held"` at once takes no time.
Work: TypeAlias = dict[str, float]


def total(*parts: Work) -> Work:
    """Return all the parts together."""
    kinds = dict.fromkeys(kind for part in parts for kind in part)
    return {kind: sum(part.get(kind, 0) for part in parts) for kind in kinds}


def passes(numbers: float, operations: float = 1) -> Work:
    """Return operations that read or write so many numbers in all, and little else."""
    return {"copied": numbers, "operations": operations}


def multiply_adds(
    kind: str, samples: float, taps: float, channels: int, filters: float, groups: int = 1
) -> Work:
    """Return an operation that mixes channels, of a kind: `samples` outputs for every filter.

    Few channels or filters leave much of the hardware idle. What that costs falls as there are
    more of them, so the multiply-adds count once more for each channel and for each filter.
    """
    return {
        kind: samples * taps * channels * filters / groups,
        f"{kind} / channels": samples * taps * filters,
        f"{kind} / filters": samples * taps * channels,
        **passes(samples * filters),
    }


def enlarging(task: Task, numbers: float) -> Work:
    """Return what `resample.enlarge` has to do for a map of so many numbers, axis by axis."""
    parts = []
    for s in reversed(task.size):
        if s > 1:
            weights = weights_of(s, task.interpolation)
            parts += [passes(numbers * (1 + s)), {"filtered": numbers * weights}]
            numbers *= s
    return total(*parts)


def weights_of(size: int, interpolation: str) -> int:
    """Return how many samples the phases of an axis read together; those of nearest are copies."""
    if interpolation == "nearest":
        return 0
    return sum(sum(map(bool, row)) for row in phase_taps(size, interpolation)[1])
