"""Survey a model: find the layers that change the size of its maps, and their ripples."""

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

# The length that replaces an unknown one, by rank.
_DEFAULT_LENGTHS = {1: 256, 2: 64, 3: 16}


class Survey(NamedTuple):
    """The layers of a called model that change the size of maps.

    Attributes:
        call: The call of the model, with the channels last in all shapes.
        changes: Size changes of the layers, in the order of their calls.
        periods: Period of each layer's pattern in the model's output; for gradients, in its input.
        chains: For each layer, the layers whose patterns pass through it, and itself.
        unknown_upsampling: Sentences about upsampling whose kernel is unknown.
        notes: Sentences about other steps that were not analysed.
        data_format: Data format of the model's output.
    """

    call: Call
    changes: list[SizeChange]
    periods: list[tuple[int, ...]]
    chains: list[list[SizeChange]]
    unknown_upsampling: list[str]
    notes: list[str]
    data_format: str


def name_of(call: Call) -> str:
    """Return the name of a layer with the models around it, such as `decoder/up`."""
    return "/".join(call.path[1:] or call.path)


def survey_model(model: keras.Model, inputs: Any = None) -> Survey:
    """Call a model and survey every layer that it calls.

    Raises:
        TypeError: If `model` is not a model.
        ValueError: If the model has no `call`, or its input shape is unknown and `inputs` is None.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {model!r} of type {type(model).__name__}. "
            "Use `audit_kernel` for a single layer; load a file with `keras.saving.load_model`."
        )
    refuse_without_call(model)
    model_inputs = noise(model) if inputs is None else inputs
    state = [
        (variable, ops.convert_to_numpy(variable)) for variable in model.non_trainable_variables
    ]
    try:
        _, call = record_call(model, model_inputs)
    except Exception as error:
        if inputs is not None:
            raise
        raise ValueError(
            f"{model.name!r} must accept its default inputs, noise of the shapes "
            f"{shapes_of(model_inputs)}. Received: an error of the call ({reason_of(error)}). Pass "
            "`inputs` that the model accepts."
        ) from error
    finally:
        for variable, value in state:  # the call has changed counters and seeds
            variable.assign(value)
    survey = survey_call(call)
    called = {id(inner.operation) for inner in all_calls(call)}
    survey.notes.extend(
        f"{layer.name}: it was not called"
        for layer in model.layers
        if id(layer) not in called and not isinstance(layer, layers.InputLayer)
    )
    return survey


def noise(model: keras.Model, batch: int = 1) -> Any:
    """Return noise as inputs of a model: maps of values from 0 to 1, normal codes, zero integers.

    Raises:
        ValueError: If the model has no `call`, or its input shape is unknown.
    """
    refuse_without_call(model)
    specs = inputs_of(model)
    if specs is None:
        raise ValueError(
            f"The input shape of {model.name!r} must be known. Received: a {type(model).__name__}, "
            "which does not define it. Pass `inputs`, such as inputs=np.zeros((1, 64, 64, 3))."
        )
    rng = np.random.default_rng(0)
    data_format = input_format(model)

    def draw(x: keras.KerasTensor) -> Any:
        rank = len(x.shape) - 2
        spatial = spatial_axes(rank, data_format) if rank in _DEFAULT_LENGTHS else ()
        shape = [
            n or (_DEFAULT_LENGTHS[rank] if axis in spatial else 1)
            for axis, n in enumerate(x.shape)
        ]
        shape[0] = x.shape[0] or batch
        if not keras.backend.is_float_dtype(x.dtype):
            # Zero is a valid token, index or label in any vocabulary.
            return ops.zeros(shape, dtype=x.dtype)
        # Maps need a mean, as images and features have: it causes most of a checkerboard.
        if rank in _DEFAULT_LENGTHS:
            values = rng.random(channels_last_shape(tuple(shape), data_format))
        else:
            values = rng.normal(size=shape)
        return ops.convert_to_tensor(in_format(values, data_format), dtype=x.dtype)

    return tree.map_structure(draw, specs)


def survey_call(call: Call) -> Survey:
    """Survey the call of a model."""
    formats = formats_of(call)
    output_format = next((formats[tensor] for tensor in call.output_ids), "channels_last")
    model_call, data_format = with_channels_last(call, formats), "channels_last"
    opened_call = opened(model_call)
    steps = list(_steps(opened_call, data_format))
    convolved = convolved_after(opened_call, steps)
    changes: dict[int, SizeChange] = {}
    unknown_upsampling: list[str] = []
    notes: list[str] = []
    for index, step in enumerate(steps):
        change = _layer_change(step, data_format)
        change = change or subpixel_convolution(step, steps, opened_call, data_format)
        if change is not None:
            changes[index] = change._replace(convolved=convolved[index])
        if kind_of(step.operation) is None and (change is None or _has_no_kernel(change)):
            name, kind = name_of(step), type(step.operation).__name__
            direction = direction_of(step, data_format)
            ranks = [len(shapes[0]) if shapes else 0 for shapes in (step.inputs, step.outputs)]
            if min(ranks) > 2 and ranks[0] != ranks[1] and ranks[1] in (3, 4, 5):
                unknown_upsampling.append(f"{name}: it computes maps from a tensor of another rank")
            elif direction > 0:
                unknown_upsampling.append(f"{name}: {kind} has no known kernel")
            elif direction < 0:
                notes.append(f"{name}: the gradient of {kind} has no known kernel")
    unknown_upsampling += _changes_outside_of_layers(opened_call, data_format)
    return Survey(
        call=model_call,
        changes=list(changes.values()),
        periods=periods(opened_call, steps, changes, data_format),
        chains=chains(opened_call, steps, changes),
        unknown_upsampling=list(dict.fromkeys(unknown_upsampling)),
        notes=list(dict.fromkeys(notes)),
        data_format=output_format,
    )


def _steps(call: Call, data_format: str) -> Iterator[Call]:
    """Yield the steps of a call in order: layers of a known kind, or without inner layers."""
    # The inner calls of Keras's layers and of this package's are details of those layers.
    if kind_of(call.operation) or not call.children or not _holds_user_layers(call.operation):
        yield call
        return
    # A layer that calls only functions may be depth to space with its own channel order.
    only_functions = all(isinstance(child.operation, Function) for child in call.children)
    if only_functions and is_depth_to_space(call, data_format):
        yield call
        return
    for child in call.children:
        yield from _steps(child, data_format)


def _layer_change(step: Call, data_format: str) -> SizeChange | None:
    """Return the size change of a single layer or function; None if it has none."""
    operation = step.operation
    name = type(operation).__name__
    kind = kind_of(operation)
    if isinstance(operation, MAXIMUM):
        change = SizeChange(step, step, name, False, tuple(operation.strides), None)
    elif kind is not None:
        kernel = kind.read(operation)
        ripple = kernel.ripple() if max(kernel.size) > 1 else None
        change = SizeChange(step, step, name, kind.enlarges, kernel.size, ripple, kernel.order)
    else:
        return resized(step, data_format)
    if max(change.size) == 1:
        return None
    added = len(step.inputs[0]) - 2 - len(change.size)  # by `TimeDistributed`
    return change._replace(size=(1,) * added + change.size, added=added)


def _has_no_kernel(change: SizeChange) -> bool:
    return change.ripple is None and not takes_maximum(change.call.operation)


def _holds_user_layers(operation: Any) -> bool:
    """Return whether an operation calls layers that a user put into it."""
    package = type(operation).__module__.split(".")[0]
    from_library = package in ("keras", "keras_upsampling")
    return not from_library or isinstance(operation, (keras.Model, layers.Wrapper, layers.Lambda))


def _changes_outside_of_layers(call: Call, data_format: str) -> Iterator[str]:
    """Yield a sentence for each layer or model whose own code changes the size of maps."""
    if not call.children or kind_of(call.operation) or not _holds_user_layers(call.operation):
        return
    if not is_functional(call.operation):
        computed = {lengths_of(shape, data_format) for shape in call.inputs}
        last: set[tuple[int, ...]] = set()
        changes = False
        for child in call.children:
            changes |= any(lengths_of(shape, data_format) not in computed for shape in child.inputs)
            last = {lengths_of(shape, data_format) for shape in child.outputs}
            computed |= last
        # The outputs have the size of the last layer's, unless that computes a mean over the map.
        outputs = {lengths_of(shape, data_format) for shape in call.outputs}
        changes |= not outputs & last and all(max(lengths, default=1) > 1 for lengths in last)
        if changes:
            yield f"{name_of(call)}: it changes the size of maps outside of its layers"
    for child in call.children:
        yield from _changes_outside_of_layers(child, data_format)
