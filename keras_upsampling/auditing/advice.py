"""What to do about a layer that makes checkerboards, or uneven gradients: a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_upsampling.auditing.flow import SizeChange
from keras_upsampling.auditing.kernels import INTERPOLATIONS, TRANSPOSED, takes_maximum
from keras_upsampling.constraints import CheckerboardFree
from keras_upsampling.layers.blur_pooling import BlurPool
from keras_upsampling.layers.subpixel_convolution import SubpixelConv

# Below this a ripple is what rounding and training leave, and nothing that is seen.
_RIPPLE = 0.01


def _is(*types: type) -> Callable[[SizeChange], bool]:
    return lambda one: isinstance(one.call.operation, types)


def is_seen(ripple: float) -> bool:
    """Return whether a ripple is more than what rounding leaves; a NaN is."""
    return not ripple <= _RIPPLE


def _ripples(figure: str) -> Callable[[SizeChange], bool]:
    return lambda one: one.ripple is not None and is_seen(getattr(one.ripple, figure))


def _interpolates(one: SizeChange) -> bool:
    operation = one.call.operation
    return isinstance(operation, INTERPOLATIONS) or type(operation).__name__ in _RESIZING


def _is_function(name: str) -> Callable[[SizeChange], bool]:
    return lambda one: type(one.call.operation).__name__ == name


def _is_uneven(one: SizeChange) -> bool:
    return one.ripple is not None and int(np.ptp(one.ripple.overlap)) > 0


def _has_taps_for_one_sample(one: SizeChange) -> bool:
    return tuple(one.call.operation.kernel_size) == one.own_size


def _has_phases_first(one: SizeChange) -> bool:
    """Whether a sub-pixel convolution's channels are in the order that the constraint takes."""
    if one.order is None:
        return False
    return np.array_equal(one.order, np.arange(one.order.size).reshape(one.order.shape))


def _may_come_apart(one: SizeChange) -> bool:
    """Whether nothing keeps the phases together that a layer may have started alike."""
    layer = one.call.operation
    constraints = [layer.kernel_constraint, *[layer.bias_constraint] * layer.use_bias]
    return not all(
        isinstance(constraint, CheckerboardFree) and constraint.subpixel
        for constraint in constraints
    )


_RESIZING = ("Resizing", "Resize", "Repeat")

_BLURRED = "BlurPool{rank}D({size}{format})"
_IN_PLACE = "use UpsampleConv{rank}D({filters}, {taps}, size={size}{format}) in its place"

# The first line of which all is true of a layer says what to do. {rank} is its number of axes,
# {size} how much it enlarges, {sizes} the same for every axis, {filters} its own, {taps} those of
# the layer in its place, and {format} its data format where that is not Keras's setting.
_ADVICE: tuple[tuple[bool, tuple[Callable[[SizeChange], bool], ...], str], ...] = (
    (
        True,
        (_is_function("ConvTranspose"), _ripples("gain")),
        "call it with a kernel whose phases have one sum, such as constraints.CheckerboardFree("
        "{sizes})(kernel) if it has a tap or more for every phase, or enlarge the map first and "
        "then convolve",
    ),
    (
        True,
        (lambda one: one.has_gaps,),
        "the kernel is smaller than the stride, so some samples are made from nothing: "
        + _IN_PLACE,
    ),
    (
        True,
        (_is(*TRANSPOSED), _ripples("gain"), _has_taps_for_one_sample),
        _IN_PLACE + "; with no more taps than its stride, it could only copy without a ripple",
    ),
    (
        True,
        (_is(*TRANSPOSED), _ripples("gain")),
        _IN_PLACE + "; to keep it, a kernel_size that {size} divides and "
        "kernel_constraint=CheckerboardFree({size}), or repair(model) once it is trained",
    ),
    (
        True,
        (_has_phases_first, _ripples("gain")),
        _IN_PLACE + "; to keep it, CheckerboardFree({sizes}, subpixel=True) as kernel_constraint "
        "and as bias_constraint, or repair(model) once it is trained; ICNR as kernel_initializer "
        "keeps the ripple out at the start only",
    ),
    (
        True,
        (lambda one: one.order is not None, _ripples("gain")),
        _IN_PLACE + ", or repair(model) once it is trained; a SubpixelConv{rank}D({filters}, "
        "{taps}, size={size}{format}) starts without the ripple, and CheckerboardFree({sizes}, "
        "subpixel=True) as its kernel_constraint and as its bias_constraint keeps it out",
    ),
    (
        True,
        (_is(SubpixelConv), _may_come_apart),
        "constants stay constant as yet, training may bring a ripple: "
        + _IN_PLACE
        + ", or CheckerboardFree({sizes}, subpixel=True) as kernel_constraint and as "
        "bias_constraint",
    ),
    # A convolution learns to smooth steps, so without one only: see docs/choosing.md.
    (
        True,
        (_interpolates, _ripples("ramp"), lambda one: not one.convolved),
        "constants stay constant, slopes get steps, and no convolution comes after it: "
        'Upsample{rank}D({size}, interpolation="linear"{format}) makes none',
    ),
    # Of a blur with an even gradient some samples may still be met by more taps than others.
    (False, (_is(BlurPool),), ""),
    (
        False,
        (lambda one: takes_maximum(one.call.operation),),
        "its gradient reaches one sample of each window: take the maximum without strides, and "
        + _BLURRED
        + " behind it",
    ),
    (
        False,
        (lambda one: one.has_gaps,),
        "some samples are never looked at, and get no gradient: take no strides and "
        + _BLURRED
        + " behind it, or a kernel_size of {size} or more",
    ),
    (
        False,
        (_is_uneven,),
        "windows overlap unevenly, and so does the gradient: take windows whose size {size} "
        "divides, or no strides and " + _BLURRED + " behind it",
    ),
    (
        False,
        (_ripples("power"),),
        "some samples get more of the gradient than others: to even it out, convolve without "
        "strides and put " + _BLURRED + " behind it",
    ),
)


def advice(one: SizeChange) -> str:
    """Return in a line what to do about a layer; nothing where there is nothing to mend."""
    layer, size = one.call.operation, one.own_size
    filters = getattr(layer, "filters", 0) if one.order is None else one.order.shape[-1]
    values = {
        "rank": len(size),
        "size": _short(size),
        "sizes": size,
        "filters": filters,
        "format": _format(getattr(layer, "data_format", None)),
        "taps": _short(_taps(layer, size)),
    }
    for enlarges, tests, text in _ADVICE:
        if enlarges == one.enlarges and all(test(one) for test in tests):
            return text.format(**values)
    return ""


def _taps(layer: keras.Layer, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the kernel size of the `UpsampleConv` that can take a layer's place.

    Nearest spreads every sample over `s` before the kernel, so `k - s + 1` taps reach as far as a
    transposed convolution's `k`; an odd number of them has its centre on the sample's.
    """
    taps = tuple(getattr(layer, "kernel_size", size))
    if not isinstance(layer, TRANSPOSED):
        return taps
    # Fewer than three taps would mix nothing where the axis is enlarged.
    return tuple(
        max(3 if s > 1 else 1, k - s + 1) | 1  # the next odd number
        for k, s in zip(taps, size, strict=True)
    )


def _format(data_format: str | None) -> str:
    usual = data_format in (None, keras.config.image_data_format())
    return "" if usual else f', data_format="{data_format}"'


def _short(lengths: Sequence[int]) -> int | tuple[int, ...]:
    return lengths[0] if len(set(lengths)) == 1 else tuple(lengths)
