"""Calls of a part of a model with constants, and with noise for its gradient."""

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
from keras_upsampling.auditing.parts import Part, resize_part
from keras_upsampling.auditing.sizes import (
    Lengths,
    SurveyedPart,
    fits,
    model_lengths,
    model_shapes,
    scaled_shapes,
)
from keras_upsampling.auditing.survey import Survey, survey_call
from keras_upsampling.auditing.trace import leaf_calls, record_call
from keras_upsampling.ops.gradient import input_gradient
from keras_upsampling.ops.tables import compiled_on_jax

# How many draws of constants, or of noise, are measured together.
_DRAWS = 4

# By rank, the lengths of a first draw whose values are not used.
_FIRST_DRAW_LENGTH = {1: 256, 2: 16, 3: 8}

# By `enlarges`, the share of every axis that is out of reach of the borders.
_MIDDLE = {True: 1 / 3, False: 2 / 3}


def survey_part(part: Part, model_survey: Survey) -> SurveyedPart:
    """Return a part with the survey of a call of it in the model's size."""
    survey = model_survey
    if part.place:
        zeros = _to_tensors(part, [np.zeros(shape) for shape in model_shapes(part)])
        _, call = record_call(_as_function(part), tree.pack_sequence_as(part.inputs, zeros))
        survey = survey_call(call)
    rank = len(survey.call.outputs[0]) - 2
    return SurveyedPart(part, survey, model_lengths(part, rank))


def resize_surveyed_part(surveyed: SurveyedPart, lengths: Lengths) -> SurveyedPart:
    """Return a surveyed part that can be called with maps of other lengths."""
    shapes = [
        in_format(np.empty(shape), data_format).shape
        for shape, data_format in zip(
            scaled_shapes(surveyed, lengths), surveyed.part.data_formats, strict=True
        )
    ]
    return surveyed._replace(part=resize_part(surveyed.part, shapes))


def middle_lengths(surveyed: SurveyedPart, enlarges: bool) -> Lengths:
    """Return the lengths of the middle that is measured, in the model's size."""
    output_lengths = lengths_of(surveyed.survey.call.outputs[0], "channels_last")
    lengths = output_lengths if enlarges else surveyed.model_lengths
    return tuple(n - 2 * _margin(n, _MIDDLE[enlarges]) for n in lengths)


def response_to_constants(surveyed: SurveyedPart, lengths: Lengths) -> np.ndarray:
    """Return the middle of the outputs for constant inputs, channels last."""
    rng = np.random.default_rng(0)

    def draw_constants(shape: Sequence[int]) -> np.ndarray:
        return np.broadcast_to(rng.random([shape[0], *[1] * surveyed.rank, shape[-1]]), shape)

    inputs = _draw_inputs(surveyed, lengths, draw_constants, rng)
    outputs = _first_outputs(surveyed, lengths, inputs)
    return np.concatenate([_middle(y, _MIDDLE[True]) for y in outputs])


def gradient_of_noise(surveyed: SurveyedPart, lengths: Lengths) -> np.ndarray:
    """Return the middle of the gradient at the largest input, channels last.

    It is the gradient of a sum of outputs with random weights, for inputs of noise.

    Raises:
        ValueError: If that input contains integers.
    """
    rng = np.random.default_rng(0)
    part = surveyed.part

    tensors = tree.flatten(part.inputs)
    sizes = [math.prod(lengths_of(shape, "channels_last")) for shape in surveyed.survey.call.inputs]
    inputs = _draw_inputs(surveyed, lengths, lambda shape: rng.normal(size=shape), rng)
    largest = sizes.index(max(sizes))
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensors[largest].dtype)):
        raise ValueError("its input contains integers, which have no gradient")
    shape = next(_first_outputs(surveyed, lengths, inputs)).shape
    weights = rng.normal(size=(_DRAWS, *shape[1:]))

    def weighted_sum(x: Tensor, weights: Tensor, *other_inputs: Tensor) -> Tensor:
        values = [*other_inputs[:largest], x, *other_inputs[largest:]]
        with keras.StatelessScope():
            outputs = part.model(tree.pack_sequence_as(part.inputs, values), training=False)
        output = tree.flatten(outputs)[0]
        weights = ops.cast(weights, output.dtype)
        if surveyed.survey.data_format == "channels_first":
            weights = ops.moveaxis(weights, -1, 1)
        return ops.sum(ops.cast(output * weights, "float32"))

    gradient_function = input_gradient(weighted_sum)
    gradients = []
    for *batch, weight in _batches(surveyed, lengths, [*inputs, weights]):
        other_inputs = _to_tensors(part, batch)
        x = other_inputs.pop(largest)
        weight = ops.convert_to_tensor(weight.astype("float32"))
        gradient = _channels_last(
            gradient_function(x, weight, *other_inputs), part.data_formats[largest]
        )
        gradients.append(_middle(gradient, _MIDDLE[False]).astype(float))
    return np.concatenate(gradients)


def _draw_inputs(
    surveyed: SurveyedPart,
    lengths: Lengths,
    draw_map: Callable[[Sequence[int]], np.ndarray],
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Return all draws of every input, channels last: maps, codes of noise, or zeros for integers.

    Args:
        surveyed: The part.
        lengths: Lengths of its largest input map.
        draw_map: Returns the values of a map, for its shape.
        rng: Generator for codes.
    """
    # Earlier versions drew a short map first: draw it too, so that figures stay the same.
    for shape in model_shapes(surveyed.part):
        if len(shape) == surveyed.rank + 2:
            spatial = [_FIRST_DRAW_LENGTH[surveyed.rank]] * surveyed.rank
            draw_map([_DRAWS, *spatial, shape[-1]])
    inputs = []
    for x, shape in zip(
        tree.flatten(surveyed.part.inputs), scaled_shapes(surveyed, lengths), strict=True
    ):
        batch_shape = [_DRAWS, *shape[1:]]
        is_float = keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))
        if len(shape) == surveyed.rank + 2:
            values = draw_map(batch_shape)
            # Maps of integers are images of bytes.
            values = values if is_float else 255 * abs(values) % 256
        else:
            values = rng.normal(size=batch_shape) if is_float else np.zeros(batch_shape)
        inputs.append(values)
    return inputs


def _batches(
    surveyed: SurveyedPart, lengths: Lengths, draws: list[np.ndarray]
) -> Iterator[list[np.ndarray]]:
    """Yield the draws in batches that fit into the memory."""
    batch = next((n for n in (_DRAWS, _DRAWS // 2) if fits(surveyed, lengths, n)), 1)
    for start in range(0, _DRAWS, batch):
        yield [x[start : start + batch] for x in draws]


def _to_tensors(part: Part, arrays: list[np.ndarray]) -> list[Tensor]:
    """Convert arrays with channels last to tensors in the data formats and dtypes of a part."""
    return [
        ops.convert_to_tensor(in_format(values, data_format).astype("float32"), dtype=x.dtype)
        for values, data_format, x in zip(
            arrays, part.data_formats, tree.flatten(part.inputs), strict=True
        )
    ]


def _first_outputs(
    surveyed: SurveyedPart, lengths: Lengths, draws: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield the first output for each batch of draws, channels last.

    Raises:
        ValueError: If the maps are so small that a layer returns an empty one.
    """
    part = surveyed.part
    function = _as_function(part)
    for index, batch in enumerate(_batches(surveyed, lengths, draws)):
        inputs = tree.pack_sequence_as(part.inputs, _to_tensors(part, batch))
        if index:
            outputs = function(inputs, training=False)
        else:
            outputs, call = record_call(function, inputs)
            if any(0 in shape for leaf in leaf_calls(call) for shape in leaf.outputs):
                raise ValueError(f"maps of {by(lengths)} are too small for it")
        y = ops.convert_to_numpy(ops.cast(tree.flatten(outputs)[0], "float32"))
        outputs = None  # free PyTorch's graph before the next batch
        yield _channels_last(y, surveyed.survey.data_format)


def _as_function(part: Part) -> Callable[..., Any]:
    def run(inputs: Any, training: bool) -> Any:
        # Keeps counters and seeds unchanged. On JAX they would keep values of the trace.
        with keras.StatelessScope():
            return part.model(inputs, training=training)

    # A new function object is not compiled yet, so calls are recorded while JAX traces it.
    return compiled_on_jax(functools.partial(run), ("training",))


def _channels_last(x: np.ndarray, data_format: str) -> np.ndarray:
    return x if data_format == "channels_last" else np.moveaxis(x, 1, -1)


def _margin(n: int, share: float) -> int:
    return round(n * (1 - share) / 2)


def _middle(x: np.ndarray, share: float) -> np.ndarray:
    for axis in range(1, x.ndim - 1):
        n = x.shape[axis]
        margin = _margin(n, share)
        x = np.take(x, range(margin, n - margin), axis=axis)
    return x
