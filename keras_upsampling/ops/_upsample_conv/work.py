"""Counts of the work of a method, by kind."""

from __future__ import annotations

from typing import TypeAlias

from keras_upsampling.ops._upsample_conv.task import Task
from keras_upsampling.ops.tables import phase_taps

# The amount of each kind of work. Values are counted, not bytes, because rates belong to a dtype.
Work: TypeAlias = dict[str, float]

# Kinds that take no time: the most values that are held at once in a forward pass alone, and in a
# training step, besides the input, the weights and the gradient of the output.
HELD, HELD_IN_TRAINING = "held", "held in training"


def total(*works: Work) -> Work:
    """Return the sum of several works, kind by kind."""
    kinds = dict.fromkeys(kind for work in works for kind in work)
    return {kind: sum(work.get(kind, 0) for work in works) for kind in kinds}


def held(forward: float, training: float) -> Work:
    """Return the numbers of values that are held at once."""
    return {HELD: forward, HELD_IN_TRAINING: training}


def passes(values: float, operations: float = 1) -> Work:
    """Return the work of `operations` that together read and write `values`, and do little else."""
    return {"copied": values, "operations": operations}


def multiply_adds(
    kind: str, samples: float, taps: float, channels: int, filters: float, groups: int = 1
) -> Work:
    """Return the work of one operation of a `kind` that mixes channels, with `samples` outputs.

    Few channels or filters leave much of the hardware idle. This cost falls with their number, so
    the multiply-adds are also counted per channel and per filter.
    """
    return {
        kind: samples * taps * channels * filters / groups,
        f"{kind} / channels": samples * taps * filters,
        f"{kind} / filters": samples * taps * channels,
        **passes(samples * filters),
    }


def upsampling_work(task: Task, values: float) -> Work:
    """Return the work of upsampling a map with a number of `values`, axis by axis."""
    works = []
    for s in reversed(task.size):
        if s > 1:
            weights = count_weights(s, task.interpolation)
            works += [passes(values * (1 + s)), {"filtered": values * weights}]
            values *= s
    return total(*works)


def count_weights(size: int, interpolation: str) -> int:
    """Return the number of filter weights of all phases of an axis; zero for nearest, a copy."""
    if interpolation == "nearest":
        return 0
    return sum(sum(map(bool, row)) for row in phase_taps(size, interpolation)[1])
