"""The parts of a model that take maps of any size."""

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
    """A part of a model, to be called with maps of other sizes if it takes them.

    Attributes:
        model: The part, or a copy of it.
        inputs: What it takes in the model's own size, one sample of each, as
            `keras.KerasTensor`s.
        data_formats: Of each of them.
        place: Where it is in the model, in words; empty for the whole.
        is_graph: Whether it is a graph for one size, of which `resized` makes others.
        any_size: Whether the model says that its maps may have any size.
    """

    model: keras.Model
    inputs: Any
    data_formats: tuple[str, ...]
    place: str
    is_graph: bool
    any_size: bool


def resized(part: Part, shapes: Sequence[Sequence[int]]) -> Part:
    """Return a part for inputs of those shapes, each as `part.data_formats` has it.

    Raises:
        ValueError: what it makes does not grow with what it is given.
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
    grows = _first(model.output).shape != _first(part.model.output).shape
    if not grows and tuple(map(tuple, shapes)) != shapes_of(part.inputs):
        raise ValueError("what it makes does not grow with what it is given")
    return part._replace(model=model)


def last_parts(call: Call) -> Iterator[Part]:
    """Yield what may be the longest part of a called model that ends in its output.

    The first of them that can be called with maps of another size is that part.
    """
    yield from _parts(call, _from_maps)


def first_parts(call: Call) -> Iterator[Part]:
    """Yield what may be the longest part of a called model that begins with its input."""
    yield from _parts(call, _up_to_maps)


def _parts(call: Call, of_graph: Callable[[keras.Model], Iterator[Part]]) -> Iterator[Part]:
    model = call.operation
    (args, kwargs), shapes = call.arguments, shapes_of(call.arguments)
    if is_functional(model):
        with contextlib.suppress(Exception):  # of layers of any kind
            any_size = any(None in shape[1:] for shape in shapes_of(inputs_of(model)))
            for part in of_graph(_flattened(model, shapes)):
                yield part._replace(any_size=any_size)
            return
    # What a model of another kind does is known only by calling it.
    if len(args) == 1 and not shapes_of(kwargs) and any(len(shape) >= 3 for shape in shapes):
        inputs = tree.map_structure(
            lambda x: keras.KerasTensor((1, *x.shape[1:]), dtype=x.dtype), args[0]
        )
        yield Part(model, inputs, call.data_formats, "", False, False)
    last = of_graph is _from_maps
    for child in call.children[::-1] if last else call.children:
        same = child.outputs[:1] == call.outputs[:1] if last else child.inputs == call.inputs
        if same and isinstance(child.operation, keras.Model):
            for part in _parts(child, of_graph):
                yield part._replace(
                    place=" ".join(filter(None, [part.place, f"in {child.path[-1]}"]))
                )


def _from_maps(flat: keras.Model) -> Iterator[Part]:
    yield from _between(flat.input, _first(flat.output), "")
    for operation in _reshaping(flat):
        place = f"after {operation.name}"
        yield from _between(operation.output, _first(flat.output), place, flat.inputs)


def _up_to_maps(flat: keras.Model) -> Iterator[Part]:
    yield from _between(flat.input, _first(flat.output), "")
    for operation in _reshaping(flat)[::-1]:
        yield from _between(flat.input, _first(operation.input), f"before {operation.name}")


def _first(tensors: Any) -> keras.KerasTensor:
    return tree.flatten(tensors)[0]


def _flattened(model: keras.Model, shapes: Sequence[Shape]) -> keras.Model:
    """Return a copy of a functional model, models inside it taken apart, with its weights.

    It is a graph for one sample of inputs of those shapes. Sizes are never left open: some layers
    can be asked what they would make only by calling them, with large stand-ins.
    """
    copies: dict[int, tuple[Any, Any]] = {}

    def copied(operation: Any) -> Any:
        if is_functional(operation):
            return operation
        if id(operation) not in copies:
            # Functions, and layers without a `get_config`, have no copy: then it is the same again,
            # but for the graphs that it is a part of.
            again = object.__new__(type(operation))
            again.__dict__.update(vars(operation), _inbound_nodes=[], _outbound_nodes=[])
            with contextlib.suppress(Exception):
                again = type(operation).from_config(operation.get_config())
            copies[id(operation)] = operation, again
        return copies[id(operation)][1]

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.Sequential):
            (x,) = args
            for layer in operation.layers:
                x = apply(copied(layer), x)
            return x
        if is_functional(operation):
            return through(operation, args[0] if len(args) == 1 else list(args))
        return of_any_size(operation, *args)(*args, **kwargs)

    def through(functional: Any, inputs: Any) -> Any:
        inputs = tree.pack_sequence_as(functional.input, tree.flatten(inputs))
        return keras.models.clone_model(
            functional, input_tensors=inputs, clone_function=copied, call_function=apply
        ).output

    known = inputs_of(model)
    inputs = [
        keras.Input(batch_shape=(1, *shape[1:]), dtype=x.dtype, name=x.name)
        for x, shape in zip(tree.flatten(known), shapes, strict=True)
    ]
    given = tree.pack_sequence_as(known, inputs)
    flat = keras.Model(given, apply(model, given))
    for operation, again in copies.values():
        if isinstance(operation, keras.Layer) and again is not operation:
            for variable, twin in paired(operation.weights, again.weights, operation.name):
                twin.assign(variable)
    return flat


def _reshaping(flat: keras.Model) -> list[keras.Operation]:
    """Return the operations before or after which there may be no map, in order."""
    found = []
    for operation in flat.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        ranks = {len(shape) for shape in shapes_of([operation.input, operation.output])}
        if len(ranks) > 1 or isinstance(operation, (keras.layers.Reshape, keras.layers.Flatten)):
            found.append(operation)
    return found


def _between(
    x: Any, y: keras.KerasTensor, place: str, others: Sequence[keras.KerasTensor] = ()
) -> Iterator[Part]:
    """Yield the part from `x` to `y`, if they are maps; from other inputs too if it needs them."""
    if len(y.shape) < 3 or all(len(shape) != len(y.shape) for shape in shapes_of(x)):
        return
    for inputs in (x, [_first(x), *others]):
        # Refused if it needs what comes before.
        with contextlib.suppress(Exception):
            part = keras.Model(inputs, y)
            formats = formats_of(graph_of(part))
            given = tuple(formats[id(tensor)] for tensor in tree.flatten(part.input))
            yield Part(part, part.input, given, place, True, False)
            return
