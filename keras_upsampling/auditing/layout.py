"""Which axis of every map of a called model holds the channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, get_args

import keras
import numpy as np
from keras import tree

from keras_upsampling._types import DataFormat, Shape
from keras_upsampling.auditing.trace import (
    Call,
    all_calls,
    data_format_of,
    is_functional,
    leaf_calls,
    shapes_of,
)

_N = TypeVar("_N")

_FORMATS = get_args(DataFormat)
# A different length for each axis, batch first: they tell where each axis goes.
_LENGTHS = (2, 3, 5, 7, 11)


class _Relation(NamedTuple):
    """What one tensor is made from another by.

    Attributes:
        source: The number of the one.
        target: The number of the other.
        axes: Which axis of the source each axis of the target is.
    """

    source: int
    target: int
    axes: tuple[int, ...]


def formats_of(call: Call) -> dict[int, str]:
    """Return the data format of every map in a call, by the number of its tensor.

    Layers that have a data format tell it. From them it follows for what comes before and after:
    a layer without one keeps it, unless it permutes the axes. What is still unknown has that of
    the first layer that has one, or Keras's setting.
    """
    formats: dict[int, str] = {}
    for one in reversed(list(all_calls(call))):  # the innermost know best
        own = str(getattr(one.operation, "data_format", ""))
        if own in _FORMATS:
            ends = [*zip(one.input_ids[:1], one.inputs[:1], strict=True)]
            ends += zip(one.output_ids, one.outputs, strict=True)
            for tensor, shape in ends:
                if _is_map(shape):
                    formats.setdefault(tensor, own)
    relations = list(_relations(call))
    _spread(formats, relations)
    usual = data_format_of(one.operation for one in leaf_calls(call))
    for one in all_calls(call):
        for tensor in (*one.input_ids, *one.output_ids):
            if tensor not in formats:
                formats[tensor] = usual
                _spread(formats, relations)
    return formats


def _spread(formats: dict[int, str], relations: Sequence[_Relation]) -> None:
    """Add to the known formats those that follow from them."""
    known = -1
    while known < len(formats):
        known = len(formats)
        for source, target, axes in [*relations, *relations[::-1]]:
            _carry(formats, source, target, axes)
            back = tuple(axes.index(axis) for axis in range(len(axes)))
            _carry(formats, target, source, back)


def with_channels_last(call: Call, formats: dict[int, str]) -> Call:
    """Return a call with the shapes of all its maps as if their channels were the last axis."""

    def moved(shapes: tuple[Shape, ...], tensors: tuple[int, ...]) -> tuple[Shape, ...]:
        return tuple(
            channels_last_shape(shape, formats[tensor])
            for shape, tensor in zip(shapes, tensors, strict=True)
        )

    return call._replace(
        inputs=moved(call.inputs, call.input_ids),
        outputs=moved(call.outputs, call.output_ids),
        children=tuple(with_channels_last(child, formats) for child in call.children),
        data_formats=tuple(formats[tensor] for tensor in call.input_ids),
    )


def channels_last_shape(shape: tuple[_N, ...], data_format: str) -> tuple[_N, ...]:
    """Return the shape of a map with its channels as the last axis; others as they are."""
    if data_format == "channels_last" or not _is_map(shape):
        return shape
    return (shape[0], *shape[2:], shape[1])


def in_format(x: np.ndarray, data_format: str) -> np.ndarray:
    """Return an array with its last axis, the channels, where the data format has them."""
    if data_format == "channels_last" or not _is_map(x.shape):
        return x
    return np.moveaxis(x, -1, 1)


def input_format(model: keras.Model) -> str:
    """Return the data format of a model's first input, before it has been called."""
    if not is_functional(model) or not model.built:
        return data_format_of([model])
    call = graph_of(model)
    return formats_of(call)[call.input_ids[0]]


def graph_of(model: keras.Model) -> Call:
    """Return the graph of a functional model as a call of it.

    Of a layer that is called more than once, the first call.
    """

    def call_of(operation: Any, path: tuple[str, ...]) -> Call:
        path = (*path, operation.name)
        inputs: Any = []
        parts: tuple[Call, ...] = ()
        outputs = operation.output if not is_functional(operation) else operation.outputs
        if is_functional(operation):
            inputs = operation.inputs
            operations = getattr(operation, "operations", operation.layers)
            parts = tuple(call_of(one, path) for one in operations)
        elif not isinstance(operation, keras.layers.InputLayer):
            inputs = operation.input
        given, made = (tuple(map(id, tree.flatten(end))) for end in (inputs, outputs))
        shapes = shapes_of(inputs), shapes_of(outputs)
        return Call(operation, path, *shapes, given, made, parts, ((inputs,), {}))

    return call_of(model, ())


def _is_map(shape: Sequence[Any]) -> bool:
    return len(shape) in (3, 4, 5)


def _carry(formats: dict[int, str], source: int, target: int, axes: tuple[int, ...]) -> None:
    if source not in formats or target in formats:
        return
    last = len(axes) - 1
    channels = axes.index(last if formats[source] == "channels_last" else 1)
    if channels in (1, last):
        formats[target] = "channels_last" if channels == last else "channels_first"


def _relations(call: Call) -> Iterator[_Relation]:
    """Yield what follows from what, of one rank, through layers and in between them."""
    latest: dict[Shape, int] = {}
    by_rank: dict[int, int] = {}
    known: set[int] = set()

    def keep(shapes: tuple[Shape, ...], tensors: tuple[int, ...]) -> None:
        known.update(tensors)
        latest.update(zip(shapes, tensors, strict=True))
        by_rank.update((len(shape), tensor) for shape, tensor in zip(shapes, tensors, strict=True))

    def link(shape: Shape, tensor: int) -> Iterator[_Relation]:
        # No step made it: a cast or a function of tensors did, from what was there before.
        if tensor in known or not _is_map(shape):
            return
        for axes in _turns(len(shape)):
            before = tuple(shape[axes.index(axis)] for axis in range(len(axes)))
            if before in latest:
                yield _Relation(latest[before], tensor, axes)
                return
        if len(shape) in by_rank:
            yield _Relation(by_rank[len(shape)], tensor, tuple(range(len(shape))))

    keep(call.inputs, call.input_ids)
    for step in leaf_calls(call):
        for shape, tensor in zip(step.inputs, step.input_ids, strict=True):
            yield from link(shape, tensor)
        for start, source in zip(step.inputs, step.input_ids, strict=True):
            for shape, target in zip(step.outputs, step.output_ids, strict=True):
                if _is_map(shape) and len(shape) == len(start) and source != target:
                    axes = (
                        permutation_of(step) if source == step.input_ids[0] else range(len(shape))
                    )
                    yield _Relation(source, target, tuple(axes))
        keep(step.inputs, step.input_ids)
        keep(step.outputs, step.output_ids)
    for shape, tensor in zip(call.outputs, call.output_ids, strict=True):
        yield from link(shape, tensor)


def _turns(rank: int) -> tuple[tuple[int, ...], ...]:
    """Return axes as they are, with the channels moved to the end, and to the front."""
    axes = tuple(range(rank))
    return axes, (0, *axes[2:], 1), (0, axes[-1], *axes[1:-1])


def permutation_of(step: Call) -> tuple[int, ...]:
    """Return which axis of what a step is given each axis of what it makes is.

    It is tried out on lengths that all differ. What does not permute keeps the axes.
    """
    start, end = step.inputs[0], step.outputs[0]
    same, *turns = _turns(len(end))
    if sorted(map(str, start)) != sorted(map(str, end)):
        return same
    if start == end and len(set(end[1:])) > 1:
        return same
    lengths = _LENGTHS[: len(end)]
    made = outputs_for(step, lengths)
    if made is not None and sorted(made) == sorted(lengths):
        return tuple(lengths.index(n) for n in made)
    # It does not take such a map; then its own shapes tell.
    fitting = [axes for axes in turns if tuple(start[axis] for axis in axes) == end]
    return fitting[0] if start != end and fitting else same


def outputs_for(step: Call, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return the shape that a step would make of another one; None if it does not take it."""
    arguments, names = step.arguments
    first, *others = tree.flatten((arguments, names)) or [None]
    if not isinstance(first, keras.KerasTensor):
        return None
    given = tree.pack_sequence_as(
        (arguments, names), [keras.KerasTensor(shape, first.dtype), *others]
    )
    try:
        made = step.operation.compute_output_spec(*given[0], **given[1])
    except Exception:  # of whatever it does with such a map
        return None
    tensors = [x for x in tree.flatten(made) if hasattr(x, "shape")]
    return tuple(n or 0 for n in tensors[0].shape) if tensors else None
