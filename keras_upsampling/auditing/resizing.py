"""Size changes of operations whose factors are known only from their calls."""

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
    """Return the size change of a step that resizes or repeats, or is a function with strides.

    Upsampling by integers has the kernel of its interpolation. Fractional factors and downsampling
    by resizing have no fixed kernel: the weights differ from sample to sample.
    """
    inputs, outputs = map_lengths(step, data_format)
    if not inputs or 0 in inputs or max(inputs) == 1:  # a single sample has no pattern
        return None
    operation, name = step.operation, type(step.operation).__name__
    if name in _STRIDED and hasattr(operation, "strides"):
        function = _STRIDED[name]
        strides = operation.strides or getattr(operation, "pool_size", 1)
        size = positive_ints(strides, len(inputs), "strides")
        return _size_change(step, function.enlarges, size, _kernel(function, operation, size))
    if isinstance(operation, Function) and name in _LAYERS:
        return _as_layer(step, operation, len(inputs))
    if name != "Repeat" and not (resizes(operation) and len(inputs) == 2):
        return None
    factors = tuple(Fraction(m, n) for n, m in zip(inputs, outputs, strict=True))
    if min(factors) < 1:
        return _size_change(step, False, tuple(1 / factor for factor in factors), None)
    if any(factor.denominator > 1 for factor in factors):
        return _size_change(step, True, factors, None)
    size = tuple(int(factor) for factor in factors)
    interpolation = interpolation_name(getattr(operation, "interpolation", "nearest"), len(size))
    return _size_change(step, True, size, interpolated(size, interpolation))


# The layers, by rank, that compute the same as the functions of `keras_upsampling.ops`.
_LAYERS: dict[str, tuple[type[keras.Layer], ...]] = {
    "Resample": (Upsample1D, Upsample2D, Upsample3D),
    "BlurPool": (BlurPool1D, BlurPool2D, BlurPool3D),
    "UpsampleConv": (UpsampleConv1D, UpsampleConv2D, UpsampleConv3D),
    "SubpixelConv": (SubpixelConv1D, SubpixelConv2D, SubpixelConv3D),
}


def _as_layer(step: Call, operation: Function, rank: int) -> SizeChange | None:
    """Return the size change of a function of this package, from the layer that does the same."""
    layer_class = _LAYERS[type(operation).__name__][rank - 1]
    options = {name: value for name, value in operation.arguments.items() if name != "method"}
    weights = [options.pop("kernel", None), options.pop("bias", None)]
    weights = [weight for weight in weights if weight is not None]
    options["data_format"] = "channels_last"  # the kernel does not depend on it
    channels = weights[0].shape[-2] if weights else None
    try:
        layer = layer_class(**options, **_shape_options(weights, options["size"], layer_class))
        layer.build((*(None,) * (rank + 1), channels))
        layer.set_weights(weights)
    except Exception:  # while JAX traces, kernels have no values
        return None
    kind = kind_of(layer)
    if kind is None:
        return None
    kernel = kind.read(layer)
    return _size_change(step, kind.enlarges, kernel.size, kernel)


def _shape_options(weights: list[Any], size: Any, layer_class: type[keras.Layer]) -> dict[str, Any]:
    """Return the arguments of a layer that follow from the shapes of its weights."""
    if not weights:
        return {}
    *taps, _, filters = weights[0].shape
    subpixel = issubclass(layer_class, SubpixelConv)
    phases = math.prod(positive_ints(size, len(taps), "size")) if subpixel else 1
    return {
        "filters": filters // phases,
        "kernel_size": tuple(taps),
        "use_bias": len(weights) > 1,
        "kernel_initializer": "zeros",  # draws no random numbers
    }


def _size_change(
    step: Call, enlarges: bool, size: tuple[int | Fraction, ...], kernel: UpsamplingKernel | None
) -> SizeChange | None:
    """Return the size change of a step, with integer factors as `int`; None for a factor of 1."""
    if all(s == 1 for s in size):
        return None
    size = tuple(int(s) if s == int(s) else s for s in size)
    ripple = kernel.ripple() if kernel else None
    return SizeChange(step, step, type(step.operation).__name__, enlarges, size, ripple)


class _Strided(NamedTuple):
    """A function with strides.

    Attributes:
        enlarges: Whether it upsamples.
        kernel: Function that returns the kernel, or the gradient's; None for maximum pooling.
    """

    enlarges: bool
    kernel: Callable[[Any, int], np.ndarray] | None


def _kernel_argument(operation: Any, _: int) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(operation.kernel), dtype=float)


def _ones(operation: Any, rank: int) -> np.ndarray:
    return np.ones((*positive_ints(operation.pool_size, rank, "pool_size"), 1, 1))


# By the name of the operation's class in a functional model; see `functions`.
_STRIDED = {
    "ConvTranspose": _Strided(True, _kernel_argument),
    "Conv": _Strided(False, _kernel_argument),
    "DepthwiseConv": _Strided(False, _kernel_argument),
    "AveragePool": _Strided(False, _ones),
    "MaxPool": _Strided(False, None),
}


def _kernel(function: _Strided, operation: Any, size: tuple[int, ...]) -> UpsamplingKernel | None:
    if function.kernel is None:
        return None
    try:
        return UpsamplingKernel(function.kernel(operation, len(size)), size)
    except Exception:  # while JAX traces, a kernel that depends on the input has no values
        return None
