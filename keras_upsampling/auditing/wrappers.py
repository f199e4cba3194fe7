"""Wrappers that run their inner layer without calling it."""

from __future__ import annotations

from keras import layers

from keras_upsampling._types import Shape
from keras_upsampling.auditing.trace import Call


def opened(call: Call) -> Call:
    """Return a call in which wrappers are replaced by calls of their inner layers.

    The inner layer of `TimeDistributed` gets one call for all time steps, on maps with time as
    their first spatial axis.
    """
    operation = call.operation
    if isinstance(operation, layers.TimeDistributed):
        time_steps = max(1, call.inputs[0][1] or 1)
        children = _first_time_step(call.children, time_steps)
        return opened(_inner_call(call, tuple(_with_time(child, time_steps) for child in children)))
    # A wrapper that has called its layer has that call among its children already.
    if isinstance(operation, layers.Wrapper) and not call.children:
        return opened(_inner_call(call, ()))
    return call._replace(children=tuple(map(opened, call.children)))


def _inner_call(call: Call, children: tuple[Call, ...]) -> Call:
    layer = call.operation.layer
    return call._replace(operation=layer, path=(*call.path, layer.name), children=children)


def _first_time_step(children: tuple[Call, ...], time_steps: int) -> tuple[Call, ...]:
    """Return the calls of the first time step, or all if the time steps have different calls."""
    count = len(children) // time_steps
    operations = [id(child.operation) for child in children]
    return children[:count] if operations == operations[:count] * time_steps else children


def _with_time(call: Call, time_steps: int) -> Call:
    """Insert the time axis after the batch axis in all shapes of a call."""

    def with_time(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        return tuple((*shape[:1], time_steps, *shape[1:]) for shape in shapes)

    return call._replace(
        inputs=with_time(call.inputs),
        outputs=with_time(call.outputs),
        children=tuple(_with_time(child, time_steps) for child in call.children),
    )
