"""The choice of the method with the lowest estimated time."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from operator import index
from typing import Any, TypeAlias

import keras

from keras_upsampling._shapes import spatial_axes
from keras_upsampling._types import Tensor
from keras_upsampling.ops._upsample_conv.convolutions import PHASES, RESIZE
from keras_upsampling.ops._upsample_conv.method import Method
from keras_upsampling.ops._upsample_conv.products import MATRICES, ONE_PRODUCT
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.transposed import TRANSPOSED
from keras_upsampling.ops._upsample_conv.work import Work
from keras_upsampling.ops.devices import engines, on_cpu
from keras_upsampling.ops.gradient import recorded_by_torch
from keras_upsampling.ops.tables import static_length, traced_as_constant

METHODS = {method.name: method for method in (RESIZE, PHASES, ONE_PRODUCT, MATRICES, TRANSPOSED)}

PASSES = ("forward", "backward")

# Seconds per unit of each kind of work, and the machine they belong to: engine, device and dtype.
Rates: TypeAlias = Mapping[str, float]
Machine: TypeAlias = tuple[str, str, str]

# The length that is assumed for an unknown axis, also for the batch.
_TYPICAL_LENGTH = 32


@functools.cache
def shipped_rates() -> dict[Machine, dict[str, Rates]]:
    """Return the rates of every measured machine, by pass."""
    text = resources.files(__package__).joinpath("rates.json").read_text(encoding="utf-8")
    return {
        (entry["engine"], entry["device"], entry["dtype"]): {name: entry[name] for name in PASSES}
        for entry in json.loads(text)
    }


def seconds(work: Work, *rates: Rates) -> float:
    """Return the seconds of some work, summed over all rates; kinds without a rate take none."""
    return sum(number * rate.get(kind, 0.0) for rate in rates for kind, number in work.items())


def possible(task: Task, shape: Shape) -> tuple[str, ...]:
    """Return the names of the methods that compute a task exactly."""
    return tuple(method.name for method in METHODS.values() if method.can(task, shape))


@functools.lru_cache(maxsize=4096)  # eager calls repeat the same arguments
def cheapest(
    names: tuple[str, ...],
    task: tuple[Any, ...],
    shape: tuple[Any, ...],
    machines: tuple[Machine, ...],
    with_gradients: bool,
) -> tuple[str, str]:
    """Return the names of the methods with the lowest time, for the forward and the backward pass.

    With several machines, the sum of their times counts. On PyTorch one method runs both passes, so
    with gradients the sum over both passes counts.
    """
    if not all(machine in shipped_rates() for machine in machines):
        return RESIZE.name, RESIZE.name
    batch, spatial, channels, filters = shape
    lengths = [_TYPICAL_LENGTH if n is None else n for n in (batch, *spatial)]
    full_shape = Shape(lengths[0], tuple(lengths[1:]), channels, filters)
    works = {name: METHODS[name].work(Task(*task), full_shape) for name in names}

    def fastest(*passes: str) -> str:
        rates = [shipped_rates()[machine][name] for machine in machines for name in passes]
        return min(works, key=lambda name: seconds(works[name], *rates))

    if machines[0][0] == "torch":
        both = fastest(*PASSES) if with_gradients else fastest("forward")
        return both, both
    return fastest("forward"), fastest("backward")


def choose(x: Tensor, kernel: Tensor, task: Task) -> tuple[Method, Method]:
    """Return the methods of the forward and the backward pass, for the engine and device of `x`."""
    device, dtype = "cpu" if on_cpu(x) else "gpu", keras.backend.standardize_dtype(x.dtype)
    machines = tuple((engine, device, dtype) for engine in engines())
    spatial = tuple(
        static_length(x.shape[axis]) for axis in spatial_axes(task.rank, task.data_format)
    )
    channels, filters = task.groups * index(kernel.shape[-2]), index(kernel.shape[-1])
    shape = Shape(static_length(x.shape[0]), spatial, channels, filters)
    # `torch.compile` passes only plain tuples to functions that it does not trace.
    plain = tuple(task), tuple(shape)
    with_gradients = recorded_by_torch(x, kernel)
    forward, backward = _cheapest(possible(task, shape), *plain, machines, with_gradients)
    return METHODS[forward], METHODS[backward]


@traced_as_constant
def _cheapest(*arguments: Any) -> tuple[str, str]:
    return cheapest(*arguments)
