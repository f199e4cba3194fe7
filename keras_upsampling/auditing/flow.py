"""Follow maps and their patterns through the steps of a called model."""

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

# Layers that add or remove a fixed number of samples at the border and keep the scale.
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
    """A layer that upsamples or downsamples maps.

    Attributes:
        call: Call of the layer. For a sub-pixel convolution, the call of the convolution.
        step: Call of the layer. For a sub-pixel convolution, the call of depth to space.
        kind: Name of the class; both names for a sub-pixel convolution.
        enlarges: Whether it upsamples.
        size: Factor along each axis.
        ripple: Ripple of the kernel, or of the gradient's for downsampling; None without a fixed
            kernel, as for maximum pooling.
        order: For a sub-pixel convolution, the channel of each phase, `(*size, filters)`.
        convolved: Whether a convolution of more than one tap comes after it; True if unknown.
        added: Number of leading spatial axes that `TimeDistributed` adds to those of the layer.
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
        """The factor along the axes of the layer itself."""
        return tuple(int(s) for s in self.size[self.added :])

    @property
    def has_gaps(self) -> bool:
        """Whether some output samples have no contributing input sample."""
        return self.ripple is not None and int(self.ripple.overlap.min()) == 0


def lengths_of(shape: Shape, data_format: str) -> tuple[int, ...]:
    """Return the spatial lengths of a map; an empty tuple for other tensors."""
    axes = spatial_axes(len(shape) - 2, data_format) if len(shape) in (3, 4, 5) else ()
    return tuple(shape[axis] or 0 for axis in axes)


def map_lengths(step: Call, data_format: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the lengths of a step's first input and output; empty if they differ in rank."""
    inputs, outputs = (
        lengths_of(shapes[0], data_format) if shapes else ()
        for shapes in (step.inputs, step.outputs)
    )
    return (inputs, outputs) if len(inputs) == len(outputs) else ((), ())


def direction_of(step: Call, data_format: str) -> int:
    """Return 1 for a step that upsamples its map, -1 for one that downsamples it, else 0."""
    inputs, outputs = map_lengths(step, data_format)
    # Equal sorted lengths: a permutation of the axes. A single sample: a mean over the map.
    if sorted(inputs) == sorted(outputs) or max(outputs) == 1 or _changes_only_the_border(step):
        return 0
    return 1 if math.prod(outputs) > math.prod(inputs) else -1


def _changes_only_the_border(step: Call) -> bool:
    """Return whether a step adds or removes a number of samples that is independent of the length.

    Steps of unknown kinds are tested with maps of twice the length. A change of scale would add or
    remove twice as many samples there.
    """
    if isinstance(step.operation, AT_THE_BORDER):
        return True
    shape = [n or 0 for n in shapes_of(step.arguments)[0]]
    result = outputs_for(step, shape)
    if result is None or len(result) != len(shape):
        return False
    changed = [n != m for n, m in zip(shape, result, strict=True)]
    doubled = tuple(n * (1 + change) for n, change in zip(shape, changed, strict=True))
    expected = tuple(m + n * change for n, m, change in zip(shape, result, changed, strict=True))
    return outputs_for(step, doubled) == expected


def aliases(steps: list[Call], call: Call) -> dict[int, int]:
    """Map tensors that no step computed, such as the results of casts, to their sources.

    The source is taken to be the latest tensor of the same shape.
    """
    sources: dict[int, int] = {}
    latest = dict(zip(call.inputs, call.input_ids, strict=True))
    computed = set(call.input_ids)
    for step in steps:
        for shape, tensor in zip(step.inputs, step.input_ids, strict=True):
            if tensor not in computed and shape in latest:
                sources[tensor] = latest[shape]
        computed.update(step.output_ids)
        latest.update(zip(step.outputs, step.output_ids, strict=True))
    for shape, tensor in zip(call.outputs, call.output_ids, strict=True):
        if tensor not in computed and shape in latest:
            sources[tensor] = latest[shape]
    return sources


def convolved_after(call: Call, steps: list[Call]) -> list[bool]:
    """Return for each step whether a convolution of more than one tap comes after it.

    Also true if an output of the step goes on unrecorded: no step uses it, and it is no output of
    the model.
    """
    sources = aliases(steps, call)
    model_outputs = {sources.get(tensor, tensor) for tensor in call.output_ids}
    used: set[int] = set()
    convolved: set[int] = set()
    results = []
    for step in steps[::-1]:
        unused = any(tensor not in used | model_outputs for tensor in step.output_ids)
        results.append(unused or any(tensor in convolved for tensor in step.output_ids))
        inputs = {sources.get(tensor, tensor) for tensor in step.input_ids}
        used |= inputs
        if results[-1] or max(getattr(step.operation, "kernel_size", None) or (1,)) > 1:
            convolved |= inputs
    return results[::-1]


class _NominalMaps:
    """Nominal lengths of the maps of a call, and which axis of the input each of their axes is.

    Convolutions without padding shorten maps by a few samples, so ratios of actual lengths are not
    exact. Nominal lengths are the lengths without this shortening.
    """

    def __init__(self, call: Call, steps: list[Call], data_format: str) -> None:
        self.data_format = data_format
        self._aliases = aliases(steps, call)
        self._lengths: dict[int, Lengths] = {}
        self._axes: dict[int, tuple[int, ...]] = {}

    def lengths(self, tensor: int, shape: Shape) -> Lengths:
        """Return the nominal lengths of a tensor; its actual lengths where they are unknown."""
        actual = lengths_of(shape, self.data_format)
        nominal = self._lengths.get(self._aliases.get(tensor, tensor), ())
        return nominal if len(nominal) == len(actual) else tuple(map(Fraction, actual))

    def axes(self, tensor: int, rank: int) -> tuple[int, ...]:
        """Return for each spatial axis of a tensor the axis of the input that it comes from."""
        axes = self._axes.get(self._aliases.get(tensor, tensor), ())
        return axes if len(axes) == rank else tuple(range(rank))

    def follow(self, step: Call, change: SizeChange | None) -> None:
        """Derive the nominal lengths and the axes of a step's output from those of its input."""
        inputs, outputs = map_lengths(step, self.data_format)
        lengths = self.lengths(step.input_ids[0], step.inputs[0]) if step.input_ids else ()
        is_mean = bool(inputs) and max(outputs) == 1 < max(inputs)
        if not inputs or len(lengths) != len(outputs) or 0 in inputs or is_mean:
            return  # the output is unrelated to the input map
        moved = _permutation(inputs, outputs)
        input_axes = self.axes(step.input_ids[0], len(moved))
        if change is not None:
            factors = [Fraction(s) if change.enlarges else Fraction(1, s) for s in change.size]
        elif direction_of(step, self.data_format) == 0 or kind_of(step.operation) is not None:
            factors = [Fraction(1)] * len(inputs)
        else:
            factors = [Fraction(m, n) for n, m in zip(inputs, outputs, strict=True)]
        output = step.output_ids[0]
        self._axes[output] = tuple(input_axes[axis] for axis in moved)
        self._lengths[output] = tuple(
            lengths[axis] * factor for axis, factor in zip(moved, factors, strict=True)
        )


def periods(
    call: Call, steps: list[Call], changes: dict[int, SizeChange], data_format: str
) -> list[tuple[int, ...]]:
    """Return the period of each layer's pattern in the model's output, or input for gradients.

    Args:
        call: Call of the model.
        steps: The steps of the call, in order.
        changes: The size change of each step that has one, by the step's index.
        data_format: Data format of all maps.
    """
    maps = _NominalMaps(call, steps, data_format)
    for index, step in enumerate(steps):
        maps.follow(step, changes.get(index))
    return [_period(change, call, maps) for change in changes.values()]


def _period(change: SizeChange, call: Call, maps: _NominalMaps) -> tuple[int, ...]:
    """Return the period of a layer's pattern where the model ends, or begins for gradients."""
    step = change.step
    if change.enlarges:
        tensor, shape = step.output_ids[0], step.outputs[0]
        ends = []
        for end, end_shape in zip(call.output_ids, call.outputs, strict=True):
            lengths = maps.lengths(end, end_shape)
            ends.append((lengths, maps.axes(end, len(lengths))))
    else:
        tensor, shape = step.input_ids[0], step.inputs[0]
        actual = [lengths_of(end_shape, maps.data_format) for end_shape in call.inputs]
        ends = [(tuple(map(Fraction, n)), tuple(range(len(n)))) for n in actual]
    own_lengths = maps.lengths(tensor, shape)
    own_axes = maps.axes(tensor, len(own_lengths))
    ends = [end for end in ends if len(end[0]) == len(own_lengths)] or [(own_lengths, own_axes)]
    # Of several inputs the largest one counts, of several outputs the first.
    end_lengths, end_axes = (
        ends[0] if change.enlarges else max(ends, key=lambda end: math.prod(end[0]))
    )
    period = tuple(
        Fraction(change.size[own_axis]).numerator * max(1, round(n / own_lengths[own_axis]))
        for n, own_axis in zip(end_lengths, map(own_axes.index, end_axes), strict=True)
    )
    # Maps of more than three axes have no lengths here.
    return period or tuple(Fraction(s).numerator for s in change.size)


def _permutation(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> tuple[int, ...]:
    """Return for each axis of the output which axis of the input has its length."""
    axes = tuple(range(len(inputs)))
    if inputs == outputs or sorted(inputs) != sorted(outputs):
        return axes
    return next(
        permutation
        for permutation in itertools.permutations(axes)
        if tuple(inputs[axis] for axis in permutation) == outputs
    )


def chains(call: Call, steps: list[Call], changes: dict[int, SizeChange]) -> list[list[SizeChange]]:
    """Return for each layer the longest chain of layers whose patterns pass through it.

    A chain ends with the layer itself. The arguments are those of `periods`.
    """
    aliased = aliases(steps, call)
    results: dict[int, list[SizeChange]] = {}
    for enlarges in (True, False):
        # Patterns of outputs pass to the layers after, patterns of gradients to those before.
        indexed = list(enumerate(steps))
        longest: dict[int, list[SizeChange]] = {}
        for index, step in indexed if enlarges else indexed[::-1]:
            inputs = tuple(aliased.get(tensor, tensor) for tensor in step.input_ids)
            sources, targets = (inputs, step.output_ids) if enlarges else (step.output_ids, inputs)
            chain = max((longest.get(tensor, []) for tensor in sources), key=len, default=[])
            change = changes.get(index)
            if change is not None and change.enlarges == enlarges:
                chain = results[index] = [*chain, change]
            for tensor in targets:
                longest[tensor] = max(longest.get(tensor, []), chain, key=len)
    return [results[index] for index in changes]
