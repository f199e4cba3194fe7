"""The sizes in which a part of a model is measured: large enough for its patterns, within 1 GB.

The *model's size* is the size in which the whole model was called.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from keras import layers

from keras_upsampling._types import Shape
from keras_upsampling.auditing.flow import aliases, lengths_of
from keras_upsampling.auditing.layout import channels_last_shape
from keras_upsampling.auditing.parts import Part
from keras_upsampling.auditing.survey import Survey, name_of
from keras_upsampling.auditing.trace import Call, all_calls, leaf_calls, shapes_of

# The most memory that a measurement may take beyond the model's own forward pass, in bytes.
MAX_BYTES = 2**30

# For the outputs of the layers, their gradients, and as much again inside the layers.
_COPIES = 4

# By rank: how many samples per axis the smallest map in the part should have, so that its middle
# is out of reach of the borders, and how long the largest map may become for that.
_SMALLEST_MAP = {1: 512, 2: 32, 3: 16}
_LARGEST_MAP = {1: 16384, 2: 512, 3: 64}

# The middle third of a map of 8 periods contains two of them.
_PERIODS = 8

_ALL_PAIRS = (
    layers.Attention,
    layers.AdditiveAttention,
    layers.MultiHeadAttention,
    layers.GroupQueryAttention,
)

Lengths = tuple[int, ...]


class Pattern(NamedTuple):
    """The pattern of a layer in the output of a part, or of its gradient at the part's input.

    Attributes:
        layer: The layer's name.
        period: Period of the pattern in samples, per axis.
        obstacle: Why it cannot be measured in maps of any size; empty if it can.
    """

    layer: str
    period: Lengths
    obstacle: str


class SurveyedPart(NamedTuple):
    """A part of a model, and the survey of a call of it in the model's size.

    Attributes:
        part: The part.
        survey: The survey of that call.
        model_lengths: Lengths of the part's largest input map in the model's size.
    """

    part: Part
    survey: Survey
    model_lengths: Lengths

    @property
    def rank(self) -> int:
        """The number of spatial axes of its maps."""
        return len(self.model_lengths)


def model_shapes(part: Part) -> list[Lengths]:
    """Return the input shapes of a part in the model's size, one example each.

    Maps have their channels last, whatever the data format.
    """
    return [
        channels_last_shape(tuple(n or 1 for n in shape), data_format)
        for shape, data_format in zip(shapes_of(part.inputs), part.data_formats, strict=True)
    ]


def model_lengths(part: Part, rank: int) -> Lengths:
    """Return the lengths of a part's largest input map in the model's size.

    Raises:
        ValueError: If `rank` is above 3, or the part has no input maps of that rank.
    """
    if rank not in _SMALLEST_MAP:
        raise ValueError(f"maps of {rank} axes are not measured")
    lengths = [shape[1:-1] for shape in model_shapes(part) if len(shape) == rank + 2]
    if not lengths:
        raise ValueError("its input and its output have different numbers of axes")
    return max(lengths, key=math.prod)


def scaled_shapes(surveyed: SurveyedPart, lengths: Lengths) -> list[Lengths]:
    """Return the input shapes, channels last, for which the largest input map has `lengths`.

    Raises:
        ValueError: If another input map cannot be scaled by the same factors.
    """
    shapes = []
    for shape in model_shapes(surveyed.part):
        map_lengths = shape[1:-1] if len(shape) == surveyed.rank + 2 else ()
        # A single sample next to a map, such as an embedding, belongs to the whole map.
        if not map_lengths or max(map_lengths) == 1 < max(surveyed.model_lengths):
            shapes.append(shape)
            continue
        scaled = [
            Fraction(n * length, model_length)
            for n, length, model_length in zip(
                map_lengths, lengths, surveyed.model_lengths, strict=True
            )
        ]
        if any(n.denominator > 1 for n in scaled):
            raise ValueError(
                f"its inputs of {map_lengths} and {surveyed.model_lengths} cannot be scaled by "
                "the same factors"
            )
        shapes.append((1, *map(int, scaled), shape[-1]))
    return shapes


def patterns(surveyed: SurveyedPart, *, enlarges: bool) -> list[Pattern]:
    """Return the patterns of the upsampling layers, or of the downsampling layers' gradients."""
    survey = surveyed.survey
    measured = _ancestors(survey.call, survey.call.output_ids[:1])
    unmeasured = _ancestors(survey.call, survey.call.output_ids[1:]) - measured
    layer_patterns = []
    for change, period in zip(survey.changes, survey.periods, strict=True):
        if change.enlarges != enlarges or len(period) != surveyed.rank:
            continue
        step = change.step
        small = step.inputs[0] if enlarges else step.outputs[0]
        # With `any_size`, a single sample is only what the model's size left of a map.
        is_single = max(lengths_of(small, "channels_last")) == 1 < max(surveyed.model_lengths)
        obstacle = ""
        if is_single and not surveyed.part.any_size:
            obstacle = "its map is a single sample, so nothing repeats"
        elif unmeasured.intersection(step.output_ids):
            obstacle = "it leads to other outputs, and only the first is measured"
        layer_patterns.append(Pattern(name_of(change.call), period, obstacle))
    return layer_patterns


def _ancestors(call: Call, outputs: tuple[int, ...]) -> set[int]:
    """Return the numbers of `outputs`, and of all tensors that they are computed from."""
    steps = [step for step in all_calls(call) if step is not call]
    same = aliases(list(leaf_calls(call)), call)
    ancestors = set(outputs)
    previous_count = 0
    while previous_count < len(ancestors):
        previous_count = len(ancestors)
        ancestors |= {same[tensor] for tensor in ancestors & same.keys()}
        for step in reversed(steps):
            if ancestors.intersection(step.output_ids):
                ancestors.update(step.input_ids)
    return ancestors


def unknown_factors(surveyed: SurveyedPart, *, enlarges: bool) -> Lengths:
    """Return the largest factor, per axis, by which unknown layers may change the size.

    It is the ratio of the longest map to the shortest. It is 1 if all layers are known.
    """
    survey = surveyed.survey
    if not survey.unknown_upsampling and not survey.notes:
        return (1,) * surveyed.rank
    output_lengths = lengths_of(survey.call.outputs[0], "channels_last")
    longest = output_lengths if enlarges else surveyed.model_lengths
    maps = [
        lengths
        for call in leaf_calls(survey.call)
        for lengths in (lengths_of(shape, "channels_last") for shape in call.inputs + call.outputs)
        if len(lengths) == len(longest)
    ]
    # Skip single samples: they are means over a map, as in channel attention.
    shortest = [min([n for n in axis if n > 1] or [1]) for axis in zip(longest, *maps, strict=True)]
    return tuple(max(1, round(n / m)) for n, m in zip(longest, shortest, strict=True))


def larger_sizes(surveyed: SurveyedPart) -> Iterator[Lengths]:
    """Yield lengths at which the smallest map still has a middle, the best ones first.

    Some models accept any multiple of the factors of their layers. Others accept only multiples of
    their own size.
    """
    rank, model_lengths = surveyed.rank, surveyed.model_lengths
    up, down = (
        max(
            max(unknown_factors(surveyed, enlarges=enlarges)),
            *(max(p.period) for p in patterns(surveyed, enlarges=enlarges) if not p.obstacle),
            1,
        )
        for enlarges in (True, False)
    )
    wanted = down * max(_PERIODS, min(_SMALLEST_MAP[rank], _LARGEST_MAP[rank] // max(up, down)))
    least = min(down * _PERIODS, max(model_lengths) + 1)
    squares = [(length,) * rank for length in range(wanted, least - 1, -down)]
    most_times = -(-wanted // max(model_lengths))
    multiples = [tuple(n * times for n in model_lengths) for times in range(most_times, 1, -1)]
    for sizes in (squares, multiples):
        yield from [size for size in sizes if fits(surveyed, size)][:1]


def fits(surveyed: SurveyedPart, lengths: Lengths, batch: int = 1) -> bool:
    """Return whether `batch` examples of that size can be measured at once."""
    return batch * bytes_for(surveyed, lengths) <= MAX_BYTES


def bytes_for(surveyed: SurveyedPart, lengths: Lengths) -> int:
    """Return the memory for one example of that size, estimated from the model's size."""
    call = surveyed.survey.call
    ratio = math.prod(lengths) / math.prod(surveyed.model_lengths)
    batch = max(1, call.inputs[0][0] or 1)
    maps = {
        lengths_of(shape, "channels_last")
        for each_call in all_calls(call)
        for shape in (*each_call.inputs, *each_call.outputs)
        if len(shape) == surveyed.rank + 2
    }
    return math.ceil(_COPIES * _output_bytes(call, surveyed.rank, maps, ratio) / batch)


def _output_bytes(call: Call, rank: int, maps: set[Lengths], ratio: float) -> float:
    """Return the bytes of all outputs in a call, for maps with `ratio` times as many samples.

    Counts the outputs of layers, and of `keras.ops` functions in their code. Functions of the
    backend itself are not counted.
    """
    if isinstance(call.operation, _ALL_PAIRS):
        # Attention compares all pairs of samples, in layers or inside one operation.
        tokens = math.prod(n or 1 for n in call.inputs[0][1:-1])
        heads = getattr(call.operation, "num_heads", 1)
        inside = sum(each_call.size for each_call in all_calls(call)) + 4 * heads * tokens**2
        return inside * ratio**2
    total = sum(size * ratio ** _growth_exponent(shape, maps) for shape, size in call.inside)
    if not call.children:
        has_maps = any(len(shape) == rank + 2 for shape in call.outputs)
        only_tokens = not has_maps and any(len(shape) > 2 for shape in call.outputs)
        return total + call.size * (ratio**2 if only_tokens else ratio if has_maps else 1)
    # The call's own code made the tensors that no child returned.
    known = {tensor for child in call.children for tensor in child.output_ids}.union(call.input_ids)
    value_count = sum(map(_value_count, call.outputs)) or 1
    total += sum(
        call.size * _value_count(shape) / value_count * ratio ** _growth_exponent(shape, maps)
        for shape, tensor in zip(call.outputs, call.output_ids, strict=True)
        if tensor not in known
    )
    return total + sum(_output_bytes(child, rank, maps, ratio) for child in call.children)


def _value_count(shape: Shape) -> int:
    return math.prod(n or 1 for n in shape)


def _growth_exponent(shape: Shape, maps: set[Lengths]) -> int:
    """Return the power of the map's area with which a tensor grows: 2 for all pairs of samples."""
    if shape[1:-1] in maps or shape[2:] in maps:
        return 1
    return max(1, min(2, max((shape.count(math.prod(n)) for n in maps if max(n) > 1), default=1)))


def holds_two_periods(lengths: Sequence[int], period: Sequence[int]) -> bool:
    """Return whether maps of those lengths contain two periods along every axis."""
    return all(2 * s <= n or s == 1 for n, s in zip(lengths, period, strict=True))
