"""Record every layer and operation that a call of a model calls."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import random
import re
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
from keras import tree

from keras_upsampling._types import Shape
from keras_upsampling.auditing.functions import functions_as_operations


class Call(NamedTuple):
    """One call of a layer, or of an operation of a functional model.

    Attributes:
        operation: The called layer or operation.
        path: Names of the models and layers around it, from the outermost, and its own name.
        inputs: Shapes of the input tensors.
        outputs: Shapes of the output tensors.
        input_ids: Numbers of the input tensors. A tensor has the same number in every call.
        output_ids: Numbers of the output tensors.
        children: The calls that it made itself.
        arguments: All arguments, `(args, kwargs)`, with a `keras.KerasTensor` for each tensor.
        size: Size of the output tensors, in bytes.
        inside: Shape and bytes of each tensor that its own code computed with `keras.ops`.
        data_formats: Data formats of the input tensors; empty until they are determined.
    """

    operation: keras.Operation
    path: tuple[str, ...]
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    input_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    children: tuple[Call, ...]
    arguments: tuple[Any, Any] = ((), {})
    size: int = 0
    inside: tuple[tuple[Shape, int], ...] = ()
    data_formats: tuple[str, ...] = ()


def record_call(model: Callable[..., Any], inputs: Any) -> tuple[Any, Call]:
    """Return the outputs of `model(inputs)` and the record of the call."""
    with _recorded() as calls:
        outputs = model(inputs, training=False)
    return outputs, calls[-1]


def all_calls(call: Call) -> Iterator[Call]:
    """Yield a call and, recursively, all calls inside it."""
    yield call
    for child in call.children:
        yield from all_calls(child)


def leaf_calls(call: Call) -> Iterator[Call]:
    """Yield the calls that contain no other call, in order."""
    return (inner for inner in all_calls(call) if not inner.children)


def shapes_of(tensors: Any) -> tuple[Shape, ...]:
    """Return the shapes of all tensors in a structure."""
    return tuple(tuple(x.shape) for x in _tensors(tensors))


def _tensors(structure: Any) -> list[Any]:
    return [x for x in tree.flatten(structure) if hasattr(x, "shape")]


def _symbolic(x: Any) -> Any:
    """Return a `keras.KerasTensor` for a tensor, and any other value unchanged."""
    if not hasattr(x, "shape"):
        return x
    try:
        return keras.KerasTensor(tuple(x.shape), keras.backend.standardize_dtype(x.dtype))
    except ValueError:  # Keras has no dtype for text
        return None


def bytes_of(x: Any) -> int:
    """Return the size of a tensor in bytes; unknown lengths count as 1."""
    bits = re.search(r"\d+", str(x.dtype))  # "bool" has no digits
    return math.prod(n or 1 for n in x.shape) * max(1, int(bits[0] if bits else 8) // 8)


class _Numbers:
    """A unique number for every tensor, without keeping the tensor alive."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Callable[[], Any], int]] = {}
        self._next = itertools.count()

    def of(self, tensors: list[Any]) -> tuple[int, ...]:
        return tuple(map(self._number, tensors))

    def _number(self, x: Any) -> int:
        # Python reuses the `id` of a deleted tensor.
        entry = self._entries.get(id(x))
        if entry is not None and entry[0]() is x:
            return entry[1]
        try:
            reference: Callable[[], Any] = weakref.ref(x)
        except TypeError:
            reference = functools.partial(_identity, x)
        self._entries[id(x)] = reference, next(self._next)
        return self._entries[id(x)][1]


def _identity(x: Any) -> Any:
    return x


# Only one recorder at a time: a second would restore the first instead of Keras's `__call__`.
_RECORDING = threading.RLock()


@contextlib.contextmanager
def _recorded() -> Iterator[list[Call]]:
    """Collect the calls of this thread while the context lasts.

    Replaces `keras.Operation.__call__`, which every layer of every backend is called through. This
    includes layers of subclassed models, for which Keras has no graph.
    """
    with _RECORDING:
        original = keras.Operation.__call__
        thread = threading.get_ident()
        path: list[str] = []
        levels: list[list[Call]] = [[]]
        insides: list[list[tuple[Shape, int]]] = [[]]
        numbers = _Numbers()

        def recording(self: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return original(self, *args, **kwargs)
            path.append(self.name)
            levels.append([])
            insides.append([])
            input_tensors = _tensors((args, kwargs))
            input_ids = numbers.of(input_tensors)
            try:
                outputs = original(self, *args, **kwargs)
            finally:
                children, inside = tuple(levels.pop()), tuple(insides.pop())
                names = tuple(path)
                path.pop()
            output_tensors = _tensors(outputs)
            levels[-1].append(
                Call(
                    operation=self,
                    path=names,
                    inputs=shapes_of(input_tensors),
                    outputs=shapes_of(output_tensors),
                    input_ids=input_ids,
                    output_ids=numbers.of(output_tensors),
                    children=children,
                    arguments=tree.map_structure(_symbolic, (args, kwargs)),
                    size=sum(map(bytes_of, output_tensors)),
                    inside=inside,
                )
            )
            return outputs

        def count(results: Any) -> None:
            insides[-1].extend((tuple(x.shape), bytes_of(x)) for x in _tensors(results))

        keras.Operation.__call__ = recording
        try:
            with functions_as_operations(count):
                yield levels[0]
        finally:
            keras.Operation.__call__ = original


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the state of Python's random numbers, from which Keras draws its seeds."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def is_functional(model: Any) -> bool:
    """Return whether a model is a graph of layers, which can be copied layer by layer."""
    return isinstance(model, (keras.Sequential, _functional_class()))


@functools.cache
def _functional_class() -> type:
    # Keras does not export the class of its functional models.
    x = keras.Input((1,), name="x")
    return type(keras.Model(x, x, name="identity"))


def inputs_of(model: keras.Model) -> Any:
    """Return the inputs of a model as a structure of `keras.KerasTensor`s; None if unknown.

    They are known for functional models and for models that define `input_shape`.
    """
    if not model.built:
        return None
    if isinstance(model, keras.Sequential):
        return model.inputs[0]
    if is_functional(model):
        return model.input
    try:
        return keras.KerasTensor(model.input_shape, dtype=model.compute_dtype)
    except AttributeError:  # Keras's own `input_shape` needs an earlier call
        return None


def data_format_of(operations: Iterable[Any]) -> str:
    """Return the data format of the first layer with one; Keras's setting if no layer has one."""
    return next(_data_formats(operations), keras.config.image_data_format())


def _data_formats(operations: Iterable[Any]) -> Iterator[str]:
    for operation in operations:
        if getattr(operation, "data_format", None):
            yield operation.data_format
        yield from _data_formats(getattr(operation, "layers", ()))
