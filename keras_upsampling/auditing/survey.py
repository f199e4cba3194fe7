"""Which layers of a called model change the size of its maps, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops, tree

from keras_upsampling._shapes import spatial_axes
from keras_upsampling._tables import reason_of
from keras_upsampling.auditing.flow import (
    SizeChange,
    chains,
    convolved_after,
    direction_of,
    lengths_of,
    periods,
)
from keras_upsampling.auditing.functions import Function
from keras_upsampling.auditing.kernels import (
    MAXIMUM,
    kind_of,
    takes_maximum,
)
from keras_upsampling.auditing.layout import (
    channels_last_shape,
    formats_of,
    in_format,
    input_format,
    with_channels_last,
)
from keras_upsampling.auditing.resizing import resized
from keras_upsampling.auditing.subpixels import is_depth_to_space, subpixel_convolution
from keras_upsampling.auditing.trace import (
    Call,
    all_calls,
    inputs_of,
    is_functional,
    record_call,
    shapes_of,
)
from keras_upsampling.auditing.uncalled import refuse_without_call
from keras_upsampling.auditing.wrappers import opened

# What stands for an unknown length, by rank.
_ANY_LENGTH = {1: 256, 2: 64, 3: 16}


class Survey(NamedTuple):
    """The layers of a called model that change the size of maps.

    Attributes:
        call: The model's call, its shapes as if all maps had their channels last.
        changes: The layers, in the order of their calls.
        periods: Of each one's pattern, where the model ends; of a gradient's, where it begins.
        chains: For each, those whose patterns come through it, and itself.
        unknown_upsampling: Sentences on what enlarges maps and is not known.
        notes: Sentences on what else is not known.
        data_format: Of the maps that the model makes.
    """

    call: Call
    changes: list[SizeChange]
    periods: list[tuple[int, ...]]
    chains: list[list[SizeChange]]
    unknown_upsampling: list[str]
    notes: list[str]
    data_format: str


def name_of(call: Call) -> str:
    """Return a layer's name behind those of the models that it is in, but for the whole."""
    return "/".join(call.path[1:] or call.path)


def survey_model(model: keras.Model, inputs: Any = None) -> Survey:
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
        _, call = record_call(model, drawn)
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
    survey = survey_call(call)
    called = {id(one.operation) for one in all_calls(call)}
    survey.notes.extend(
        f"{layer.name}: it was not called"
        for layer in model.layers
        if id(layer) not in called and not isinstance(layer, layers.InputLayer)
    )
    return survey


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


def survey_call(call: Call) -> Survey:
    """Return what a model's call has done to the size of maps."""
    formats = formats_of(call)
    made = next((formats[tensor] for tensor in call.output_ids), "channels_last")
    whole, data_format = with_channels_last(call, formats), "channels_last"
    called = opened(whole)
    steps = list(_steps(called, data_format))
    convolved = convolved_after(called, steps)
    found: dict[int, SizeChange] = {}
    unknown: list[str] = []
    missed: list[str] = []
    for index, step in enumerate(steps):
        one = _known(step, data_format) or subpixel_convolution(step, steps, called, data_format)
        if one is not None:
            found[index] = one._replace(convolved=convolved[index])
        if kind_of(step.operation) is None and (one is None or _has_no_kernel(one)):
            name = f"{name_of(step)}: no kernel of a {type(step.operation).__name__}"
            change = direction_of(step, data_format)
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
        chains(called, steps, found),
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
    if of_functions and is_depth_to_space(call, data_format):
        yield call
        return
    for child in call.children:
        yield from _steps(child, data_format)


def _known(step: Call, data_format: str) -> SizeChange | None:
    """Return what is known of a layer that changes the size of maps by itself."""
    operation = step.operation
    name = type(operation).__name__
    kind = kind_of(operation)
    if isinstance(operation, MAXIMUM):
        found = SizeChange(step, step, name, False, tuple(operation.strides), None)
    elif kind is not None:
        kernel = kind.read(operation)
        ripple = kernel.ripple() if max(kernel.size) > 1 else None
        found = SizeChange(step, step, name, kind.enlarges, kernel.size, ripple, kernel.order)
    else:
        return resized(step, data_format)
    if max(found.size) == 1:
        return None
    added = len(step.inputs[0]) - 2 - len(found.size)  # by `TimeDistributed`
    return found._replace(size=(1,) * added + found.size, added=added)


def _has_no_kernel(one: SizeChange) -> bool:
    return one.ripple is None and not takes_maximum(one.call.operation)


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
