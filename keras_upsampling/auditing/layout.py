"""Determine the data format of every map of a called model."""

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
# Different lengths for all axes, batch first, so that the output's lengths show a permutation.
_TEST_LENGTHS = (2, 3, 5, 7, 11)


class _Relation(NamedTuple):
    """A tensor computed from another of the same rank.

    Attributes:
        source: Number of the tensor that it is computed from.
        target: Number of the computed tensor.
        axes: For each axis of the target, the axis of the source.
    """

    source: int
    target: int
    axes: tuple[int, ...]


def formats_of(call: Call) -> dict[int, str]:
    """Return the data format of every map in a call, by the number of its tensor.

    Layers with a `data_format` determine that of their maps. The maps before and after have the
    same one, unless a layer in between permutes the axes. All other maps get the data format of
    the first layer that has one, or Keras's setting.
    """
    formats: dict[int, str] = {}
    for inner in reversed(list(all_calls(call))):  # the innermost calls have precedence
        data_format = str(getattr(inner.operation, "data_format", ""))
        if data_format in _FORMATS:
            tensors = [*zip(inner.input_ids[:1], inner.inputs[:1], strict=True)]
            tensors += zip(inner.output_ids, inner.outputs, strict=True)
            for tensor, shape in tensors:
                if _is_map(shape):
                    formats.setdefault(tensor, data_format)
    relations = list(_relations(call))
    _propagate(formats, relations)
    default = data_format_of(leaf.operation for leaf in leaf_calls(call))
    for inner in all_calls(call):
        for tensor in (*inner.input_ids, *inner.output_ids):
            if tensor not in formats:
                formats[tensor] = default
                _propagate(formats, relations)
    return formats


def _propagate(formats: dict[int, str], relations: Sequence[_Relation]) -> None:
    """Add all data formats that follow from those in `formats`."""
    count = -1
    while count < len(formats):
        count = len(formats)
        for source, target, axes in [*relations, *relations[::-1]]:
            _carry(formats, source, target, axes)
            inverse = tuple(axes.index(axis) for axis in range(len(axes)))
            _carry(formats, target, source, inverse)


def with_channels_last(call: Call, formats: dict[int, str]) -> Call:
    """Return a call with the channels as the last axis in the shapes of all maps."""

    def with_last(shapes: tuple[Shape, ...], tensors: tuple[int, ...]) -> tuple[Shape, ...]:
        return tuple(
            channels_last_shape(shape, formats[tensor])
            for shape, tensor in zip(shapes, tensors, strict=True)
        )

    return call._replace(
        inputs=with_last(call.inputs, call.input_ids),
        outputs=with_last(call.outputs, call.output_ids),
        children=tuple(with_channels_last(child, formats) for child in call.children),
        data_formats=tuple(formats[tensor] for tensor in call.input_ids),
    )


def channels_last_shape(shape: tuple[_N, ...], data_format: str) -> tuple[_N, ...]:
    """Return the shape of a map with the channels as the last axis; other shapes unchanged."""
    if data_format == "channels_last" or not _is_map(shape):
        return shape
    return (shape[0], *shape[2:], shape[1])


def in_format(x: np.ndarray, data_format: str) -> np.ndarray:
    """Return an array in a data format; its channels are the last axis before."""
    if data_format == "channels_last" or not _is_map(x.shape):
        return x
    return np.moveaxis(x, -1, 1)


def input_format(model: keras.Model) -> str:
    """Return the data format of a model's first input without calling the model."""
    if not is_functional(model) or not model.built:
        return data_format_of([model])
    call = graph_of(model)
    return formats_of(call)[call.input_ids[0]]


def graph_of(model: keras.Model) -> Call:
    """Return the graph of a functional model as a call.

    If a layer is called more than once, its first call is used.
    """

    def call_of(operation: Any, path: tuple[str, ...]) -> Call:
        path = (*path, operation.name)
        inputs: Any = []
        children: tuple[Call, ...] = ()
        outputs = operation.output if not is_functional(operation) else operation.outputs
        if is_functional(operation):
            inputs = operation.inputs
            operations = getattr(operation, "operations", operation.layers)
            children = tuple(call_of(child, path) for child in operations)
        elif not isinstance(operation, keras.layers.InputLayer):
            inputs = operation.input
        return Call(
            operation=operation,
            path=path,
            inputs=shapes_of(inputs),
            outputs=shapes_of(outputs),
            input_ids=tuple(map(id, tree.flatten(inputs))),
            output_ids=tuple(map(id, tree.flatten(outputs))),
            children=children,
            arguments=((inputs,), {}),
        )

    return call_of(model, ())


def _is_map(shape: Sequence[Any]) -> bool:
    return len(shape) in (3, 4, 5)


def _carry(formats: dict[int, str], source: int, target: int, axes: tuple[int, ...]) -> None:
    """Set the data format of a target that has none, if the source has one."""
    if source not in formats or target in formats:
        return
    last = len(axes) - 1
    channels = axes.index(last if formats[source] == "channels_last" else 1)
    if channels in (1, last):
        formats[target] = "channels_last" if channels == last else "channels_first"


def _relations(call: Call) -> Iterator[_Relation]:
    """Yield the relations between tensors of one rank, through steps and between steps."""
    by_shape: dict[Shape, int] = {}
    by_rank: dict[int, int] = {}
    recorded: set[int] = set()

    def record(shapes: tuple[Shape, ...], tensors: tuple[int, ...]) -> None:
        recorded.update(tensors)
        by_shape.update(zip(shapes, tensors, strict=True))
        by_rank.update((len(shape), tensor) for shape, tensor in zip(shapes, tensors, strict=True))

    def link(shape: Shape, tensor: int) -> Iterator[_Relation]:
        # A map that no step computed comes from a cast or an unrecorded function.
        if tensor in recorded or not _is_map(shape):
            return
        for axes in _channel_moves(len(shape)):
            source_shape = tuple(shape[axes.index(axis)] for axis in range(len(axes)))
            if source_shape in by_shape:
                yield _Relation(by_shape[source_shape], tensor, axes)
                return
        if len(shape) in by_rank:
            yield _Relation(by_rank[len(shape)], tensor, tuple(range(len(shape))))

    record(call.inputs, call.input_ids)
    for step in leaf_calls(call):
        for shape, tensor in zip(step.inputs, step.input_ids, strict=True):
            yield from link(shape, tensor)
        for source_shape, source in zip(step.inputs, step.input_ids, strict=True):
            for shape, target in zip(step.outputs, step.output_ids, strict=True):
                if _is_map(shape) and len(shape) == len(source_shape) and source != target:
                    axes = (
                        permutation_of(step) if source == step.input_ids[0] else range(len(shape))
                    )
                    yield _Relation(source, target, tuple(axes))
        record(step.inputs, step.input_ids)
        record(step.outputs, step.output_ids)
    for shape, tensor in zip(call.outputs, call.output_ids, strict=True):
        yield from link(shape, tensor)


def _channel_moves(rank: int) -> tuple[tuple[int, ...], ...]:
    """Return three orders of axes: unchanged, channels moved to the end, and to the front."""
    axes = tuple(range(rank))
    return axes, (0, *axes[2:], 1), (0, axes[-1], *axes[1:-1])


def permutation_of(step: Call) -> tuple[int, ...]:
    """Return for each axis of a step's output which axis of its input it is.

    The step is tested with different lengths for all axes.
    """
    input_shape, output_shape = step.inputs[0], step.outputs[0]
    unchanged, *moves = _channel_moves(len(output_shape))
    if sorted(map(str, input_shape)) != sorted(map(str, output_shape)):
        return unchanged
    if input_shape == output_shape and len(set(output_shape[1:])) > 1:
        return unchanged
    lengths = _TEST_LENGTHS[: len(output_shape)]
    result = outputs_for(step, lengths)
    if result is not None and sorted(result) == sorted(lengths):
        return tuple(lengths.index(n) for n in result)
    # The step does not accept such a map, so compare its own shapes.
    matches = [axes for axes in moves if tuple(input_shape[axis] for axis in axes) == output_shape]
    return matches[0] if input_shape != output_shape and matches else unchanged


def outputs_for(step: Call, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return a step's output shape for another input shape; None if it does not accept it."""
    first, *rest = tree.flatten(step.arguments) or [None]
    if not isinstance(first, keras.KerasTensor):
        return None
    args, kwargs = tree.pack_sequence_as(
        step.arguments, [keras.KerasTensor(shape, first.dtype), *rest]
    )
    try:
        spec = step.operation.compute_output_spec(*args, **kwargs)
    except Exception:  # a layer may raise anything
        return None
    tensors = [x for x in tree.flatten(spec) if hasattr(x, "shape")]
    return tuple(n or 0 for n in tensors[0].shape) if tensors else None
