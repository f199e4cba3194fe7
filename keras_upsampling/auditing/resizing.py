"""What is known of operations that tell their factors only when they are called."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_upsampling._arguments import interpolation_name, positive_ints
from keras_upsampling.auditing.flow import SizeChange, map_lengths
from keras_upsampling.auditing.functions import Function
from keras_upsampling.auditing.kernels import UpsamplingKernel, interpolated, kind_of
from keras_upsampling.auditing.scaled import resizes
from keras_upsampling.auditing.trace import Call
from keras_upsampling.layers.blur_pooling import BlurPool1D, BlurPool2D, BlurPool3D
from keras_upsampling.layers.subpixel_convolution import (
    SubpixelConv,
    SubpixelConv1D,
    SubpixelConv2D,
    SubpixelConv3D,
)
from keras_upsampling.layers.upsample_convolution import (
    UpsampleConv1D,
    UpsampleConv2D,
    UpsampleConv3D,
)
from keras_upsampling.layers.upsampling import Upsample1D, Upsample2D, Upsample3D


def resized(step: Call, data_format: str) -> SizeChange | None:
    """Return what is known of a step that resizes, repeats, convolves or pools by a function.

    The kernel of an enlargement by whole factors is that of the interpolation. By other factors
    every sample has weights of its own, and images made smaller have what is left of them.
    """
    given, made = map_lengths(step, data_format)
    if not given or 0 in given or max(given) == 1:  # a single sample is a map of its own
        return None
    operation, name = step.operation, type(step.operation).__name__
    if name in _FUNCTIONS and hasattr(operation, "strides"):
        function = _FUNCTIONS[name]
        strides = operation.strides or getattr(operation, "pool_size", 1)
        size = positive_ints(strides, len(given), "strides")
        return _found(step, function.enlarges, size, _read(function, operation, size))
    if isinstance(operation, Function) and name in _OWN:
        return _own(step, operation, len(given))
    if name != "Repeat" and not (resizes(operation) and len(given) == 2):
        return None
    factors = tuple(Fraction(m, n) for n, m in zip(given, made, strict=True))
    if min(factors) < 1:
        return _found(step, False, tuple(1 / factor for factor in factors), None)
    if any(factor.denominator > 1 for factor in factors):
        return _found(step, True, factors, None)
    size = tuple(int(factor) for factor in factors)
    interpolation = interpolation_name(getattr(operation, "interpolation", "nearest"), len(size))
    return _found(step, True, size, interpolated(size, interpolation))


# The layers, by rank, that do the same as the functions of `keras_upsampling.ops`.
_OWN: dict[str, tuple[type[keras.Layer], ...]] = {
    "Resample": (Upsample1D, Upsample2D, Upsample3D),
    "BlurPool": (BlurPool1D, BlurPool2D, BlurPool3D),
    "UpsampleConv": (UpsampleConv1D, UpsampleConv2D, UpsampleConv3D),
    "SubpixelConv": (SubpixelConv1D, SubpixelConv2D, SubpixelConv3D),
}


def _own(step: Call, operation: Function, rank: int) -> SizeChange | None:
    """Return what is known of a function of this package: what is known of its layer."""
    make = _OWN[type(operation).__name__][rank - 1]
    options = {name: value for name, value in operation.arguments.items() if name != "method"}
    weights = [options.pop("kernel", None), options.pop("bias", None)]
    weights = [one for one in weights if one is not None]
    options["data_format"] = "channels_last"  # its kernel is the same in both
    channels = weights[0].shape[-2] if weights else None
    try:
        layer = make(**options, **_shape(weights, options["size"], rank, make))
        layer.build((*(None,) * (rank + 1), channels))
        layer.set_weights(weights)
    except Exception:  # while JAX traces, kernels have no numbers
        return None
    kind = kind_of(layer)
    if kind is None:
        return None
    kernel = kind.read(layer)
    return _found(step, kind.enlarges, kernel.size, kernel)


def _shape(weights: list[Any], size: Any, rank: int, make: type[keras.Layer]) -> dict[str, Any]:
    if not weights:
        return {}
    *taps, _, filters = weights[0].shape
    phases = math.prod(positive_ints(size, rank, "size")) if issubclass(make, SubpixelConv) else 1
    # Nothing is drawn for a kernel that is there already.
    return {
        "filters": filters // phases,
        "kernel_size": tuple(taps),
        "use_bias": len(weights) > 1,
        "kernel_initializer": "zeros",
    }


def _found(
    step: Call, enlarges: bool, size: tuple[int | Fraction, ...], kernel: UpsamplingKernel | None
) -> SizeChange | None:
    if all(s == 1 for s in size):
        return None
    whole = tuple(int(s) if s == int(s) else s for s in size)
    ripple = kernel.ripple() if kernel else None
    return SizeChange(step, step, type(step.operation).__name__, enlarges, whole, ripple)


class _Function(NamedTuple):
    """A function that has strides.

    Attributes:
        enlarges: Whether it enlarges.
        kernel: What gives its kernel, or its gradient's; None for a maximum, which has none.
    """

    enlarges: bool
    kernel: Callable[[Any, int], np.ndarray] | None


def _own_kernel(operation: Any, _: int) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(operation.kernel), dtype=float)


def _ones(operation: Any, rank: int) -> np.ndarray:
    return np.ones((*positive_ints(operation.pool_size, rank, "pool_size"), 1, 1))


# By the name that a functional model has for it; see `functions`.
_FUNCTIONS = {
    "ConvTranspose": _Function(True, _own_kernel),
    "Conv": _Function(False, _own_kernel),
    "DepthwiseConv": _Function(False, _own_kernel),
    "AveragePool": _Function(False, _ones),
    "MaxPool": _Function(False, None),
}


def _read(function: _Function, operation: Any, size: tuple[int, ...]) -> UpsamplingKernel | None:
    if function.kernel is None:
        return None
    try:
        return UpsamplingKernel(function.kernel(operation, len(size)), size)
    except Exception:  # while JAX traces, a kernel that depends on the input has no numbers yet
        return None
