"""`audit_kernel`: compute the ripple of a layer from its kernel."""

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
    """Return the ripple that a layer causes for any input, computed from its kernel.

    An upsampling layer computes each of its `prod(size)` phases with its own polyphase kernel. The
    ripple compares the responses of the phases to a constant, a ramp and noise. For a downsampling
    layer it compares the phases of the gradient, because backpropagation upsamples the gradient.

    Args:
        layer_or_kernel: A built layer that upsamples (`Conv*DTranspose`, `Upsample*D`,
            `UpsampleConv*D`, `SubpixelConv*D`, `BilinearAdditiveUpsampling2D`, Keras's
            `UpSampling*D`) or downsamples (`Conv*D`, `DepthwiseConv*D` and `SeparableConv*D` with
            strides, `AveragePooling*D`, `BlurPool*D`), or the kernel of a transposed convolution,
            `(*kernel_size, filters, channels)`.
        strides: Stride of a kernel: an integer, or one per axis. For a `Conv*D` with a stride of
            1, the factor of the depth to space after it: the layer is then audited as a sub-pixel
            convolution, whose phases have the channel order of `keras.ops.depth_to_space` with
            channels last. None for other layers.

    Returns:
        `Ripple`: `gain`, `ramp` and `power`, each 0 if all phases respond alike, and `overlap`, the
        number of input samples that contribute to each phase.

    Raises:
        TypeError: If the layer is of another kind, the kernel is complex, or `strides` are not
            integers.
        ValueError: If the layer is not built or keeps the size of its input, if a kernel is empty
            or comes without `strides`, or if the channels are not divisible by the number of
            phases.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import audit_kernel
        >>> result = audit_kernel(np.ones((3, 3, 1, 1)), strides=2)
        >>> result.overlap.tolist()  # per axis, one phase has two taps and the other has one
        [[4, 2], [2, 1]]
        >>> f"{result.gain:.0%}"
        '48%'

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill (overlap);
        Sugawara, Shiota, Kiya 2018, arXiv:1806.02658 (the response to a constant).
    """
    if isinstance(layer_or_kernel, keras.Layer):
        kernel = _from_layer(layer_or_kernel, strides)
    else:
        kernel = _from_array(layer_or_kernel, strides)
    return kernel.ripple()


class UpsamplingKernel(NamedTuple):
    """A layer, or its gradient, written as an equal transposed convolution.

    Attributes:
        kernel: Kernel, `(*kernel_size, filters, channels)`.
        size: Stride of each axis.
        bias: Biases of the phases, `(*size, filters)`; None if all phases have the same.
        reached: For each axis, which taps may be nonzero; None if all may be.
        order: For a sub-pixel convolution, the channel of each phase, `(*size, filters)`.
    """

    kernel: np.ndarray
    size: tuple[int, ...]
    bias: np.ndarray | None = None
    reached: list[np.ndarray] | None = None
    order: np.ndarray | None = None

    def ripple(self) -> Ripple:
        """Return the differences between the phases."""
        return ripple(self.kernel, self.size, bias=self.bias, reached=self.reached)


def subpixel(layer: keras.Layer, size: tuple[int, ...], order: np.ndarray) -> UpsamplingKernel:
    """Return the kernel of a sub-pixel convolution.

    Args:
        layer: The convolution.
        size: Factor of the depth to space, per axis.
        order: Channel of each phase and filter, integers `(*size, filters)`.
    """
    kernel, reached = _numpy(layer.kernel), []
    dilation_rate = getattr(layer, "dilation_rate", (1,) * len(size))
    for axis, (dilation, s) in enumerate(zip(dilation_rate, size, strict=True)):
        kernel = _dilated(kernel, axis, dilation)
        taps = np.arange(kernel.shape[axis]) % dilation == 0
        reached.append(np.repeat(taps, s))  # symmetric, so flipping the kernel keeps it
    bias = _numpy(layer.bias)[order] if layer.use_bias else None
    return UpsamplingKernel(subpixel_kernel(kernel[..., order], size), size, bias, reached, order)


def _dilated(kernel: np.ndarray, axis: int, dilation: int) -> np.ndarray:
    """Insert `dilation - 1` zeros between the taps of an axis."""
    kernel = np.moveaxis(kernel, axis, 0)
    dilated = np.zeros((dilation * (len(kernel) - 1) + 1, *kernel.shape[1:]))
    dilated[::dilation] = kernel
    return np.moveaxis(dilated, 0, axis)


def _from_array(kernel: Any, strides: IntPerAxis | None) -> UpsamplingKernel:
    try:
        values = np.asarray(ops.convert_to_numpy(kernel))
        kernel = values if np.iscomplexobj(values) else values.astype(float)
    except Exception as error:  # `kernel` may be anything
        raise TypeError(
            "`layer_or_kernel` must be a layer or a kernel. "
            f"Received: {kernel!r} of type {type(kernel).__name__}. Pass a Keras layer or an array."
        ) from error
    refuse_complex(kernel.dtype.name, "kernel")
    if kernel.ndim not in (3, 4, 5):
        raise ValueError(
            "A kernel must have the shape (*kernel_size, filters, channels) with one to three "
            f"spatial axes. Received: an array of shape {kernel.shape}. Reshape it, with axes of "
            "length 1 for a single filter or channel."
        )
    if kernel.size == 0:
        raise ValueError(
            f"A kernel must not be empty. Received: an array of shape {kernel.shape}. Pass the "
            "weights of a built layer."
        )
    if strides is None:
        raise ValueError(
            "A kernel needs its stride. Received: strides=None. Pass `strides`, such as strides=2."
        )
    return UpsamplingKernel(kernel, positive_ints(strides, kernel.ndim - 2, "strides"))


def _from_layer(layer: keras.Layer, strides: IntPerAxis | None) -> UpsamplingKernel:
    kind = kind_of(layer)
    if kind is None:
        raise TypeError(
            "`layer_or_kernel` must be Conv*DTranspose, Upsample*D, UpsampleConv*D, "
            "SubpixelConv*D, UpSampling*D, BilinearAdditiveUpsampling2D, Conv*D, DepthwiseConv*D, "
            "SeparableConv*D, AveragePooling*D, BlurPool*D or an array. Received: "
            f"{layer.name!r}, a {type(layer).__name__}, whose kernel is unknown."
        )
    if not layer.built:
        raise ValueError(
            f"The layer must be built. Received: {layer.name!r}, which has no kernel yet. Call it "
            "once, or `build` it with the shape of its input."
        )
    kernel = kind.read(layer)
    size = kernel.size
    factors = None if strides is None else positive_ints(strides, len(size), "strides")
    if isinstance(layer, CONVOLUTIONS) and max(size) == 1 and factors and max(factors) > 1:
        count = math.prod(factors)
        if layer.filters % count:
            raise ValueError(
                f"Depth to space by {factors} needs channels that are divisible by {count}. "
                f"Received: {layer.name!r} with {layer.filters} filters. Pass the factor of the "
                "depth to space as `strides`."
            )
        if layer.groups > 1:
            raise ValueError(
                "A sub-pixel convolution must be of one group: with more, the phases read "
                f"different channels. Received: {layer.name!r} with groups={layer.groups}. Use "
                "groups=1."
            )
        return subpixel(layer, factors, _phases_first(factors, layer.filters // count))
    if factors is not None and max(size) > 1 and factors != size:
        raise ValueError(
            f"The layer {layer.name!r} has strides of its own, {size}. Received: "
            f"strides={strides}. Leave out `strides`."
        )
    if max(size) == 1:
        raise ValueError(
            f"The layer {layer.name!r} keeps the size of its input and has no phases. Received: "
            f"strides={strides}. If depth to space follows the layer, pass its factor as `strides`."
        )
    return kernel


class Kind(NamedTuple):
    """A kind of layer whose kernel is known.

    Attributes:
        types: Classes of the layers.
        enlarges: Whether they upsample. If not, the kernel is the gradient's.
        read: Function that returns the kernel of a built layer.
    """

    types: tuple[type[keras.Layer], ...]
    enlarges: bool
    read: Callable[[keras.Layer], UpsamplingKernel]


def kind_of(layer: Any) -> Kind | None:
    """Return the first kind that a layer belongs to; None if there is none."""
    return next((kind for kind in _KINDS if isinstance(layer, kind.types)), None)


def _numpy(weights: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(weights), dtype=float)


def _conv(layer: keras.Layer) -> UpsamplingKernel:
    # The gradient maps filters to channels, so this kernel (*kernel_size, channels, filters)
    # already has the order of a transposed convolution's: outputs before inputs.
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
    """Return the kernel of an interpolation, such as "linear"; the names are those of all ranks."""
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
    """Return the channel order of `keras.ops.depth_to_space` with channels last."""
    return np.arange(math.prod(size) * filters).reshape(*size, filters)


def _subpixel_conv(layer: keras.Layer) -> UpsamplingKernel:
    return subpixel(layer, layer.size, _phases_first(layer.size, layer.filters))


def takes_maximum(operation: Any) -> bool:
    """Return whether an operation is maximum pooling: a layer or a function."""
    return isinstance(operation, MAXIMUM) or type(operation).__name__ == "MaxPool"


TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
INTERPOLATIONS = (Upsample, layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
MAXIMUM = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
AVERAGE = (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)

# No class is a subclass of one in another row, so the order does not matter.
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
