"""What a model calls when it is called."""

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
        operation: What was called.
        path: The names of the models and layers that it was called in, and its own.
        inputs: The shapes of the tensors that it was given.
        outputs: The shapes of those that it gave.
        input_ids: A number for each of the former, the same wherever that tensor occurs in the run.
        output_ids: A number for each of the latter.
        children: What it called itself.
        arguments: All that it was given, `(args, kwargs)`, with `keras.KerasTensor`s for tensors.
        size: How many bytes the tensors that it gave take.
        inside: What functions of `keras.ops` made in its own code: shapes, and bytes.
        data_formats: Of what it was given; empty while they are not known.
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
    """Return what `model(inputs)` gives, and every call in it."""
    with _recorded() as made:
        outputs = model(inputs, training=False)
    return outputs, made[-1]


def all_calls(call: Call) -> Iterator[Call]:
    """Yield a call, and all that were made in it."""
    yield call
    for child in call.children:
        yield from all_calls(child)


def leaf_calls(call: Call) -> Iterator[Call]:
    """Yield the calls in which no other was made, in their order."""
    return (one for one in all_calls(call) if not one.children)


def shapes_of(tensors: Any) -> tuple[Shape, ...]:
    """Return the shape of every tensor in a structure."""
    return tuple(tuple(x.shape) for x in _tensors(tensors))


def _tensors(structure: Any) -> list[Any]:
    return [x for x in tree.flatten(structure) if hasattr(x, "shape")]


def _symbolic(x: Any) -> Any:
    """Return the shape and dtype of a tensor, and what is no tensor as it is."""
    if not hasattr(x, "shape"):
        return x
    try:
        return keras.KerasTensor(tuple(x.shape), keras.backend.standardize_dtype(x.dtype))
    except ValueError:  # of text
        return None


def bytes_of(x: Any) -> int:
    """Return how many bytes a tensor takes; unknown lengths count as 1."""
    bits = re.search(r"\d+", str(x.dtype))  # bool has none
    return math.prod(n or 1 for n in x.shape) * max(1, int(bits[0] if bits else 8) // 8)


class _Numbers:
    """Gives every tensor a number of its own, without keeping the tensor."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Callable[[], Any], int]] = {}
        self._next = itertools.count()

    def of(self, tensors: list[Any]) -> tuple[int, ...]:
        return tuple(map(self._number, tensors))

    def _number(self, x: Any) -> int:
        # An `id` is one tensor's only as long as that lives.
        known = self._known.get(id(x))
        if known is not None and known[0]() is x:
            return known[1]
        try:
            reference: Callable[[], Any] = weakref.ref(x)
        except TypeError:
            reference = functools.partial(_given, x)
        self._known[id(x)] = reference, next(self._next)
        return self._known[id(x)][1]


def _given(x: Any) -> Any:
    return x


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
        insides: list[list[tuple[Shape, int]]] = [[]]
        numbers = _Numbers()

        def listening(self: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return original(self, *args, **kwargs)
            names.append(self.name)
            levels.append([])
            insides.append([])
            given = _tensors((args, kwargs))
            numbered = numbers.of(given)
            try:
                outputs = original(self, *args, **kwargs)
            finally:
                children, inside = tuple(levels.pop()), tuple(insides.pop())
                path = tuple(names)
                names.pop()
            made = _tensors(outputs)
            levels[-1].append(
                Call(
                    operation=self,
                    path=path,
                    inputs=shapes_of(given),
                    outputs=shapes_of(made),
                    input_ids=numbered,
                    output_ids=numbers.of(made),
                    children=children,
                    arguments=tree.map_structure(_symbolic, (args, kwargs)),
                    size=sum(map(bytes_of, made)),
                    inside=inside,
                )
            )
            return outputs

        def count(made: Any) -> None:
            insides[-1].extend((tuple(x.shape), bytes_of(x)) for x in _tensors(made))

        keras.Operation.__call__ = listening
        try:
            with functions_as_operations(count):
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


def is_functional(model: Any) -> bool:
    """Return whether a model is a graph of layers, which can be copied piece by piece."""
    return isinstance(model, (keras.Sequential, _functional()))


@functools.cache
def _functional() -> type:
    # Keras makes models of this class, and does not export it.
    x = keras.Input((1,), name="x")
    return type(keras.Model(x, x, name="identity"))


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
