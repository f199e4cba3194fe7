"""The choice of the method with the lowest estimated time, or with the least memory."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras

from keras_upsampling._shapes import spatial_axes
from keras_upsampling._types import Tensor
from keras_upsampling.ops._upsample_conv.known_rates import rates_of, use
from keras_upsampling.ops._upsample_conv.method import Method
from keras_upsampling.ops._upsample_conv.methods import METHODS, PASSES
from keras_upsampling.ops._upsample_conv.rate_file import Rates
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import HELD, HELD_IN_TRAINING, Work
from keras_upsampling.ops.devices import device_of, engines
from keras_upsampling.ops.gradient import recorded_by_torch
from keras_upsampling.ops.tables import static_length, traced_as_constant

# An engine, a device as `device_of` names it, and a dtype.
Machine: TypeAlias = tuple[str, str, str]


class Goal(NamedTuple):
    """What methods are chosen for: one of the `PREFERENCES`, on an engine, in a dtype.

    Dtype and device count for memory alone: in half precision some methods take float32, where a
    value counts as two.
    """

    engine: str
    with_gradients: bool
    preference: str = "time"
    dtype: str = "float32"
    on_cpu: bool = True


# What a method can be chosen for.
PREFERENCES = ("time", "memory")
_preferred = PREFERENCES[0]

# The length that is assumed for an unknown axis, also for the batch.
_TYPICAL_LENGTH = 32


def preferred() -> str:
    """Return what methods are chosen for, one of `PREFERENCES`."""
    return _preferred


def prefer(what: str) -> None:
    """Set what methods are chosen for from now on."""
    global _preferred
    _preferred = what


def use_rates(source: str | Path | None) -> None:
    """Set where rates are looked up, as `config.set_rates` documents; forget earlier choices."""
    use(source)
    cheapest.cache_clear()


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
    preference: str = "time",
) -> tuple[str, str]:
    """Return the names of the best methods for the forward and the backward pass.

    Without rates of a machine, upsampling and then convolving is the quickest known method. The
    amounts of memory need no rates.
    """
    known = [rates_of(*machine) for machine in machines]
    rates = [entry.rates for entry in known if entry is not None]
    if len(rates) < len(machines):
        if preference == "time":
            return METHODS["resize"].name, METHODS["resize"].name
        rates = []
    engine, device, dtype = machines[0]
    goal = Goal(engine, with_gradients, preference, dtype, device == "cpu")
    return best(names, Task(*task), Shape(*shape), rates, goal)


def best(
    names: Sequence[str],
    task: Task,
    shape: Shape,
    rates: Sequence[Mapping[str, Rates]],
    goal: Goal,
) -> tuple[str, str]:
    """Return the names of the best methods for the forward and the backward pass, by given rates.

    With several sets of rates, the sum of their times counts. On PyTorch one method runs both
    passes, so with gradients the sum over both passes counts. For memory, the number of values
    held at once counts, and time only among equals.
    """
    lengths = [_TYPICAL_LENGTH if n is None else n for n in (shape.batch, *shape.spatial)]
    full_shape = shape._replace(batch=lengths[0], spatial=tuple(lengths[1:]))
    works = {name: METHODS[name].work(task, full_shape) for name in names}

    def first(*passes: str) -> str:
        used = [machine_rates[name] for machine_rates in rates for name in passes]
        held = HELD_IN_TRAINING if "backward" in passes else HELD

        def cost(name: str) -> tuple[float, float]:
            time = seconds(works[name], *used)
            if goal.preference == "time":
                return 0.0, time
            wide = 1 + METHODS[name].computes_in_float32(goal.dtype, goal.on_cpu)
            return works[name][held] * wide, time

        return min(works, key=cost)

    if goal.engine == "torch":
        both = first(*PASSES) if goal.with_gradients else first("forward")
        return both, both
    return first("forward"), first("backward")


def choose(x: Tensor, kernel: Tensor, task: Task) -> tuple[Method, Method]:
    """Return the methods of the forward and the backward pass, for the engine and device of `x`."""
    device, dtype = device_of(x), keras.backend.standardize_dtype(x.dtype)
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
    return cheapest(*arguments, preferred())
