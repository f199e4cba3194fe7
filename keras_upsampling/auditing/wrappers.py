"""Layers that hold another one and run it without calling it."""

from __future__ import annotations

from keras import layers

from keras_upsampling._types import Shape
from keras_upsampling.auditing.trace import Call


def opened(call: Call) -> Call:
    """Return a call in which wrappers call what they hold.

    What `TimeDistributed` runs at every time is one call on maps that have time as their first
    axis, as what it is given and makes has.
    """
    operation = call.operation
    if isinstance(operation, layers.TimeDistributed):
        moments = max(1, call.inputs[0][1] or 1)
        each = [_with_time(child, moments) for child in _first_time(call.children, moments)]
        return opened(_inner(call, tuple(each)))
    # Wrappers that call what they hold have told so.
    if isinstance(operation, layers.Wrapper) and not call.children:
        return opened(_inner(call, ()))
    return call._replace(children=tuple(map(opened, call.children)))


def _inner(call: Call, children: tuple[Call, ...]) -> Call:
    layer = call.operation.layer
    return call._replace(operation=layer, path=(*call.path, layer.name), children=children)


def _first_time(children: tuple[Call, ...], moments: int) -> tuple[Call, ...]:
    """Return the calls of the first time, if every time has the same."""
    count = len(children) // moments
    operations = [id(child.operation) for child in children]
    return children[:count] if operations == operations[:count] * moments else children


def _with_time(call: Call, moments: int) -> Call:
    def moved(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        return tuple((*shape[:1], moments, *shape[1:]) for shape in shapes)

    return call._replace(
        inputs=moved(call.inputs),
        outputs=moved(call.outputs),
        children=tuple(_with_time(child, moments) for child in call.children),
    )
