"""Copy a model with custom classes and functions, compiled or not."""

from __future__ import annotations

import contextlib
import copy
import threading
import types
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from keras_upsampling._tables import reason_of
from keras_upsampling.auditing.functions import Function
from keras_upsampling.auditing.trace import Call, all_calls, is_functional
from keras_upsampling.auditing.twins import paired
from keras_upsampling.auditing.wrappers import opened


def copied(model: keras.Model, call: Call) -> keras.Model:
    """Return a copy of a model, including its state.

    Args:
        model: The model to copy.
        call: A call of the model, from which its layers are known.

    Raises:
        ValueError: If the model cannot be copied. The message names the classes that prevent it.
    """
    calls = [*all_calls(call), *all_calls(opened(call))]
    operations = list({id(inner.operation): inner.operation for inner in calls}.values())
    with _RENAMING, _registered(operations, model), warnings.catch_warnings():
        # Keras warns about an optimizer that has no variables yet.
        warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
        try:
            duplicate: keras.Model = copy.deepcopy(model)
        except Exception as error:
            raise ValueError(_why_not(model, operations, error)) from error
    if any(type(layer) is not type(twin) for layer, twin in _paired_layers(model, duplicate)):
        raise ValueError(
            f"Custom classes must have unique names. Received: two classes of {model.name!r} that "
            "have the same name. Rename one of them."
        )
    # A saved model does not contain the values of seeds and counters.
    pairs = paired(model.non_trainable_variables, duplicate.non_trainable_variables)
    for variable, twin in pairs:
        twin.assign(variable)
    return duplicate


# Functions are renamed during a copy. A second thread would take the new names for the originals.
_RENAMING = threading.RLock()


@contextlib.contextmanager
def _registered(operations: Iterable[Any], model: keras.Model) -> Iterator[None]:
    """Register the custom classes and functions of a model with Keras while the context lasts."""
    # Recorded functions are in no configuration, and may have the name of a custom class.
    classes = {type(operation) for operation in operations if not isinstance(operation, Function)}
    custom = {cls.__name__: cls for cls in classes if cls.__module__.split(".")[0] != "keras"}
    # Unique names, because two functions may have the same name, or the name of one of Keras's.
    # Keras would copy an unregistered lambda without the variables that it uses.
    functions = {
        f"function_{i}": f for i, f in enumerate(_functions([*operations, *model.metrics]))
    }
    names = [function.__name__ for function in functions.values()]
    for name, function in functions.items():
        function.__name__ = name
    try:
        with keras.saving.custom_object_scope(custom | functions):
            yield
    finally:
        for name, function in zip(names, functions.values(), strict=True):
            function.__name__ = name


def _functions(holders: Iterable[Any]) -> list[types.FunctionType]:
    """Return the custom functions in the attributes of objects, such as activations and losses."""
    functions = {}
    for holder in holders:
        values = list(vars(holder).values())
        for value in values + [item for group in values for item in _items(group)]:
            if isinstance(value, types.FunctionType):
                functions[id(value)] = value
    return [
        function for function in functions.values() if function.__module__.split(".")[0] != "keras"
    ]


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, (list, tuple)):
        return value
    return value.values() if isinstance(value, dict) else ()


def _why_not(model: keras.Model, operations: Iterable[Any], error: Exception) -> str:
    """Return a message that explains why a model cannot be copied."""
    reasons: dict[type, str] = {}
    for operation in operations:
        if isinstance(operation, keras.Layer) and not is_functional(operation):
            layer_class, name = type(operation), f"{type(operation).__name__} ({operation.name!r})"
            try:
                layer_class.from_config(operation.get_config())
            except NotImplementedError:
                reasons[layer_class] = f"{name} has no `get_config`"
            except Exception as reason:  # a custom class may raise anything
                cause = reason.__context__  # Keras repeats it in a longer message
                text = reason_of(cause if isinstance(cause, Exception) else reason).rstrip(".")
                reasons[layer_class] = f"{name}: {text}"
    problem = f"`repair` works on a copy, and no copy of {model.name!r} can be made."
    if reasons:
        return (
            f"{problem} Expected layers that `from_config` can recreate from `get_config`. "
            f"Received: {'; '.join(reasons.values())}. Give these classes a `get_config` with all "
            "arguments of their `__init__`, or repair a model inside this one separately."
        )
    inner_models = [
        operation.name
        for operation in operations
        if isinstance(operation, keras.Model) and operation is not model
    ]
    fix = f"the models inside it: {', '.join(inner_models)}" if inner_models else "another model"
    return (
        f"{problem} Expected a model that can be saved and loaded. Received: a "
        f"{type(model).__name__}, for which Keras says: {reason_of(error)!r}. Repair {fix}."
    )


def _paired_layers(model: Any, duplicate: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a model and its layers, recursively, each with its copy."""
    yield model, duplicate
    for pair in zip(getattr(model, "layers", ()), getattr(duplicate, "layers", ()), strict=True):
        yield from _paired_layers(*pair)
