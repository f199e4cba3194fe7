"""In which sizes a part of a model is measured: what its patterns ask for, within a gigabyte."""

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

# What a measurement may take beyond the model's own forward pass, in bytes.
MOST_BYTES = 2**30

# The tensors that layers give each other, their gradients, and as much again within the layers.
_COPIES = 4

# How many samples the smallest map in the part has along an axis, by rank: enough for a middle
# that is out of reach of the borders; and how long the largest may be for that.
_LEAST = {1: 512, 2: 32, 3: 16}
_MOST = {1: 16384, 2: 512, 3: 64}

# With so many periods in a map, the middle third of it has two.
_PERIODS = 8

_ALL_PAIRS = (
    layers.Attention,
    layers.AdditiveAttention,
    layers.MultiHeadAttention,
    layers.GroupQueryAttention,
)

Lengths = tuple[int, ...]


class Pattern(NamedTuple):
    """What a layer's pattern is like where the part ends, or that of its gradient where it begins.

    Attributes:
        layer: The layer's name.
        period: In samples, along every axis.
        hidden: Why it is not survey in maps of any size; empty if it is.
    """

    layer: str
    period: Lengths
    hidden: str


class Subject(NamedTuple):
    """A part of a model, and what a call of it in the model's own size has shown.

    Attributes:
        part: The part.
        survey: The survey of that call.
        own_lengths: The lengths of the largest map that it takes, in the model's own size.
    """

    part: Part
    survey: Survey
    own_lengths: Lengths

    @property
    def rank(self) -> int:
        """The number of axes of its maps."""
        return len(self.own_lengths)


def own_shapes(part: Part) -> list[Lengths]:
    """Return the shapes of what a part takes in the model's own size, one sample of each.

    The channels are the last axis of every map, whatever the data format.
    """
    return [
        channels_last_shape(tuple(n or 1 for n in shape), data_format)
        for shape, data_format in zip(shapes_of(part.inputs), part.data_formats, strict=True)
    ]


def own_lengths(part: Part, rank: int) -> Lengths:
    """Return the lengths of the largest map that a part takes, in the model's own size.

    Raises:
        ValueError: it takes no maps of that rank, or has more axes than three.
    """
    if rank not in _LEAST:
        raise ValueError(f"maps of {rank} axes are not measured")
    lengths = [shape[1:-1] for shape in own_shapes(part) if len(shape) == rank + 2]
    if not lengths:
        raise ValueError("what it takes and what it makes have not the same axes")
    return max(lengths, key=math.prod)


def shapes_at(subject: Subject, lengths: Lengths) -> list[Lengths]:
    """Return the shapes of the inputs for which the largest map has those lengths.

    As `own_shapes`.

    Raises:
        ValueError: the other maps cannot be scaled alike.
    """
    shapes = []
    for shape in own_shapes(subject.part):
        here = shape[1:-1] if len(shape) == subject.rank + 2 else ()
        # A single sample beside a map, such as an embedding, belongs to all of the map.
        if not here or max(here) == 1 < max(subject.own_lengths):
            shapes.append(shape)
            continue
        scaled = [
            Fraction(n * length, own)
            for n, length, own in zip(here, lengths, subject.own_lengths, strict=True)
        ]
        if any(n.denominator > 1 for n in scaled):
            raise ValueError(
                f"its inputs, of {here} and {subject.own_lengths}, cannot be scaled alike"
            )
        shapes.append((1, *map(int, scaled), shape[-1]))
    return shapes


def patterns(subject: Subject, *, enlarges: bool) -> list[Pattern]:
    """Return the patterns of all layers of a part that enlarge, or of the gradients of others."""
    survey = subject.survey
    measured = _origins(survey.call, survey.call.output_ids[:1])
    elsewhere = _origins(survey.call, survey.call.output_ids[1:]) - measured
    found = []
    for one, period in zip(survey.changes, survey.periods, strict=True):
        if one.enlarges != enlarges or len(period) != subject.rank:
            continue
        step = one.step
        small = step.inputs[0] if enlarges else step.outputs[0]
        # Where sizes are not fixed, a single sample is only what this size left of a map.
        single = max(lengths_of(small, "channels_last")) == 1 < max(subject.own_lengths)
        hidden = ""
        if single and not subject.part.any_size:
            hidden = "its map is a single sample, of which nothing repeats"
        elif elsewhere.intersection(step.output_ids):
            hidden = "it leads to other outputs, and the first is measured"
        found.append(Pattern(name_of(one.call), period, hidden))
    return found


def _origins(call: Call, outputs: tuple[int, ...]) -> set[int]:
    """Return the numbers of all tensors that some outputs are made from, and their own."""
    steps = [one for one in all_calls(call) if one is not call]
    same = aliases(list(leaf_calls(call)), call)
    known = set(outputs)
    before = 0
    while before < len(known):
        before = len(known)
        known |= {same[tensor] for tensor in known & same.keys()}
        for step in reversed(steps):
            if known.intersection(step.output_ids):
                known.update(step.input_ids)
    return known


def unknown_ratio(subject: Subject, *, enlarges: bool) -> Lengths:
    """Return by how much what is not known may enlarge: the smallest map tells."""
    survey = subject.survey
    if not survey.unknown_upsampling and not survey.notes:
        return (1,) * subject.rank
    ends = lengths_of(survey.call.outputs[0], "channels_last") if enlarges else subject.own_lengths
    maps = [
        lengths
        for one in leaf_calls(survey.call)
        for lengths in (lengths_of(other, "channels_last") for other in one.inputs + one.outputs)
        if len(lengths) == len(ends)
    ]
    # A single sample is a mean over the map, as in attention to channels.
    least = [min([n for n in axis if n > 1] or [1]) for axis in zip(ends, *maps, strict=True)]
    return tuple(max(1, round(n / m)) for n, m in zip(ends, least, strict=True))


def larger_sizes(subject: Subject) -> Iterator[Lengths]:
    """Yield sizes in which the smallest map still has a middle, the best one first.

    Some models take any multiple of what their layers divide by; others only multiples of their
    own size.
    """
    rank, own = subject.rank, subject.own_lengths
    larger, smaller = (
        max(
            max(unknown_ratio(subject, enlarges=enlarges)),
            *(max(one.period) for one in patterns(subject, enlarges=enlarges) if not one.hidden),
            1,
        )
        for enlarges in (True, False)
    )
    wanted = smaller * max(_PERIODS, min(_LEAST[rank], _MOST[rank] // max(larger, smaller)))
    least = min(smaller * _PERIODS, max(own) + 1)
    squares = [(length,) * rank for length in range(wanted, least - 1, -smaller)]
    multiples = [tuple(n * times for n in own) for times in range(-(-wanted // max(own)), 1, -1)]
    for sizes in (squares, multiples):
        yield from [size for size in sizes if fits(subject, size)][:1]


def fits(subject: Subject, lengths: Lengths, batch: int = 1) -> bool:
    """Return whether so many samples of that size can be measured at once."""
    return batch * bytes_for(subject, lengths) <= MOST_BYTES


def bytes_for(subject: Subject, lengths: Lengths) -> int:
    """Return how much memory one sample of that size would take, from what its own size takes."""
    call = subject.survey.call
    ratio = math.prod(lengths) / math.prod(subject.own_lengths)
    count = max(1, call.inputs[0][0] or 1)
    maps = {
        lengths_of(shape, "channels_last")
        for one in all_calls(call)
        for shape in (*one.inputs, *one.outputs)
        if len(shape) == subject.rank + 2
    }
    return math.ceil(_COPIES * _held(call, subject.rank, maps, ratio) / count)


def _held(call: Call, rank: int, maps: set[Lengths], ratio: float) -> float:
    """Return the bytes of all that layers give each other, in maps `ratio` times as large.

    And of what their own code makes by functions of `keras.ops`. What it makes by a backend's own
    functions is not known.
    """
    if isinstance(call.operation, _ALL_PAIRS):
        # Each sample is compared with each, whether by layers or inside of one operation.
        tokens = math.prod(n or 1 for n in call.inputs[0][1:-1])
        heads = getattr(call.operation, "num_heads", 1)
        inside = sum(one.size for one in all_calls(call)) + 4 * heads * tokens**2
        return inside * ratio**2
    held = sum(size * ratio ** _growth(shape, maps) for shape, size in call.inside)
    if not call.children:
        made_maps = any(len(shape) == rank + 2 for shape in call.outputs)
        tokens_only = not made_maps and any(len(shape) > 2 for shape in call.outputs)
        return held + call.size * (ratio**2 if tokens_only else ratio if made_maps else 1)
    # What none of its children made, its own code did.
    known = {tensor for child in call.children for tensor in child.output_ids}.union(call.input_ids)
    numbers = sum(map(_numbers, call.outputs)) or 1
    held += sum(
        call.size * _numbers(shape) / numbers * ratio ** _growth(shape, maps)
        for shape, tensor in zip(call.outputs, call.output_ids, strict=True)
        if tensor not in known
    )
    return held + sum(_held(child, rank, maps, ratio) for child in call.children)


def _numbers(shape: Shape) -> int:
    return math.prod(n or 1 for n in shape)


def _growth(shape: Shape, maps: set[Lengths]) -> int:
    """Return how often the samples of a map are in a shape: twice, if each meets each."""
    if shape[1:-1] in maps or shape[2:] in maps:
        return 1
    return max(1, min(2, max((shape.count(math.prod(n)) for n in maps if max(n) > 1), default=1)))


def repeats(lengths: Sequence[int], period: Sequence[int]) -> bool:
    """Return whether maps of those lengths hold two periods along every axis."""
    return all(2 * s <= n or s == 1 for n, s in zip(lengths, period, strict=True))
