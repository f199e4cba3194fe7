"""What a model calls when it is called, and the parts of it that take maps of any size."""

from __future__ import annotations

import contextlib
import functools
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
from keras import tree

from keras_upsampling._arguments import spatial_axes
from keras_upsampling._types import Shape


class Call(NamedTuple):
    """One call of a layer, or of an operation of a functional model.

    Attributes:
        operation: What was called.
        path: The names of the models and layers that it was called in, and its own.
        inputs: The shapes of the tensors that it was given.
        outputs: The shapes of those that it gave.
        given: What tells the former apart from other tensors of the same run.
        made: What tells the latter apart.
        children: What it called itself.
    """

    operation: keras.Operation
    path: tuple[str, ...]
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    given: tuple[int, ...]
    made: tuple[int, ...]
    children: tuple[Call, ...]


def calls_of(model: Callable[..., Any], inputs: Any) -> tuple[Any, Call]:
    """Return what `model(inputs)` gives, and every call in it."""
    with _recorded() as made:
        outputs = model(inputs, training=False)
    return outputs, made[-1]


def calls(call: Call) -> Iterator[Call]:
    """Yield a call, and all that were made in it."""
    yield call
    for child in call.children:
        yield from calls(child)


def leaves(call: Call) -> Iterator[Call]:
    """Yield the calls in which no other was made, in their order."""
    return (one for one in calls(call) if not one.children)


def shapes_of(tensors: Any) -> tuple[Shape, ...]:
    """Return the shape of every tensor in a structure."""
    return tuple(tuple(x.shape) for x in _tensors(tensors))


def _tensors(structure: Any) -> list[Any]:
    return [x for x in tree.flatten(structure) if hasattr(x, "shape")]


# One listener at a time: a second one would keep the first one for the original.
_LISTENING = threading.RLock()


@contextlib.contextmanager
def _recorded() -> Iterator[list[Call]]:
    """Collect the calls of this thread while the context lasts.

    Every layer of every backend is called through `keras.Operation.__call__`, those inside of
    subclassed models too, which no public graph shows. So that is what listens for a while.
    """
    with _LISTENING:
        original = keras.Operation.__call__
        thread = threading.get_ident()
        names: list[str] = []
        levels: list[list[Call]] = [[]]
        kept: list[Any] = []  # an `id` is one tensor's only as long as that lives

        def listening(self: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return original(self, *args, **kwargs)
            names.append(self.name)
            levels.append([])
            try:
                outputs = original(self, *args, **kwargs)
            finally:
                children = tuple(levels.pop())
                path = tuple(names)
                names.pop()
            given, made = _tensors((args, kwargs)), _tensors(outputs)
            kept.append((given, made))
            shapes = shapes_of(given), shapes_of(made)
            ids = tuple(map(id, given)), tuple(map(id, made))
            levels[-1].append(Call(self, path, *shapes, *ids, children))
            return outputs

        keras.Operation.__call__ = listening
        try:
            yield levels[0]
        finally:
            keras.Operation.__call__ = original


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave Python's random numbers, which Keras draws its seeds from, where they are."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


class Part(NamedTuple):
    """A part of a model, to be called with maps of any size.

    Attributes:
        model: The part, or a copy of it.
        inputs: What it takes, as `keras.KerasTensor`s.
        place: Where it is in the model, in words; empty for the whole.
    """

    model: keras.Model
    inputs: Any
    place: str


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
    if is_functional(model):
        with contextlib.suppress(Exception):  # layers without a `get_config`, functions
            yield from of_graph(_flattened(model))
            return
    # What a model of another kind does is known only by calling it.
    if len(call.inputs) == 1 and len(call.inputs[0]) >= 3:
        yield Part(model, keras.KerasTensor(call.inputs[0]), "")
    last = of_graph is _from_maps
    for child in call.children[::-1] if last else call.children:
        same = child.outputs[:1] == call.outputs[:1] if last else child.inputs == call.inputs
        if same and isinstance(child.operation, keras.Model):
            for part in _parts(child, of_graph):
                yield part._replace(
                    place=" ".join(filter(None, [part.place, f"in {child.path[-1]}"]))
                )


def _from_maps(flat: keras.Model) -> Iterator[Part]:
    starts = [(op.output, f"after {op.name}") for op in _reshaping(flat)]
    for x, place in [(flat.input, ""), *starts]:
        yield from _of_any_size(x, _first(flat.output), place)


def _up_to_maps(flat: keras.Model) -> Iterator[Part]:
    ends = [(_first(op.input), f"before {op.name}") for op in _reshaping(flat)]
    for y, place in [(_first(flat.output), ""), *ends[::-1]]:
        yield from _of_any_size(flat.input, y, place)


def is_functional(model: Any) -> bool:
    """Return whether a model is a graph of layers, which can be copied piece by piece."""
    return isinstance(model, (keras.Sequential, _functional()))


@functools.cache
def _functional() -> type:
    # Keras makes models of this class, and does not export it.
    x = keras.Input((1,), name="x")
    return type(keras.Model(x, x, name="identity"))


def _first(tensors: Any) -> keras.KerasTensor:
    return tree.flatten(tensors)[0]


def _flattened(model: keras.Model) -> keras.Model:
    """Return a copy of a functional model, models inside it taken apart, with its weights."""
    copies: dict[int, tuple[Any, Any]] = {}

    def copied(operation: Any) -> Any:
        if is_functional(operation):
            return operation
        if id(operation) not in copies:
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
        return operation(*args, **kwargs)

    def through(functional: Any, inputs: Any) -> Any:
        inputs = tree.pack_sequence_as(functional.input, tree.flatten(inputs))
        return keras.models.clone_model(
            functional, input_tensors=inputs, clone_function=copied, call_function=apply
        ).output

    given = tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name), inputs_of(model)
    )
    flat = keras.Model(given, apply(model, given))
    for operation, again in copies.values():
        if isinstance(operation, keras.Layer):
            again.set_weights(operation.get_weights())
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


def _of_any_size(x: Any, y: keras.KerasTensor, place: str) -> Iterator[Part]:
    """Yield the part from `x` to `y`, for unknown sizes, if it can be had."""
    if any(len(tensor.shape) < 3 for tensor in [*tree.flatten(x), y]):
        return
    data_format = "channels_last"

    def unknown_sizes(tensor: keras.KerasTensor) -> keras.KerasTensor:
        shape = list(tensor.shape)
        for axis in spatial_axes(len(shape) - 2, data_format):
            shape[axis] = None
        return keras.Input(batch_shape=shape, dtype=tensor.dtype, name=tensor.name)

    try:
        part = keras.Model(x, y)  # refused if it needs what comes before `x`
        data_format = data_format_of(part.operations)
        found = keras.models.clone_model(
            part,
            input_tensors=tree.map_structure(unknown_sizes, part.input),
            clone_function=lambda operation: operation,
        )
    # Layers of any kind may refuse, by any error: then this is no part for maps of any size.
    except Exception:
        return
    y = _first(found.output)
    if all(y.shape[axis] is None for axis in spatial_axes(len(y.shape) - 2, data_format)):
        yield Part(found, found.input, place)


def inputs_of(model: keras.Model) -> Any:
    """Return what a model takes, as `keras.KerasTensor`s in its structure; None if it is unknown.

    Functional models know it, and such as have an `input_shape` of their own.
    """
    if not model.built:
        return None
    if isinstance(model, keras.Sequential):
        return model.inputs[0]
    if is_functional(model):
        return model.input
    try:
        return keras.KerasTensor(model.input_shape, dtype=model.compute_dtype)
    except AttributeError:  # what Keras has of that name speaks of calls, and there were none
        return None


def data_format_of(operations: Iterable[Any]) -> str:
    """Return the data format of the first layer that has one; Keras's setting if none has."""
    return next(_data_formats(operations), keras.config.image_data_format())


def _data_formats(operations: Iterable[Any]) -> Iterator[str]:
    for operation in operations:
        if getattr(operation, "data_format", None):
            yield operation.data_format
        yield from _data_formats(getattr(operation, "layers", ()))
