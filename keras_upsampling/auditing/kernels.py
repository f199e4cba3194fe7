"""`audit_kernel`: the checkerboard that a layer must make, read from its kernel."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from keras_upsampling._arguments import interpolation_name, positive_ints
from keras_upsampling._types import IntPerAxis
from keras_upsampling.layers.blur_pooling import BlurPool
from keras_upsampling.layers.subpixel_convolution import SubpixelConv
from keras_upsampling.layers.upsample_convolution import UpsampleConv
from keras_upsampling.layers.upsampling import Upsample
from keras_upsampling.maths.blur import blur_taps
from keras_upsampling.maths.resampling import axis_filter
from keras_upsampling.maths.ripple import Ripple, composed_kernel, ripple, subpixel_kernel
from keras_upsampling.ops.inputs import refuse_complex


def audit_kernel(layer_or_kernel: Any, strides: IntPerAxis | None = None) -> Ripple:
    """Say what checkerboard a layer must make, whatever it is given.

    A layer that enlarges by `size` makes its output in `prod(size)` ways, the phases. This
    compares them: their answers to a constant, to a ramp and to noise. Of a layer that makes maps
    smaller it compares what the gradient is, for the gradient of such a layer is enlarged.

    Args:
        layer_or_kernel: A built layer: `Conv*DTranspose`, `Upsample*D`, `UpsampleConv*D`,
            `SubpixelConv*D`, `BilinearAdditiveUpsampling2D`, Keras's `UpSampling*D`; of those that
            make maps smaller, `Conv*D`, `DepthwiseConv*D` and `SeparableConv*D` with strides,
            `AveragePooling*D` and `BlurPool*D`. Or a transposed convolution's kernel,
            `(*taps, filters, channels)`.
        strides: For a kernel, its stride: one integer, or one per axis. With a `Conv*D` without
            strides of its own, the factor of the depth-to-space behind it, which makes it a
            sub-pixel convolution: its channels are `prod(strides)` phases, each of all filters,
            as `keras.ops.depth_to_space` has them with channels last. Otherwise None; the layer
            says.

    Returns:
        `Ripple`: `gain`, `ramp` and `power`, 0 where all phases are alike, and `overlap`, how
        many input samples each phase is made from.

    Raises:
        TypeError: a layer of another kind, a complex kernel, or strides that are not integers.
        ValueError: the layer is not built or keeps its input's size, an empty kernel or one without
            strides, or channels that are not divisible by the number of phases.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import audit_kernel
        >>> found = audit_kernel(np.ones((3, 3, 1, 1)), strides=2)
        >>> found.overlap.tolist()  # of 3 taps, one phase has two and the other one
        [[4, 2], [2, 1]]
        >>> f"{found.gain:.0%}"
        '48%'

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill (overlap);
        Sugawara, Shiota, Kiya 2018, arXiv:1806.02658 (the answer to a constant).
    """
    if isinstance(layer_or_kernel, keras.Layer):
        found = _of_layer(layer_or_kernel, strides)
    else:
        found = _of_kernel(layer_or_kernel, strides)
    return found.ripple()


class UpsamplingKernel(NamedTuple):
    """A layer, or the gradient of one, as the transposed convolution that does the same.

    Attributes:
        kernel: `(*taps, filters, channels)`.
        size: Its stride.
        bias: `(*size, filters)`, where phases have their own.
        reached: For each axis, which taps are not zero by construction; None for all.
        order: Of a sub-pixel convolution, `(*size, filters)`: which channel becomes which phase.
    """

    kernel: np.ndarray
    size: tuple[int, ...]
    bias: np.ndarray | None = None
    reached: list[np.ndarray] | None = None
    order: np.ndarray | None = None

    def ripple(self) -> Ripple:
        """Return how differently its phases do it."""
        return ripple(self.kernel, self.size, bias=self.bias, reached=self.reached)


def subpixel(layer: keras.Layer, size: tuple[int, ...], order: np.ndarray) -> UpsamplingKernel:
    """Describe a convolution that depth-to-space follows.

    Args:
        layer: The convolution.
        size: The factor of the depth-to-space.
        order: Integers `(*size, filters)`: which channel becomes which phase of which filter.
    """
    kernel, reached = _numpy(layer.kernel), []
    dilation_rate = getattr(layer, "dilation_rate", (1,) * len(size))
    for axis, (dilation, s) in enumerate(zip(dilation_rate, size, strict=True)):
        kernel = _with_holes(kernel, axis, dilation)
        taps = np.arange(kernel.shape[axis]) % dilation == 0
        reached.append(np.repeat(taps, s))  # from end to end, and the same backwards
    bias = _numpy(layer.bias)[order] if layer.use_bias else None
    return UpsamplingKernel(subpixel_kernel(kernel[..., order], size), size, bias, reached, order)


def _with_holes(kernel: np.ndarray, axis: int, dilation: int) -> np.ndarray:
    """Put `dilation - 1` zeros between the taps of an axis."""
    kernel = np.moveaxis(kernel, axis, 0)
    wide = np.zeros((dilation * (len(kernel) - 1) + 1, *kernel.shape[1:]))
    wide[::dilation] = kernel
    return np.moveaxis(wide, 0, axis)


def _of_kernel(kernel: Any, strides: IntPerAxis | None) -> UpsamplingKernel:
    try:
        values = np.asarray(ops.convert_to_numpy(kernel))
        kernel = values if np.iscomplexobj(values) else values.astype(float)
    except Exception as error:  # of whatever is no array
        raise TypeError(
            f"Expected a layer, or a kernel. Received {kernel!r} of type {type(kernel).__name__}."
        ) from error
    refuse_complex(kernel.dtype.name, "kernel")
    if kernel.ndim not in (3, 4, 5):
        raise ValueError(
            "Expected a layer, or a kernel (*taps, filters, channels) with one to three axes of "
            f"taps. Received an array of shape {kernel.shape}."
        )
    if kernel.size == 0:
        raise ValueError(
            f"A kernel must hold something. Received an array of shape {kernel.shape}, with an "
            "axis of 0; pass the weights of a layer that is built."
        )
    if strides is None:
        raise ValueError("A kernel does not tell its stride; pass it, for example strides=2.")
    return UpsamplingKernel(kernel, positive_ints(strides, kernel.ndim - 2, "strides"))


def _of_layer(layer: keras.Layer, strides: IntPerAxis | None) -> UpsamplingKernel:
    kind = kind_of(layer)
    if kind is None:
        raise TypeError(
            f"No kernel of a {type(layer).__name__} is known. Received {layer.name!r}; expected "
            "Conv*DTranspose, Upsample*D, UpsampleConv*D, SubpixelConv*D, UpSampling*D, Conv*D, "
            "BilinearAdditiveUpsampling2D, DepthwiseConv*D, SeparableConv*D, AveragePooling*D, "
            "BlurPool*D or an array."
        )
    if not layer.built:
        raise ValueError(
            f"The layer {layer.name!r} has no kernel yet; call it once, or `build` it with the "
            "shape of its input."
        )
    found = kind.read(layer)
    size = found.size
    asked = None if strides is None else positive_ints(strides, len(size), "strides")
    if isinstance(layer, CONVOLUTIONS) and max(size) == 1 and asked and max(asked) > 1:
        size = asked
        count = math.prod(size)
        if layer.filters % count:
            raise ValueError(
                f"Depth-to-space by {size} needs channels that are divisible by {count}. Received "
                f"{layer.name!r} with {layer.filters} filters."
            )
        if layer.groups > 1:
            raise ValueError(
                "Only a sub-pixel convolution of one group has phases that can be compared: of "
                f"more, each sees other channels. Received {layer.name!r}, groups={layer.groups}."
            )
        return subpixel(layer, size, _phases_first(size, layer.filters // count))
    if asked is not None and max(size) > 1 and asked != size:
        raise ValueError(
            f"The layer {layer.name!r} has strides of its own, {size}. Received: "
            f"strides={strides}; leave them out."
        )
    if max(size) == 1:
        raise ValueError(
            f"The layer {layer.name!r} keeps the size of its input and has no phases. Received "
            f"strides={strides}; if depth-to-space follows it, pass its factor as `strides`."
        )
    return found


class Kind(NamedTuple):
    """A kind of layer whose ripple is known.

    Attributes:
        types: The classes.
        enlarges: True for the output's ripple; false where it is the gradient's.
        read: What describes a built layer.
    """

    types: tuple[type[keras.Layer], ...]
    enlarges: bool
    read: Callable[[keras.Layer], UpsamplingKernel]


def kind_of(layer: Any) -> Kind | None:
    """Return the first kind that a layer is of, if any."""
    return next((kind for kind in _KINDS if isinstance(layer, kind.types)), None)


def _numpy(weights: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(weights), dtype=float)


def _conv(layer: keras.Layer) -> UpsamplingKernel:
    # Of a strided convolution's gradient, the filters are what it takes and the channels what it
    # makes: its kernel (*taps, channels, filters) is a transposed convolution's as it is.
    return UpsamplingKernel(_numpy(layer.kernel), tuple(layer.strides))


def _separable(layer: keras.Layer) -> UpsamplingKernel:
    depthwise, pointwise = _numpy(layer.depthwise_kernel), _numpy(layer.pointwise_kernel)
    pointwise = pointwise.reshape(*depthwise.shape[-2:], -1)
    return UpsamplingKernel(
        np.einsum("...cm,cmf->...cf", depthwise, pointwise), tuple(layer.strides)
    )


def _average(layer: keras.Layer) -> UpsamplingKernel:
    return UpsamplingKernel(np.ones((*layer.pool_size, 1, 1)), tuple(layer.strides))


def _blur(layer: keras.Layer) -> UpsamplingKernel:
    taps = [np.array(blur_taps(size, layer.order)) for size in layer.size]
    return UpsamplingKernel(functools.reduce(np.multiply.outer, taps)[..., None, None], layer.size)


def interpolated(size: tuple[int, ...], interpolation: str) -> UpsamplingKernel:
    """Describe an interpolation, by the name that it has in every rank."""
    rank = len(size)
    filters = [np.array(axis_filter(s, interpolation).weights) for s in size]
    kernel, reached = composed_kernel(np.ones((1,) * (rank + 2)), filters, (1,) * rank)
    return UpsamplingKernel(kernel, size, reached=reached)


def _interpolation(layer: keras.Layer) -> UpsamplingKernel:
    rank = layer.input_spec.ndim - 2
    name = interpolation_name(getattr(layer, "interpolation", "nearest"), rank)
    return interpolated(positive_ints(layer.size, rank, "size"), name)


def _upsample_conv(layer: keras.Layer) -> UpsamplingKernel:
    filters = [np.array(axis_filter(s, layer.interpolation).weights) for s in layer.size]
    kernel, reached = composed_kernel(_numpy(layer.kernel), filters, layer.dilation_rate)
    return UpsamplingKernel(kernel, layer.size, reached=reached)


def _phases_first(size: tuple[int, ...], filters: int) -> np.ndarray:
    """Return the order of channels that `keras.ops.depth_to_space` has with channels last."""
    return np.arange(math.prod(size) * filters).reshape(*size, filters)


def _subpixel_conv(layer: keras.Layer) -> UpsamplingKernel:
    return subpixel(layer, layer.size, _phases_first(layer.size, layer.filters))


def takes_maximum(operation: Any) -> bool:
    """Return whether an operation takes the maximum of each window: a layer, or a function."""
    return isinstance(operation, MAXIMUM) or type(operation).__name__ == "MaxPool"


TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
INTERPOLATIONS = (Upsample, layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
MAXIMUM = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
AVERAGE = (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)

# `Conv2DTranspose` and `Conv2D` share no class but their base.
_KINDS = (
    Kind(TRANSPOSED, True, _conv),
    Kind((UpsampleConv,), True, _upsample_conv),
    Kind((SubpixelConv,), True, _subpixel_conv),
    Kind(INTERPOLATIONS, True, _interpolation),
    Kind(CONVOLUTIONS, False, _conv),
    Kind(DEPTHWISE, False, _conv),
    Kind(SEPARABLE, False, _separable),
    Kind(AVERAGE, False, _average),
    Kind((BlurPool,), False, _blur),
)
