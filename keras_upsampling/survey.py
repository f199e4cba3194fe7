"""Which layers of a called model change the size of its maps, and what is known of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops, tree

from keras_upsampling._arguments import spatial_axes
from keras_upsampling._tables import reason_of
from keras_upsampling.flow import (
    Found,
    change_of,
    convolved_after,
    lengths_of,
    of_maps,
    periods,
    ways,
)
from keras_upsampling.functions import Function
from keras_upsampling.kernels import CONVOLUTIONS, MAXIMUM, kind_of, subpixel, takes_maximum
from keras_upsampling.layout import (
    channels_last,
    channels_last_shape,
    formats_of,
    in_format,
    input_format,
)
from keras_upsampling.resizing import resized
from keras_upsampling.trace import (
    Call,
    calls,
    calls_of,
    inputs_of,
    is_functional,
    shapes_of,
)
from keras_upsampling.uncalled import refuse_without_call
from keras_upsampling.wrappers import opened

# What does the same to every number by itself, and so to all phases: layers, and the operations
# of functional models, which have no public classes.
_ELEMENTWISE = (layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Dropout, layers.Identity)
_ELEMENTWISE_NAMES = {
    "Relu",
    "Relu6",
    "LeakyRelu",
    "Elu",
    "Gelu",
    "Selu",
    "Silu",
    "Sigmoid",
    "Tanh",
}
_ELEMENTWISE_ACTIVATIONS = {name.lower() for name in _ELEMENTWISE_NAMES} | {"leaky_relu", "linear"}

# What stands for an unknown length, by rank.
_ANY_LENGTH = {1: 256, 2: 64, 3: 16}


class Survey(NamedTuple):
    """The layers of a called model that change the size of maps.

    Attributes:
        call: The model's call, its shapes as if all maps had their channels last.
        found: The layers, in the order of their calls.
        periods: Of each one's pattern, where the model ends; of a gradient's, where it begins.
        ways: For each, those whose patterns come through it, and itself.
        unknown: Sentences on what enlarges maps and is not known.
        missed: Sentences on what else is not known.
        data_format: Of the maps that the model makes.
    """

    call: Call
    found: list[Found]
    periods: list[tuple[int, ...]]
    ways: list[list[Found]]
    unknown: list[str]
    missed: list[str]
    data_format: str


def name_of(call: Call) -> str:
    """Return a layer's name behind those of the models that it is in, but for the whole."""
    return "/".join(call.path[1:] or call.path)


def survey(model: keras.Model, inputs: Any = None) -> Survey:
    """Call a model, and look at every layer that it calls.

    Raises:
        TypeError: not a model.
        ValueError: it has no `call`, or the shape of its input is not known, and `inputs` are not
            given.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"Expected a keras.Model. Received {model!r} of type {type(model).__name__}; for a "
            "single layer use `audit_kernel`, for a file `keras.saving.load_model` first."
        )
    refuse_without_call(model)
    drawn = noise(model) if inputs is None else inputs
    state = [(one, ops.convert_to_numpy(one)) for one in model.non_trainable_variables]
    try:
        _, call = calls_of(model, drawn)
    except Exception as error:
        if inputs is not None:
            raise
        raise ValueError(
            f"{model.name!r} could not be called with noise of the shapes {shapes_of(drawn)}; pass "
            f"`inputs`, something that it can be called with. ({reason_of(error)})"
        ) from error
    finally:
        for variable, value in state:  # counters and seeds have gone on
            variable.assign(value)
    seen = look(call)
    called = {id(one.operation) for one in calls(call)}
    seen.missed.extend(
        f"{layer.name}: it was not called"
        for layer in model.layers
        if id(layer) not in called and not isinstance(layer, layers.InputLayer)
    )
    return seen


def noise(model: keras.Model, batch: int = 1) -> Any:
    """Return something to call a model with: maps of values from 0 to 1, normal codes, zeros.

    Raises:
        ValueError: it has no `call`, or the shape of its input is not known.
    """
    refuse_without_call(model)
    known = inputs_of(model)
    if known is None:
        raise ValueError(
            f"The shape of what {model.name!r} takes is not known. Received a "
            f"{type(model).__name__}; pass `inputs`, something that it can be called with, such as "
            "inputs=np.zeros((1, 64, 64, 3))."
        )
    rng = np.random.default_rng(0)
    data_format = input_format(model)

    def drawn(x: keras.KerasTensor) -> Any:
        rank = len(x.shape) - 2
        spatial = spatial_axes(rank, data_format) if rank in _ANY_LENGTH else ()
        unknown = [_ANY_LENGTH[rank] if axis in spatial else 1 for axis in range(len(x.shape))]
        shape = [n or other for n, other in zip(x.shape, unknown, strict=True)]
        shape[0] = x.shape[0] or batch
        if not keras.backend.is_float_dtype(x.dtype):
            # Zero is a token, an index or a label of any vocabulary.
            return ops.zeros(shape, dtype=x.dtype)
        # Images and features have a mean, which is what most of a checkerboard is of.
        if rank in _ANY_LENGTH:
            values = rng.random(channels_last_shape(tuple(shape), data_format))
        else:
            values = rng.normal(size=shape)
        return ops.convert_to_tensor(in_format(values, data_format), dtype=x.dtype)

    return tree.map_structure(drawn, known)


def look(call: Call) -> Survey:
    """Return what a model's call has done to the size of maps."""
    formats = formats_of(call)
    made = next((formats[tensor] for tensor in call.made), "channels_last")
    whole, data_format = channels_last(call, formats), "channels_last"
    called = opened(whole)
    steps = list(_steps(called, data_format))
    convolved = convolved_after(called, steps)
    found: dict[int, Found] = {}
    unknown: list[str] = []
    missed: list[str] = []
    for index, step in enumerate(steps):
        one = _known(step, data_format) or _shuffled(step, steps, called, data_format)
        if one is not None:
            found[index] = one._replace(convolved=convolved[index])
        if kind_of(step.operation) is None and (one is None or _has_no_kernel(one)):
            name = f"{name_of(step)}: no kernel of a {type(step.operation).__name__}"
            change = change_of(step, data_format)
            ranks = [len(shapes[0]) if shapes else 0 for shapes in (step.inputs, step.outputs)]
            if min(ranks) > 2 and ranks[0] != ranks[1] and ranks[1] in (3, 4, 5):
                unknown.append(f"{name_of(step)}: it makes maps of what has other axes")
            elif change > 0:
                unknown.append(f"{name} is known")
            elif change < 0:
                missed.append(f"{name}'s gradient is known")
    unknown += _outside_of_layers(called, data_format)
    return Survey(
        whole,
        list(found.values()),
        periods(called, steps, found, data_format),
        ways(called, steps, found),
        list(dict.fromkeys(unknown)),
        list(dict.fromkeys(missed)),
        made,
    )


def _steps(call: Call, data_format: str) -> Iterator[Call]:
    """Yield what does one thing, in order: a layer that is known, or that calls no other."""
    # An activation may be a layer, called by the one that it belongs to; and Keras's own layers,
    # and this library's, call others for what they do.
    if kind_of(call.operation) or not call.children or not _has_parts(call.operation):
        yield call
        return
    # A layer of functions may be depth to space as a whole, in an order of its own.
    of_functions = all(isinstance(child.operation, Function) for child in call.children)
    if of_functions and _shuffle(call, data_format):
        yield call
        return
    for child in call.children:
        yield from _steps(child, data_format)


def _known(step: Call, data_format: str) -> Found | None:
    """Return what is known of a layer that changes the size of maps by itself."""
    operation = step.operation
    name = type(operation).__name__
    kind = kind_of(operation)
    if isinstance(operation, MAXIMUM):
        found = Found(step, step, name, False, tuple(operation.strides), None)
    elif kind is not None:
        kernel = kind.read(operation)
        ripple = kernel.ripple() if max(kernel.size) > 1 else None
        found = Found(step, step, name, kind.enlarges, kernel.size, ripple, kernel.order)
    else:
        return resized(step, data_format)
    if max(found.size) == 1:
        return None
    added = len(step.inputs[0]) - 2 - len(found.size)  # by `TimeDistributed`
    return found._replace(size=(1,) * added + found.size, added=added)


def _has_no_kernel(one: Found) -> bool:
    return one.ripple is None and not takes_maximum(one.call.operation)


def _shuffled(step: Call, steps: list[Call], whole: Call, data_format: str) -> Found | None:
    """Return what is known of a convolution, if this step is the depth-to-space behind it."""
    size = _whole_factors(step, data_format)
    if size is None:
        return None
    before = step
    while before is step or _is_elementwise(before.operation):
        tensor = before.given[0] if len(before.given) == 1 else None
        # Some layers hand on what they are given: they neither make nor use it.
        makers = [other for other in steps if tensor in other.made and tensor not in other.given]
        users = [other for other in steps if tensor in other.given and tensor not in other.made]
        # What others use as well is not a sub-pixel convolution's alone.
        if not makers or len(users) > 1 or tensor in whole.made:
            return None
        before = makers[-1]
    layer = before.operation
    alone = sum(other.operation is layer for other in steps) == 1
    if (
        not isinstance(layer, CONVOLUTIONS)
        or max(layer.strides) > 1
        or layer.groups > 1
        or not alone
    ):
        return None
    order = _channel_order(step, size)
    if order is None:
        return None
    name = f"{type(layer).__name__} + {type(step.operation).__name__}"
    return Found(before, step, name, True, size, subpixel(layer, size, order).ripple(), order)


def _whole_factors(step: Call, data_format: str) -> tuple[int, ...] | None:
    given, made = of_maps(step, data_format)
    if not given or any(n == 0 or m % n for n, m in zip(given, made, strict=True)):
        return None
    size = tuple(m // n for n, m in zip(given, made, strict=True))
    return size if max(size) > 1 else None


def _shuffle(step: Call, data_format: str) -> bool:
    """Return whether a step as a whole is depth to space."""
    size = _whole_factors(step, data_format)
    return size is not None and _channel_order(step, size) is not None


def _is_elementwise(operation: Any) -> bool:
    if isinstance(operation, layers.Activation):
        return getattr(operation.activation, "__name__", "") in _ELEMENTWISE_ACTIVATIONS
    return isinstance(operation, _ELEMENTWISE) or type(operation).__name__ in _ELEMENTWISE_NAMES


def _channel_order(step: Call, size: tuple[int, ...]) -> np.ndarray | None:
    """Return which channel becomes which phase, if a step is depth-to-space.

    It is tried out, on a map whose values are the numbers of its channels.
    """
    count = math.prod(size)
    *lengths, channels = (n or 0 for n in step.inputs[0][1:])  # the only ones it may take
    if channels % count or step.outputs[0][-1] != channels // count:
        return None
    numbers = np.broadcast_to(np.arange(channels, dtype="float32"), (1, *lengths, channels))
    if step.data_formats[0] == "channels_first":
        numbers = np.moveaxis(numbers, -1, 1)
    try:
        made = ops.convert_to_numpy(step.operation(ops.convert_to_tensor(numbers)))
    except Exception:  # of whatever the layer does with such a map: then it is something else
        return None
    if step.data_formats[0] == "channels_first":
        made = np.moveaxis(made, 1, -1)
    order = made[0][tuple(slice(s) for s in size)]
    same = np.array_equal(made[0], np.tile(order, (*lengths, 1)))
    each_once = np.array_equal(np.sort(order, axis=None), np.arange(channels))
    return order.astype(int) if same and each_once else None


def _has_parts(operation: Any) -> bool:
    """Whether what an operation calls are layers that somebody put into it."""
    package = type(operation).__module__.split(".")[0]
    whole = package in ("keras", "keras_upsampling")
    return not whole or isinstance(operation, (keras.Model, layers.Wrapper, layers.Lambda))


def _outside_of_layers(call: Call, data_format: str) -> Iterator[str]:
    """Yield the layers that change the size of maps between the calls of others."""
    if not call.children or kind_of(call.operation) or not _has_parts(call.operation):
        return
    if not is_functional(call.operation):
        known = {lengths_of(shape, data_format) for shape in call.inputs}
        made: set[tuple[int, ...]] = set()
        changes = False
        for child in call.children:
            changes |= any(lengths_of(shape, data_format) not in known for shape in child.inputs)
            made = {lengths_of(shape, data_format) for shape in child.outputs}
            known |= made
        # What comes out is as large as what the last layer made, unless that was a mean of it all.
        ends = {lengths_of(shape, data_format) for shape in call.outputs}
        changes |= not ends & made and all(max(lengths, default=1) > 1 for lengths in made)
        if changes:
            yield f"{name_of(call)}: it changes the size of maps outside of its layers"
    for child in call.children:
        yield from _outside_of_layers(child, data_format)
