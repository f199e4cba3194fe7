"""The advice on a layer that makes checkerboards or uneven gradients: a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_upsampling.auditing.flow import SizeChange
from keras_upsampling.auditing.kernels import INTERPOLATIONS, TRANSPOSED, takes_maximum
from keras_upsampling.constraints import CheckerboardFree
from keras_upsampling.layers.blur_pooling import BlurPool
from keras_upsampling.layers.subpixel_convolution import SubpixelConv

# A ripple below this is rounding or training noise, and is not visible.
_RIPPLE = 0.01

Test = Callable[[SizeChange], bool]


def _is(*types: type) -> Test:
    return lambda change: isinstance(change.call.operation, types)


def is_seen(ripple: float) -> bool:
    """Return whether a ripple is large enough to be visible. NaN counts as visible."""
    return not ripple <= _RIPPLE


def _ripples(kind: str) -> Test:
    return lambda change: change.ripple is not None and is_seen(getattr(change.ripple, kind))


def _interpolates(change: SizeChange) -> bool:
    operation = change.call.operation
    return isinstance(operation, INTERPOLATIONS) or type(operation).__name__ in _RESIZING


def _is_function(name: str) -> Test:
    return lambda change: type(change.call.operation).__name__ == name


def _is_uneven(change: SizeChange) -> bool:
    return change.ripple is not None and int(np.ptp(change.ripple.overlap)) > 0


def _has_one_tap_per_phase(change: SizeChange) -> bool:
    return tuple(change.call.operation.kernel_size) == change.own_size


def _has_phases_first(change: SizeChange) -> bool:
    """Return whether the channels are in the order that `CheckerboardFree` expects."""
    if change.order is None:
        return False
    return np.array_equal(change.order, np.arange(change.order.size).reshape(change.order.shape))


def _may_gain_ripple(change: SizeChange) -> bool:
    """Return whether training may make the phases different, since no constraint prevents it."""
    layer = change.call.operation
    constraints = [layer.kernel_constraint, *[layer.bias_constraint] * layer.use_bias]
    return not all(
        isinstance(constraint, CheckerboardFree) and constraint.subpixel
        for constraint in constraints
    )


_RESIZING = ("Resizing", "Resize", "Repeat")

_ADD_BLUR = "add BlurPool{rank}D({size}{format}) after it"
_REPLACE = "use UpsampleConv{rank}D({filters}, {taps}, size={size}{format}) instead"

# Rows: whether the layer upsamples, tests, advice. The first row that matches is the advice. In it,
# {taps} is the kernel size of the replacement, and {format} a data format that is not the default.
_ADVICE: tuple[tuple[bool, tuple[Test, ...], str], ...] = (
    (
        True,
        (_is_function("ConvTranspose"), _ripples("gain")),
        "call it with a kernel whose phases have equal sums, such as constraints.CheckerboardFree("
        "{sizes})(kernel) if it has at least one tap per phase, or upsample the map first and then "
        "convolve",
    ),
    (
        True,
        (lambda change: change.has_gaps,),
        "the kernel is smaller than the stride, so some output samples have no input: " + _REPLACE,
    ),
    (
        True,
        (_is(*TRANSPOSED), _ripples("gain"), _has_one_tap_per_phase),
        _REPLACE + "; a kernel no larger than its stride has no ripple only if it copies samples",
    ),
    (
        True,
        (_is(*TRANSPOSED), _ripples("gain")),
        _REPLACE + "; to keep the layer, use a kernel_size that is a multiple of {size} and "
        "kernel_constraint=CheckerboardFree({size}), or repair(model) after training",
    ),
    (
        True,
        (_has_phases_first, _ripples("gain")),
        _REPLACE + "; to keep the layer, use CheckerboardFree({sizes}, subpixel=True) as "
        "kernel_constraint and as bias_constraint, or repair(model) after training; ICNR as "
        "kernel_initializer prevents the ripple only at the start",
    ),
    (
        True,
        (lambda change: change.order is not None, _ripples("gain")),
        _REPLACE + ", or repair(model) after training; a SubpixelConv{rank}D({filters}, "
        "{taps}, size={size}{format}) starts without the ripple, and CheckerboardFree({sizes}, "
        "subpixel=True) as its kernel_constraint and as its bias_constraint keeps it so",
    ),
    (
        True,
        (_is(SubpixelConv), _may_gain_ripple),
        "constants stay constant now, but training may bring a ripple: "
        + _REPLACE
        + ", or CheckerboardFree({sizes}, subpixel=True) as kernel_constraint and as "
        "bias_constraint",
    ),
    # A convolution after the layer learns to smooth the steps: see docs/choosing.md.
    (
        True,
        (_interpolates, _ripples("ramp"), lambda change: not change.convolved),
        "constants stay constant, but slopes become steps, and no convolution follows: use "
        'Upsample{rank}D({size}, interpolation="linear"{format}), which makes no steps',
    ),
    # No advice for a blur: its overlap may be uneven while its gradient is even.
    (False, (_is(BlurPool),), ""),
    (
        False,
        (lambda change: takes_maximum(change.call.operation),),
        "its gradient reaches one sample of each window: take the maximum without strides, and "
        + _ADD_BLUR,
    ),
    (
        False,
        (lambda change: change.has_gaps,),
        "some samples are never read, and get no gradient: use no strides and "
        + _ADD_BLUR
        + ", or use a kernel_size of {size} or more",
    ),
    (
        False,
        (_is_uneven,),
        "windows overlap unevenly, so the gradient is uneven: use windows whose size is a multiple "
        "of {size}, or use no strides and " + _ADD_BLUR,
    ),
    (
        False,
        (_ripples("power"),),
        "some samples get more of the gradient than others: to even it out, convolve without "
        "strides and " + _ADD_BLUR,
    ),
)


def advice(change: SizeChange) -> str:
    """Return one line on how to fix a layer; empty if there is nothing to fix."""
    layer, size = change.call.operation, change.own_size
    filters = getattr(layer, "filters", 0) if change.order is None else change.order.shape[-1]
    values = {
        "rank": len(size),
        "size": _short(size),
        "sizes": size,
        "filters": filters,
        "format": _format(getattr(layer, "data_format", None)),
        "taps": _short(_taps(layer, size)),
    }
    for enlarges, tests, text in _ADVICE:
        if enlarges == change.enlarges and all(test(change) for test in tests):
            return text.format(**values)
    return ""


def _taps(layer: keras.Layer, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the kernel size of the `UpsampleConv` that replaces a layer.

    Nearest upsampling repeats every sample `s` times before the kernel. So `k - s + 1` taps reach
    as far as the `k` taps of a transposed convolution. An odd number of taps keeps the centre.
    """
    taps = tuple(getattr(layer, "kernel_size", size))
    if not isinstance(layer, TRANSPOSED):
        return taps
    # With fewer than three taps, an upsampled axis would not be mixed.
    return tuple(
        max(3 if s > 1 else 1, k - s + 1) | 1  # rounded up to an odd number
        for k, s in zip(taps, size, strict=True)
    )


def _format(data_format: str | None) -> str:
    is_default = data_format in (None, keras.config.image_data_format())
    return "" if is_default else f', data_format="{data_format}"'


def _short(lengths: Sequence[int]) -> int | tuple[int, ...]:
    return lengths[0] if len(set(lengths)) == 1 else tuple(lengths)
