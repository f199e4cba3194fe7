"""Which layers of a called model change the size of its maps, and what is known of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops, tree

from keras_upsampling._arguments import channel_axis, spatial_axes
from keras_upsampling._types import Shape
from keras_upsampling.kernels import CONVOLUTIONS, kind_of, subpixel
from keras_upsampling.maths.ripple import Ripple
from keras_upsampling.trace import (
    Call,
    calls,
    calls_of,
    data_format_of,
    inputs_of,
    is_functional,
    leaves,
)

MAXIMUM = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)

# What stands for an unknown length, by rank.
_ANY_LENGTH = {1: 256, 2: 64, 3: 16}


class Found(NamedTuple):
    """A layer that enlarges maps, or makes them smaller.

    Attributes:
        call: Its call; of a sub-pixel convolution, the convolution's.
        kind: Its class, or both classes.
        enlarges: Whether it enlarges.
        size: By how much, along every axis.
        lengths: Of the larger map.
        ripple: What its kernel, or its gradient's, must do; None for a maximum, which has none.
        order: Of a sub-pixel convolution, `(*size, filters)`: which channel becomes which phase.
    """

    call: Call
    kind: str
    enlarges: bool
    size: tuple[int, ...]
    lengths: tuple[int, ...]
    ripple: Ripple | None
    order: np.ndarray | None = None


class Survey(NamedTuple):
    """The layers of a called model that change the size of maps, and what is not known of it."""

    call: Call
    found: list[Found]
    missed: list[str]
    data_format: str


def name_of(call: Call) -> str:
    """Return a layer's name behind those of the models that it is in, but for the whole."""
    return "/".join(call.path[1:] or call.path)


def survey(model: keras.Model, inputs: Any = None) -> Survey:
    """Call a model, and look at every layer that it calls.

    Raises:
        TypeError: not a model.
        ValueError: the shape of its input is not known, and `inputs` are not given.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"Expected a keras.Model. Received {model!r}; for a single layer, use `audit_kernel`."
        )
    _, call = calls_of(model, noise(model) if inputs is None else inputs)
    data_format = data_format_of(one.operation for one in leaves(call))
    found: list[Found] = []
    missed: list[str] = []
    convolution: Call | None = None
    for step in _steps(call):
        one = _known(step, data_format) or _shuffled(step, convolution, data_format)
        if one is not None:
            found.append(one)
        elif kind_of(step.operation) is None:
            missed += _unknown(step, data_format)
        convolution = _pending(step, convolution)
    missed += _outside_of_layers(call, data_format)
    called = {id(one.operation) for one in calls(call)}
    missed += [
        f"{layer.name}: it was not called"
        for layer in model.layers
        if id(layer) not in called and not isinstance(layer, layers.InputLayer)
    ]
    return Survey(call, found, missed, data_format)


def noise(model: keras.Model, batch: int = 1) -> Any:
    """Return something to call a model with: maps of values from 0 to 1, normal codes, zeros.

    Raises:
        ValueError: the shape of its input is not known.
    """
    if not is_functional(model) or not model.built:
        raise ValueError(
            f"The shape of what {model.name!r} takes is not known. Received a "
            f"{type(model).__name__}; pass `inputs`, something that it can be called with."
        )
    rng = np.random.default_rng(0)
    data_format = data_format_of(model.layers)

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
        values = rng.random(shape) if rank in _ANY_LENGTH else rng.normal(size=shape)
        return ops.convert_to_tensor(values, dtype=x.dtype)

    return tree.map_structure(drawn, inputs_of(model))


def period_of(one: Found, seen: Survey) -> tuple[int, ...]:
    """Return the period of a layer's pattern where the model ends; of a gradient's, begins."""
    shapes = seen.call.outputs if one.enlarges else seen.call.inputs
    ends = _lengths(shapes[0], seen.data_format) if shapes else ()
    if len(ends) != len(one.size):
        return one.size
    # Convolutions without padding take a few samples off.
    ratios = [max(1, round(n / m)) for n, m in zip(ends, one.lengths, strict=True)]
    return tuple(s * ratio for s, ratio in zip(one.size, ratios, strict=True))


def _steps(call: Call) -> Iterator[Call]:
    """Yield what does one thing, in order: a layer that is known, or that calls no other."""
    # An activation may be a layer, called by the one that it belongs to.
    known = kind_of(call.operation) or isinstance(call.operation, MAXIMUM)
    if known or not call.children:
        yield call
        return
    for child in call.children:
        yield from _steps(child)


def _known(step: Call, data_format: str) -> Found | None:
    """Return what is known of a layer that changes the size of maps by itself."""
    operation = step.operation
    name = type(operation).__name__
    given, made = _of_maps(step, data_format)
    if isinstance(operation, MAXIMUM):
        return Found(step, name, False, tuple(operation.strides), given, None)
    kind = kind_of(operation)
    if kind is None:
        return None
    kernel = kind.read(operation)
    if max(kernel.size) == 1:
        return None
    larger = made if kind.enlarges else given
    return Found(step, name, kind.enlarges, kernel.size, larger, kernel.ripple())


def _shuffled(step: Call, convolution: Call | None, data_format: str) -> Found | None:
    """Return what is known of a convolution, if this step is the depth-to-space behind it."""
    size = _factor(step, data_format)
    if convolution is None or size is None or convolution.outputs[0] != step.inputs[0]:
        return None
    order = _channel_order(step, size, data_format)
    if order is None:
        return None
    layer = convolution.operation
    name = f"{type(layer).__name__} + {type(step.operation).__name__}"
    _, made = _of_maps(step, data_format)
    return Found(convolution, name, True, size, made, subpixel(layer, size, order).ripple(), order)


def _unknown(step: Call, data_format: str) -> list[str]:
    """Return a sentence on a step of unknown kind, if it changes the size of maps."""
    name = type(step.operation).__name__
    if _factor(step, data_format) is not None:
        return [f"{name_of(step)}: no kernel of a {name} is known"]
    if _shrinks(step, data_format):
        return [f"{name_of(step)}: no kernel of a {name}'s gradient is known"]
    return []


def _pending(step: Call, convolution: Call | None) -> Call | None:
    """Return the convolution that depth-to-space may follow, after this step."""
    operation = step.operation
    if isinstance(operation, CONVOLUTIONS):
        return step if max(operation.strides) == 1 and operation.groups == 1 else None
    # Activations treat all phases alike; what has weights may not.
    plain = len(step.inputs) == 1 and step.inputs == step.outputs
    return convolution if plain and not getattr(operation, "weights", ()) else None


def _lengths(shape: Shape, data_format: str) -> tuple[int, ...]:
    axes = spatial_axes(len(shape) - 2, data_format) if len(shape) in (3, 4, 5) else ()
    return tuple(shape[axis] or 0 for axis in axes)


def _of_maps(step: Call, data_format: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    given, made = (_lengths(shapes[0], data_format) if shapes else () for shapes in step[2:4])
    return (given, made) if len(given) == len(made) else ((), ())


def _factor(step: Call, data_format: str) -> tuple[int, ...] | None:
    """Return by how much a step enlarges its map; None if it does not."""
    given, made = _of_maps(step, data_format)
    whole = given and all(n and m % n == 0 for n, m in zip(given, made, strict=True))
    size = tuple(m // n for n, m in zip(given, made, strict=True)) if whole else (1,)
    return size if max(size) > 1 else None


def _shrinks(step: Call, data_format: str) -> bool:
    given, made = _of_maps(step, data_format)
    # A single sample is a mean over the map, not a smaller one.
    return any(1 < m <= n / 2 for n, m in zip(given, made, strict=True))


def _channel_order(step: Call, size: tuple[int, ...], data_format: str) -> np.ndarray | None:
    """Return which channel becomes which phase, if a step is depth-to-space.

    It is tried out, on a map whose values are the numbers of its channels.
    """
    rank, count = len(size), math.prod(size)
    axis = channel_axis(rank, data_format)
    channels = step.inputs[0][axis] or 0
    if channels % count or step.outputs[0][axis] != channels // count:
        return None
    numbers = np.broadcast_to(np.arange(channels, dtype="float32"), (1, *(2,) * rank, channels))
    if data_format == "channels_first":
        numbers = np.moveaxis(numbers, -1, 1)
    try:
        made = ops.convert_to_numpy(step.operation(ops.convert_to_tensor(numbers)))
    except Exception:  # of whatever the layer does with a small map: then it is something else
        return None
    if data_format == "channels_first":
        made = np.moveaxis(made, 1, -1)
    order = made[0][tuple(slice(s) for s in size)]
    same = np.array_equal(made[0], np.tile(order, (*(2,) * rank, 1)))
    each_once = np.array_equal(np.sort(order, axis=None), np.arange(channels))
    return order.astype(int) if same and each_once else None


def _outside_of_layers(call: Call, data_format: str) -> Iterator[str]:
    """Yield the layers that change the size of maps between the calls of others."""
    if not call.children or kind_of(call.operation):
        return
    if not is_functional(call.operation):
        known = {_lengths(shape, data_format) for shape in call.inputs}
        changes = False
        for child in call.children:
            changes |= any(_lengths(shape, data_format) not in known for shape in child.inputs)
            made = {_lengths(shape, data_format) for shape in child.outputs}
            known |= made
        # What comes out is as large as what the last layer made, unless that was a mean of it all.
        ends = {_lengths(shape, data_format) for shape in call.outputs}
        changes |= not ends & made and all(max(lengths, default=1) > 1 for lengths in made)
        if changes:
            yield f"{name_of(call)}: it changes the size of maps outside of its layers"
    for child in call.children:
        yield from _outside_of_layers(child, data_format)
