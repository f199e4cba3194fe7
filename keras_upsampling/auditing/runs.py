"""Calls of a part of a model with constants, and with noise on its way back."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_upsampling._tables import by
from keras_upsampling._types import Tensor
from keras_upsampling.auditing.flow import lengths_of
from keras_upsampling.auditing.layout import in_format
from keras_upsampling.auditing.parts import Part, resized
from keras_upsampling.auditing.sizes import (
    Lengths,
    Subject,
    fits,
    own_lengths,
    own_shapes,
    shapes_at,
)
from keras_upsampling.auditing.survey import Survey, survey_call
from keras_upsampling.auditing.trace import leaf_calls, record_call
from keras_upsampling.ops.gradient import input_gradient
from keras_upsampling.ops.tables import compiled_on_jax

# So many draws of constants, and of noise, are measured together.
_DRAWS = 4

_SHORT = {1: 256, 2: 16, 3: 8}

# How much of every axis is out of reach of the borders, for the output and for the gradient.
_MIDDLE = {True: 1 / 3, False: 2 / 3}


def subject_of(part: Part, whole: Survey) -> Subject:
    """Return a part with the survey of a call of it in the model's own size."""
    survey = whole
    if part.place:
        zeros = _tensors(part, [np.zeros(shape) for shape in own_shapes(part)])
        _, call = record_call(_function(part), tree.pack_sequence_as(part.inputs, zeros))
        survey = survey_call(call)
    rank = len(survey.call.outputs[0]) - 2
    return Subject(part, survey, own_lengths(part, rank))


def in_size(subject: Subject, lengths: Lengths) -> Subject:
    """Return a part as it is to be called with maps of some lengths."""
    shapes = [
        in_format(np.empty(shape), data_format).shape
        for shape, data_format in zip(
            shapes_at(subject, lengths), subject.part.data_formats, strict=True
        )
    ]
    return subject._replace(part=resized(subject.part, shapes))


def middle_lengths(subject: Subject, enlarges: bool) -> Lengths:
    """Return the lengths of the middle of what is measured, in the model's own size."""
    call = subject.survey.call
    lengths = lengths_of(call.outputs[0], "channels_last") if enlarges else subject.own_lengths
    return tuple(n - 2 * _cut(n, _MIDDLE[enlarges]) for n in lengths)


def answers_to_constants(subject: Subject, lengths: Lengths) -> np.ndarray:
    """Return the middle of the outputs for constants, their channels last."""
    rng = np.random.default_rng(0)

    def constant(shape: Sequence[int]) -> np.ndarray:
        return np.broadcast_to(rng.random([shape[0], *[1] * subject.rank, shape[-1]]), shape)

    inputs = _drawn(subject, lengths, constant, rng)
    return np.concatenate([_middle(y, _MIDDLE[True]) for y in _outputs(subject, lengths, inputs)])


def gradients_of_noise(subject: Subject, lengths: Lengths) -> np.ndarray:
    """Return the middle of the gradients at the input, their channels last."""
    rng = np.random.default_rng(0)
    part = subject.part

    tensors = tree.flatten(part.inputs)
    sizes = [math.prod(lengths_of(shape, "channels_last")) for shape in subject.survey.call.inputs]
    inputs = _drawn(subject, lengths, lambda shape: rng.normal(size=shape), rng)
    main = sizes.index(max(sizes))
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensors[main].dtype)):
        raise ValueError("its input holds integers, which have no gradient")
    shape = next(_outputs(subject, lengths, inputs)).shape
    weights = rng.normal(size=(_DRAWS, *shape[1:]))

    def weighted(x: Tensor, weights: Tensor, *others: Tensor) -> Tensor:
        given = tree.pack_sequence_as(part.inputs, [*others[:main], x, *others[main:]])
        with keras.StatelessScope():
            outputs = tree.flatten(part.model(given, training=False))[0]
        weights = ops.cast(weights, outputs.dtype)
        if subject.survey.data_format == "channels_first":
            weights = ops.moveaxis(weights, -1, 1)
        return ops.sum(ops.cast(outputs * weights, "float32"))

    gradient = input_gradient(weighted)
    slopes = []
    for *chunk, weight in _chunks(subject, lengths, [*inputs, weights]):
        others = _tensors(part, chunk)
        x = others.pop(main)
        slope = gradient(x, ops.convert_to_tensor(weight.astype("float32")), *others)
        slope = _channels_last(slope, part.data_formats[main])
        slopes.append(_middle(slope, _MIDDLE[False]).astype(float))
    return np.concatenate(slopes)


def _drawn(
    subject: Subject,
    lengths: Lengths,
    draw: Callable[[Sequence[int]], np.ndarray],
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Return all draws of every input, channels last: what `draw` gives, codes, or zeros."""
    # Figures stay those of earlier versions, which drew for a short map first.
    for shape in own_shapes(subject.part):
        if len(shape) == subject.rank + 2:
            draw([_DRAWS, *[_SHORT[subject.rank]] * subject.rank, shape[-1]])
    drawn = []
    for x, shape in zip(
        tree.flatten(subject.part.inputs), shapes_at(subject, lengths), strict=True
    ):
        whole = [_DRAWS, *shape[1:]]
        is_float = keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))
        if len(shape) == subject.rank + 2:
            values = draw(whole)
            # Integers are bytes.
            values = values if is_float else 255 * abs(values) % 256
        else:
            values = rng.normal(size=whole) if is_float else np.zeros(whole)
        drawn.append(values)
    return drawn


def _chunks(
    subject: Subject, lengths: Lengths, draws: list[np.ndarray]
) -> Iterator[list[np.ndarray]]:
    """Yield the draws, as many at once as there is memory for."""
    batch = next((n for n in (_DRAWS, _DRAWS // 2) if fits(subject, lengths, n)), 1)
    for start in range(0, _DRAWS, batch):
        yield [x[start : start + batch] for x in draws]


def _tensors(part: Part, arrays: list[np.ndarray]) -> list[Tensor]:
    """Return arrays, channels last, as the part takes them."""
    return [
        ops.convert_to_tensor(in_format(values, data_format).astype("float32"), dtype=x.dtype)
        for values, data_format, x in zip(
            arrays, part.data_formats, tree.flatten(part.inputs), strict=True
        )
    ]


def _outputs(subject: Subject, lengths: Lengths, draws: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the first output for all draws, some at a time, channels last.

    Raises:
        ValueError: the maps are too small, so that nothing is left of one.
    """
    function = _function(subject.part)
    for index, chunk in enumerate(_chunks(subject, lengths, draws)):
        part = subject.part
        given = tree.pack_sequence_as(part.inputs, _tensors(part, chunk))
        if index:
            outputs = function(given, training=False)
        else:
            outputs, call = record_call(function, given)
            if any(0 in shape for one in leaf_calls(call) for shape in one.outputs):
                raise ValueError(f"maps of {by(lengths)} are too small for it")
        y = ops.convert_to_numpy(ops.cast(tree.flatten(outputs)[0], "float32"))
        outputs = None  # PyTorch keeps all that it was made from
        yield _channels_last(y, subject.survey.data_format)


def _function(part: Part) -> Callable[..., Any]:
    def once(inputs: Any, training: bool) -> Any:
        # Counters and seeds stay as they are; on JAX they would keep what only a trace has.
        with keras.StatelessScope():
            return part.model(inputs, training=training)

    # A function of its own, which nothing has compiled: calls are seen while it is traced.
    return compiled_on_jax(functools.partial(once), ("training",))


def _channels_last(x: np.ndarray, data_format: str) -> np.ndarray:
    return x if data_format == "channels_last" else np.moveaxis(x, 1, -1)


def _cut(n: int, share: float) -> int:
    return round(n * (1 - share) / 2)


def _middle(x: np.ndarray, share: float) -> np.ndarray:
    for axis in range(1, x.ndim - 1):
        n = x.shape[axis]
        cut = _cut(n, share)
        x = np.take(x, range(cut, n - cut), axis=axis)
    return x
