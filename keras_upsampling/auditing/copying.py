"""A copy of a model as people write them: classes and functions of their own, compiled or not."""

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
    """Return a copy of a model with all of its state.

    Args:
        model: The model.
        call: A call of it, which tells the layers that it is made of.

    Raises:
        ValueError: it cannot be copied; the message names the classes that are in the way.
    """
    operations = list(
        {
            id(one.operation): one.operation for one in [*all_calls(call), *all_calls(opened(call))]
        }.values()
    )
    with _NAMING, _known(operations, model), warnings.catch_warnings():
        # An optimizer that has not begun has nothing to load.
        warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
        try:
            again: keras.Model = copy.deepcopy(model)
        except Exception as error:
            raise ValueError(_why(model, operations, error)) from error
    if any(type(one) is not type(other) for one, other in _pairs(model, again)):
        raise ValueError(
            f"Two classes of {model.name!r} have the same name, so no copy of it can be made. "
            "Rename one of them."
        )
    # Seeds and counters are no weights, and a saved model starts them anew.
    for variable, twin in paired(model.non_trainable_variables, again.non_trainable_variables):
        twin.assign(variable)
    return again


# Functions have other names for a while: two threads would take those for the original ones.
_NAMING = threading.RLock()


@contextlib.contextmanager
def _known(operations: Iterable[Any], model: keras.Model) -> Iterator[None]:
    """Let Keras know the classes and functions of a model, registered or not: they are in it."""
    # Functions that were called are in no configuration, and may have the name of a class.
    classes = {type(one) for one in operations if not isinstance(one, Function)}
    own = {one.__name__: one for one in classes if one.__module__.split(".")[0] != "keras"}
    # Two may have one name, or that of a function of Keras; and one without a name would be copied
    # without what it uses.
    functions = {
        f"function_{i}": f for i, f in enumerate(_functions([*operations, *model.metrics]))
    }
    names = [function.__name__ for function in functions.values()]
    for name, function in functions.items():
        function.__name__ = name
    try:
        with keras.saving.custom_object_scope(own | functions):
            yield
    finally:
        for name, function in zip(names, functions.values(), strict=True):
            function.__name__ = name


def _functions(holders: Iterable[Any]) -> list[types.FunctionType]:
    """Return the functions that objects hold, as activations and losses, but for Keras's own."""
    found = {}
    for holder in holders:
        values = list(vars(holder).values())
        for value in values + [x for more in values for x in _inside(more)]:
            if isinstance(value, types.FunctionType):
                found[id(value)] = value
    return [one for one in found.values() if one.__module__.split(".")[0] != "keras"]


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, (list, tuple)):
        return value
    return value.values() if isinstance(value, dict) else ()


def _why(model: keras.Model, operations: Iterable[Any], error: Exception) -> str:
    """Return a message on why no copy of a model can be made."""
    reasons: dict[type, str] = {}
    for one in operations:
        if isinstance(one, keras.Layer) and not is_functional(one):
            try:
                type(one).from_config(one.get_config())
            except NotImplementedError:
                reasons[type(one)] = f"{type(one).__name__} ({one.name!r}) has no `get_config`"
            except Exception as reason:  # of whatever the class does
                first = reason.__context__  # which Keras says again, in more words
                said = reason_of(first if isinstance(first, Exception) else reason).rstrip(".")
                reasons[type(one)] = f"{type(one).__name__} ({one.name!r}): {said}"
    refused = f"A copy is repaired, and no copy of {model.name!r} can be made."
    if reasons:
        return (
            f"{refused} Expected layers that `from_config` can make again from what their "
            f"`get_config` returns. Received some that it cannot: {'; '.join(reasons.values())}. "
            "Give these classes a `get_config` with all that their `__init__` takes, or repair a "
            "model inside of it by itself."
        )
    inside = [one.name for one in operations if isinstance(one, keras.Model) and one is not model]
    mend = f"the models inside of it: {', '.join(inside)}" if inside else "another model"
    return (
        f"{refused} Expected a model that can be saved and loaded. Received a "
        f"{type(model).__name__}, of which Keras says: {reason_of(error)!r}. Repair {mend}."
    )


def _pairs(model: Any, again: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every layer of a model with that of its copy."""
    yield model, again
    for pair in zip(getattr(model, "layers", ()), getattr(again, "layers", ()), strict=True):
        yield from _pairs(*pair)
