"""The parts of a model that accept maps of any size."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
from keras import tree

from keras_upsampling._types import Shape
from keras_upsampling.auditing.layout import formats_of, graph_of
from keras_upsampling.auditing.scaled import of_any_size
from keras_upsampling.auditing.trace import Call, inputs_of, is_functional, shapes_of
from keras_upsampling.auditing.twins import paired


class Part(NamedTuple):
    """A part of a model that may accept maps of other sizes than the model itself.

    Attributes:
        model: The part, or a copy of it.
        inputs: Its inputs at the size of the model, one example each, as `keras.KerasTensor`s.
        data_formats: The data format of each input.
        place: Where the part is in the model, in words; empty for the whole model.
        is_graph: Whether it is a graph for one size. `resize_part` makes graphs for other sizes.
        any_size: Whether the model declares that its maps may have any size.
    """

    model: keras.Model
    inputs: Any
    data_formats: tuple[str, ...]
    place: str
    is_graph: bool
    any_size: bool


def resize_part(part: Part, shapes: Sequence[Sequence[int]]) -> Part:
    """Return a part for inputs of other shapes.

    Args:
        part: The part.
        shapes: The shape of each input, in the data format of that input.

    Raises:
        ValueError: If the output keeps its shape although the shapes of the inputs change.
    """
    if not part.is_graph:
        return part
    inputs = [
        keras.Input(batch_shape=shape, dtype=x.dtype, name=x.name)
        for x, shape in zip(tree.flatten(part.inputs), shapes, strict=True)
    ]
    model = keras.models.clone_model(
        part.model,
        input_tensors=tree.pack_sequence_as(part.inputs, inputs),
        clone_function=lambda operation: operation,
    )
    grows = _first_tensor(model.output).shape != _first_tensor(part.model.output).shape
    if not grows and tuple(map(tuple, shapes)) != shapes_of(part.inputs):
        raise ValueError("its output does not grow with its input")
    return part._replace(model=model)


def last_parts(call: Call) -> Iterator[Part]:
    """Yield the parts of a called model that end in its output, the longest one first.

    A caller takes the first part that can be called with maps of another size.
    """
    yield from _parts_of(call, _parts_to_output)


def first_parts(call: Call) -> Iterator[Part]:
    """Yield the parts of a called model that begin at its input, the longest one first."""
    yield from _parts_of(call, _parts_from_input)


def _parts_of(call: Call, find_parts: Callable[[keras.Model], Iterator[Part]]) -> Iterator[Part]:
    model = call.operation
    (args, kwargs), shapes = call.arguments, shapes_of(call.arguments)
    if is_functional(model):
        with contextlib.suppress(Exception):  # layers may raise any error
            any_size = any(None in shape[1:] for shape in shapes_of(inputs_of(model)))
            for part in find_parts(_flattened(model, shapes)):
                yield part._replace(any_size=any_size)
            return
    # What another kind of model computes is known only from calling it.
    if len(args) == 1 and not shapes_of(kwargs) and any(len(shape) >= 3 for shape in shapes):
        inputs = tree.map_structure(
            lambda x: keras.KerasTensor((1, *x.shape[1:]), dtype=x.dtype), args[0]
        )
        yield Part(model, inputs, call.data_formats, "", False, False)
    to_output = find_parts is _parts_to_output
    for child in call.children[::-1] if to_output else call.children:
        same_end = (
            child.outputs[:1] == call.outputs[:1] if to_output else child.inputs == call.inputs
        )
        if same_end and isinstance(child.operation, keras.Model):
            for part in _parts_of(child, find_parts):
                yield part._replace(
                    place=" ".join(filter(None, [part.place, f"in {child.path[-1]}"]))
                )


def _parts_to_output(flat: keras.Model) -> Iterator[Part]:
    yield from _part_between(flat.input, _first_tensor(flat.output), "")
    for operation in _reshaping_operations(flat):
        place = f"after {operation.name}"
        output = _first_tensor(flat.output)
        yield from _part_between(operation.output, output, place, flat.inputs)


def _parts_from_input(flat: keras.Model) -> Iterator[Part]:
    yield from _part_between(flat.input, _first_tensor(flat.output), "")
    for operation in _reshaping_operations(flat)[::-1]:
        place = f"before {operation.name}"
        yield from _part_between(flat.input, _first_tensor(operation.input), place)


def _first_tensor(tensors: Any) -> keras.KerasTensor:
    return tree.flatten(tensors)[0]


def _flattened(model: keras.Model, shapes: Sequence[Shape]) -> keras.Model:
    """Return a copy of a functional model and its weights without nested models.

    The copy is a graph for one example of inputs of the given shapes. All sizes are fixed: for an
    unknown size, some layers find their output shape by a call with large stand-in inputs.
    """
    duplicates: dict[int, tuple[Any, Any]] = {}

    def duplicate_of(operation: Any) -> Any:
        if is_functional(operation):
            return operation
        if id(operation) not in duplicates:
            # Functions, and layers without `get_config`, cannot be created anew: share their
            # state, but leave the graphs that they belong to.
            duplicate = object.__new__(type(operation))
            duplicate.__dict__.update(vars(operation), _inbound_nodes=[], _outbound_nodes=[])
            with contextlib.suppress(Exception):
                duplicate = type(operation).from_config(operation.get_config())
            duplicates[id(operation)] = operation, duplicate
        return duplicates[id(operation)][1]

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.Sequential):
            (x,) = args
            for layer in operation.layers:
                x = apply(duplicate_of(layer), x)
            return x
        if is_functional(operation):
            return apply_functional(operation, args[0] if len(args) == 1 else list(args))
        return of_any_size(operation, *args)(*args, **kwargs)

    def apply_functional(functional: Any, inputs: Any) -> Any:
        inputs = tree.pack_sequence_as(functional.input, tree.flatten(inputs))
        return keras.models.clone_model(
            functional, input_tensors=inputs, clone_function=duplicate_of, call_function=apply
        ).output

    model_inputs = inputs_of(model)
    tensors = [
        keras.Input(batch_shape=(1, *shape[1:]), dtype=x.dtype, name=x.name)
        for x, shape in zip(tree.flatten(model_inputs), shapes, strict=True)
    ]
    inputs = tree.pack_sequence_as(model_inputs, tensors)
    flat = keras.Model(inputs, apply(model, inputs))
    for operation, duplicate in duplicates.values():
        if isinstance(operation, keras.Layer) and duplicate is not operation:
            for variable, twin in paired(operation.weights, duplicate.weights, operation.name):
                twin.assign(variable)
    return flat


def _reshaping_operations(flat: keras.Model) -> list[keras.Operation]:
    """Return the operations whose input or output may not be a map, in order."""
    reshaping = []
    for operation in flat.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        ranks = {len(shape) for shape in shapes_of([operation.input, operation.output])}
        if len(ranks) > 1 or isinstance(operation, (keras.layers.Reshape, keras.layers.Flatten)):
            reshaping.append(operation)
    return reshaping


def _part_between(
    x: Any, y: keras.KerasTensor, place: str, model_inputs: Sequence[keras.KerasTensor] = ()
) -> Iterator[Part]:
    """Yield the part from `x` to `y` if both are maps.

    The part also takes the model's inputs if it needs them.
    """
    if len(y.shape) < 3 or all(len(shape) != len(y.shape) for shape in shapes_of(x)):
        return
    for inputs in (x, [_first_tensor(x), *model_inputs]):
        # Keras raises if `y` depends on tensors other than these.
        with contextlib.suppress(Exception):
            part = keras.Model(inputs, y)
            formats = formats_of(graph_of(part))
            data_formats = tuple(formats[id(tensor)] for tensor in tree.flatten(part.input))
            yield Part(part, part.input, data_formats, place, True, False)
            return
