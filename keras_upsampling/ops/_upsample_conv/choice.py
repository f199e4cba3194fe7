"""The choice among the methods: the one with the least seconds on paper."""

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
from keras_upsampling.ops.gradient import recorded
from keras_upsampling.ops.tables import constant, known

METHODS = {method.name: method for method in (RESIZE, PHASES, ONE_PRODUCT, MATRICES, TRANSPOSED)}

PASSES = ("forward", "backward")

# Seconds that one of each kind of work takes, and what they belong to: engine, device and dtype.
Rates: TypeAlias = Mapping[str, float]
Machine: TypeAlias = tuple[str, str, str]

# What a length is taken to be where it is not known yet, the batch's included.
_TYPICAL_LENGTH = 32


@functools.cache
def shipped_rates() -> dict[Machine, dict[str, Rates]]:
    """Return the rates of every machine that was measured, by pass."""
    text = resources.files(__package__).joinpath("rates.json").read_text(encoding="utf-8")
    return {
        (of["engine"], of["device"], of["dtype"]): {name: of[name] for name in PASSES}
        for of in json.loads(text)
    }


def seconds(work: Work, *rates: Rates) -> float:
    """Return what some work takes by all the rates together; kinds without one take nothing."""
    return sum(number * rate.get(kind, 0.0) for rate in rates for kind, number in work.items())


def possible(task: Task, shape: Shape) -> tuple[str, ...]:
    """Return the names of the methods that do a task exactly."""
    return tuple(method.name for method in METHODS.values() if method.can(task, shape))


@functools.lru_cache(maxsize=4096)  # eager calls ask for the same again and again
def cheapest(
    names: tuple[str, ...],
    task: tuple[Any, ...],
    shape: tuple[Any, ...],
    machines: tuple[Machine, ...],
    with_gradients: bool,
) -> tuple[str, str]:
    """Return which methods have the least seconds, in the forward and in the backward pass.

    Where there are more machines than one, what all take together counts. PyTorch's gradients are
    those of the method that went forward, so there the sum counts if there will be any.
    """
    if not all(machine in shipped_rates() for machine in machines):
        return RESIZE.name, RESIZE.name
    task, (batch, spatial, *others) = Task(*task), shape
    lengths = [_TYPICAL_LENGTH if n is None else n for n in (batch, *spatial)]
    guessed = Shape(lengths[0], tuple(lengths[1:]), *others)
    works = {name: METHODS[name].work(task, guessed) for name in names}

    def least(*passes: str) -> str:
        rates = [shipped_rates()[machine][name] for machine in machines for name in passes]
        return min(works, key=lambda name: seconds(works[name], *rates))

    if machines[0][0] == "torch":
        both = least(*PASSES) if with_gradients else least("forward")
        return both, both
    return least("forward"), least("backward")


def choose(x: Tensor, kernel: Tensor, task: Task) -> tuple[Method, Method]:
    """Return the methods of the forward and of the backward pass, on what runs this."""
    device, dtype = "cpu" if on_cpu(x) else "gpu", keras.backend.standardize_dtype(x.dtype)
    machines = tuple((engine, device, dtype) for engine in engines())
    spatial = tuple(known(x.shape[axis]) for axis in spatial_axes(task.rank, task.data_format))
    channels, filters = task.groups * index(kernel.shape[-2]), index(kernel.shape[-1])
    shape = Shape(known(x.shape[0]), spatial, channels, filters)
    # `torch.compile` hands plain tuples alone to what it does not trace.
    plain = tuple(task), tuple(shape)
    forward, backward = _cheapest(possible(task, shape), *plain, machines, recorded(x, kernel))
    return METHODS[forward], METHODS[backward]


@constant
def _cheapest(*arguments: Any) -> tuple[str, str]:
    return cheapest(*arguments)
