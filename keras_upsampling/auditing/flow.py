"""How the maps of a called model follow from one another, and which patterns go where."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from keras import layers

from keras_upsampling._shapes import spatial_axes
from keras_upsampling._types import Shape
from keras_upsampling.auditing.kernels import kind_of
from keras_upsampling.auditing.layout import outputs_for
from keras_upsampling.auditing.trace import Call, shapes_of
from keras_upsampling.layers.crop import Crop
from keras_upsampling.maths.ripple import Ripple

# Those change the lengths of maps, and not their scale, whatever the lengths are.
AT_THE_BORDER = (
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    Crop,
)


Lengths = tuple[Fraction, ...]


class SizeChange(NamedTuple):
    """A layer that enlarges maps, or makes them smaller.

    Attributes:
        call: Its call; of a sub-pixel convolution, the convolution's.
        step: Its call; of a sub-pixel convolution, that of depth to space.
        kind: Its class, or both classes.
        enlarges: Whether it enlarges.
        size: By how much, along every axis.
        ripple: What its kernel, or its gradient's, must do; None where there is no kernel that is
            the same everywhere, as of a maximum.
        order: Of a sub-pixel convolution, `(*size, filters)`: which channel becomes which phase.
        convolved: Whether a convolution of more than one tap comes after it, or nobody knows.
        added: How many axes of its maps come before those that its layer knows of.
    """

    call: Call
    step: Call
    kind: str
    enlarges: bool
    size: tuple[int | Fraction, ...]
    ripple: Ripple | None
    order: np.ndarray | None = None
    convolved: bool = True
    added: int = 0

    @property
    def own_size(self) -> tuple[int, ...]:
        """The size on the axes that its layer knows of."""
        return tuple(int(s) for s in self.size[self.added :])

    @property
    def has_gaps(self) -> bool:
        """Whether some samples are made from nothing."""
        return self.ripple is not None and int(self.ripple.overlap.min()) == 0


def lengths_of(shape: Shape, data_format: str) -> tuple[int, ...]:
    """Return how long a map is along every axis; nothing for what is no map."""
    axes = spatial_axes(len(shape) - 2, data_format) if len(shape) in (3, 4, 5) else ()
    return tuple(shape[axis] or 0 for axis in axes)


def map_lengths(step: Call, data_format: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how long the maps are that a step is given and makes; nothing for what is no map."""
    given, made = (lengths_of(shapes[0], data_format) if shapes else () for shapes in step[2:4])
    return (given, made) if len(given) == len(made) else ((), ())


def direction_of(step: Call, data_format: str) -> int:
    """Return 1 for a step that enlarges its map, -1 for one that makes it smaller, else 0."""
    given, made = map_lengths(step, data_format)
    # The axes of a map may change places. A single sample is a mean over the map, not a smaller
    # one.
    if sorted(given) == sorted(made) or max(made) == 1 or _only_the_border(step):
        return 0
    return 1 if math.prod(made) > math.prod(given) else -1


def _only_the_border(step: Call) -> bool:
    """Return whether a step adds or takes a number of samples, however long the map is.

    Unknown ones are tried out on a map of twice the length: there a scale would add twice as many.
    """
    if isinstance(step.operation, AT_THE_BORDER):
        return True
    given = [n or 0 for n in shapes_of(step.arguments)[0]]
    made = outputs_for(step, given)
    if made is None or len(made) != len(given):
        return False
    changed = [n != m for n, m in zip(given, made, strict=True)]
    twice = tuple(n * (1 + change) for n, change in zip(given, changed, strict=True))
    longer = tuple(m + n * change for n, m, change in zip(given, made, changed, strict=True))
    return outputs_for(step, twice) == longer


def aliases(steps: list[Call], call: Call) -> dict[int, int]:
    """Return which tensor each tensor is, that no step made: a cast leaves none of its own.

    What has the same shape, and was made last.
    """
    same: dict[int, int] = {}
    latest = dict(zip(call.inputs, call.input_ids, strict=True))
    known = set(call.input_ids)
    for step in steps:
        for shape, tensor in zip(step.inputs, step.input_ids, strict=True):
            if tensor not in known and shape in latest:
                same[tensor] = latest[shape]
        known.update(step.output_ids)
        latest.update(zip(step.outputs, step.output_ids, strict=True))
    for shape, tensor in zip(call.outputs, call.output_ids, strict=True):
        if tensor not in known and shape in latest:
            same[tensor] = latest[shape]
    return same


def convolved_after(call: Call, steps: list[Call]) -> list[bool]:
    """Return for each step whether a convolution of more than one tap comes after it.

    True too where what it makes goes on in a way that is not known.
    """
    same = aliases(steps, call)
    ends = {same.get(tensor, tensor) for tensor in call.output_ids}
    used: set[int] = set()
    convolved: set[int] = set()
    after = []
    for step in steps[::-1]:
        lost = any(tensor not in used | ends for tensor in step.output_ids)
        after.append(lost or any(tensor in convolved for tensor in step.output_ids))
        given = {same.get(tensor, tensor) for tensor in step.input_ids}
        used |= given
        if after[-1] or max(getattr(step.operation, "kernel_size", None) or (1,)) > 1:
            convolved |= given
    return after[::-1]


def periods(
    call: Call, steps: list[Call], found: dict[int, SizeChange], data_format: str
) -> list[tuple[int, ...]]:
    """Return the period of each layer's pattern where the model ends, or for gradients begins.

    Convolutions without padding take a few samples off, so lengths themselves do not tell. What is
    followed here is how long every map would be without that.
    """
    known: dict[int, Lengths] = {}
    turned: dict[int, tuple[int, ...]] = {}  # which of the first map's axes each axis is
    same = aliases(steps, call)

    def order(tensor: int, rank: int) -> tuple[int, ...]:
        found = turned.get(same.get(tensor, tensor), ())
        return found if len(found) == rank else tuple(range(rank))

    def nominal(tensor: int, shape: Shape) -> Lengths:
        lengths = lengths_of(shape, data_format)
        tensor = same.get(tensor, tensor)
        if len(known.get(tensor, ())) == len(lengths):
            return known.get(tensor, ())
        return tuple(map(Fraction, lengths))

    for index, step in enumerate(steps):
        given, made = map_lengths(step, data_format)
        start = nominal(step.input_ids[0], step.inputs[0]) if step.input_ids else ()
        one = found.get(index)
        if not given or len(start) != len(made) or 0 in given or max(made) == 1 < max(given):
            continue  # what it makes begins a map of its own, as a mean over all does
        axes = _places(given, made)
        start = tuple(start[axis] for axis in axes)
        before = order(step.input_ids[0], len(axes))
        turned[step.output_ids[0]] = tuple(before[axis] for axis in axes)
        if one is not None:
            factors = [Fraction(s) if one.enlarges else Fraction(1, s) for s in one.size]
        elif direction_of(step, data_format) == 0 or kind_of(step.operation) is not None:
            factors = [Fraction(1)] * len(given)
        else:
            factors = [Fraction(m, n) for n, m in zip(given, made, strict=True)]
        known[step.output_ids[0]] = tuple(n * f for n, f in zip(start, factors, strict=True))

    found_periods = []
    for one in found.values():
        step = one.step
        if one.enlarges:
            tensor, here = step.output_ids[0], nominal(step.output_ids[0], step.outputs[0])
            pairs = zip(call.output_ids, call.outputs, strict=True)
            ends = [(n, order(t, len(n))) for n, t in ((nominal(*p), p[0]) for p in pairs)]
        else:
            tensor, here = step.input_ids[0], nominal(step.input_ids[0], step.inputs[0])
            lengths = [tuple(map(Fraction, lengths_of(x, data_format))) for x in call.inputs]
            ends = [(end, tuple(range(len(end)))) for end in lengths]
        places = order(tensor, len(here))
        alike = [end for end in ends if len(end[0]) == len(here)] or [(here, places)]
        end, ordered = alike[0] if one.enlarges else max(alike, key=lambda end: math.prod(end[0]))
        sources = [places.index(axis) for axis in ordered]
        found_periods.append(
            tuple(
                Fraction(one.size[axis]).numerator * max(1, round(n / here[axis]))
                for n, axis in zip(end, sources, strict=True)
            )
            or tuple(Fraction(s).numerator for s in one.size)  # of more axes than are followed
        )
    return found_periods


def _places(given: tuple[int, ...], made: tuple[int, ...]) -> tuple[int, ...]:
    """Return which axis of a map each axis is, where a step lets them change places."""
    axes = tuple(range(len(given)))
    if given == made or sorted(given) != sorted(made):
        return axes
    return next(p for p in itertools.permutations(axes) if tuple(given[i] for i in p) == made)


def chains(call: Call, steps: list[Call], found: dict[int, SizeChange]) -> list[list[SizeChange]]:
    """Return the layers whose patterns come through each layer, the longest way, and itself."""
    same = aliases(steps, call)
    known: dict[int, list[SizeChange]] = {}
    for enlarges in (True, False):
        # Patterns of the output go on to the layers behind, those of the gradient to those before.
        order = list(enumerate(steps))
        through: dict[int, list[SizeChange]] = {}
        for index, step in order if enlarges else order[::-1]:
            given = tuple(same.get(tensor, tensor) for tensor in step.input_ids)
            sources, targets = (given, step.output_ids) if enlarges else (step.output_ids, given)
            way = max((through.get(tensor, []) for tensor in sources), key=len, default=[])
            one = found.get(index)
            if one is not None and one.enlarges == enlarges:
                way = known[index] = [*way, one]
            for tensor in targets:
                through[tensor] = max(through.get(tensor, []), way, key=len)
    return [known[index] for index in found]
