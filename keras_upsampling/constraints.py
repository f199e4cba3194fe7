"""`CheckerboardFree`: kernels that keep constants constant, for layers that enlarge by strides."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_upsampling._arguments import positive_int_or_ints, positive_ints
from keras_upsampling._shapes import count_phases
from keras_upsampling._types import IntPerAxis, Tensor

__all__ = ["CheckerboardFree"]


@keras.saving.register_keras_serializable(package="keras_upsampling")
class CheckerboardFree(keras.constraints.Constraint):
    """Makes a layer that enlarges answer a constant by a constant, after every training step.

    A transposed convolution makes its output in `prod(size)` ways, one for each phase, and leaves
    a checkerboard of constants unless the taps of every phase have the same sum. This moves the
    taps to the nearest kernel (in the sum of squares) of which that is true. Phases then differ in
    what they do to edges only.

    Use it where a trained model has to keep its transposed or sub-pixel convolutions; in a new
    model `UpsampleConv2D` has the property to begin with.

    Args:
        size: The layer's stride, or the factor of the depth-to-space behind it: one integer for
            every axis, or one per axis.
        subpixel: Whether the kernel is that of a convolution (of one group) to
            `prod(size) * filters` channels that depth-to-space follows: phases, each of all
            filters, as `keras.ops.depth_to_space` has them with channels last. Then it serves as
            its bias's constraint too, with one `size` per axis.

    Raises:
        TypeError: a factor is not an integer.
        ValueError: a factor is below 1. When applied: the weight has not as many axes as `size`
            says, the kernel is smaller than the stride, so that some phases have no taps, or the
            channels are not divisible by `prod(size)`.

    Example:
        >>> import keras
        >>> from keras_upsampling import audit_kernel
        >>> from keras_upsampling.constraints import CheckerboardFree
        >>> layer = keras.layers.Conv2DTranspose(
        ...     8, 4, strides=2, kernel_constraint=CheckerboardFree(2)
        ... )
        >>> layer.build((None, 7, 7, 16))
        >>> kernel = layer.kernel_constraint(layer.kernel)  # as every training step does
        >>> audit_kernel(layer).gain > 0.5, audit_kernel(kernel, 2).gain < 1e-5
        (True, True)

    Reference:
        Sugawara, Shiota, Kiya 2018, arXiv:1806.02658 (the condition that is projected onto).
    """

    def __init__(self, size: IntPerAxis, *, subpixel: bool = False) -> None:
        self.size = positive_int_or_ints(size, "size")
        self.subpixel = bool(subpixel)

    def __call__(self, w: Tensor) -> Tensor:
        """Return the nearest kernel without ripple of its gains."""
        return self._of_phases(w) if self.subpixel else self._of_taps(w)

    def _of_taps(self, w: Tensor) -> Tensor:
        """Project `(*taps, filters, channels)`, whose taps take turns."""
        rank = len(w.shape) - 2
        if rank < 1:
            raise ValueError(
                "Expected a kernel with axes for taps, channels and filters. Received a weight of "
                f"shape {tuple(w.shape)}; a transposed convolution's bias needs no constraint."
            )
        size = positive_ints(self.size, rank, "size")
        taps = tuple(w.shape[:rank])
        if any(k < s for k, s in zip(taps, size, strict=True)):
            raise ValueError(
                "The kernel must have at least `size` taps on every axis: phases without taps "
                f"make nothing. Received a kernel of shape {tuple(w.shape)}, size={size}; take "
                f"kernel_size={tuple(map(max, taps, size))} or more."
            )
        # One row of ones for each phase, where its taps are.
        rows = [np.arange(k) % s == np.arange(s)[:, None] for k, s in zip(taps, size, strict=True)]
        dtype = keras.backend.standardize_dtype(w.dtype)
        phases = ops.convert_to_tensor(functools.reduce(np.kron, rows), dtype=dtype)
        flat = ops.reshape(w, (math.prod(taps), -1))
        taps_each = ops.sum(phases, axis=1, keepdims=True)
        means = (phases @ flat) / taps_each
        common = ops.sum(means, axis=0) / ops.sum(1 / taps_each)
        flat = flat - ops.transpose(phases) @ (means - common / taps_each)
        return ops.reshape(flat, w.shape)

    def _of_phases(self, w: Tensor) -> Tensor:
        """Project `(*taps, channels, phases * filters)`, or a bias `(phases * filters,)`."""
        phases = count_phases(w.shape, self.size)
        split = ops.reshape(w, (*w.shape[:-1], phases, w.shape[-1] // phases))
        axes = tuple(range(len(w.shape) - 2))  # none of a bias
        # Every phase has all taps, so all of them move by the same.
        means = ops.mean(split, axis=axes, keepdims=True) if axes else split
        split = split - (means - ops.mean(means, axis=-2, keepdims=True))
        return ops.reshape(split, w.shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"size": self.size, "subpixel": self.subpixel}
