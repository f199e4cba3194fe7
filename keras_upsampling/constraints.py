"""`CheckerboardFree`: a constraint that gives the phases of a kernel equal DC gains."""

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
    """Constraint that keeps the gain ripple of an upsampling layer at zero during training.

    A transposed convolution computes `prod(size)` phases. A constant input gives a checkerboard
    unless the taps of every phase have the same sum. After every training step, this constraint
    replaces the kernel by the nearest one (in the sum of squares) with equal sums. A constant then
    stays constant; phases can still differ at edges.

    Use it for a trained model that has to keep its transposed or sub-pixel convolutions. In a new
    model, use `UpsampleConv2D`: its phases always have equal sums.

    Args:
        size: Stride of the layer, or factor of the depth to space after it: one integer for all
            axes, or one per axis.
        subpixel: Whether the layer is a convolution with one group and `prod(size) * filters`
            output channels, followed by depth to space. The phases come before the filters, as in
            `keras.ops.depth_to_space` with channels last. The constraint can then be used for the
            bias too, with one `size` per axis.

    Raises:
        TypeError: If a factor is not an integer.
        ValueError: If a factor is below 1. When applied: if the rank of the weight is not that of
            `size`, if the kernel is smaller than the stride, so that a phase has no taps, or if
            the channels are not divisible by `prod(size)`.

    Example:
        >>> import keras
        >>> from keras_upsampling import audit_kernel
        >>> from keras_upsampling.constraints import CheckerboardFree
        >>> layer = keras.layers.Conv2DTranspose(
        ...     8, 4, strides=2, kernel_constraint=CheckerboardFree(2)
        ... )
        >>> layer.build((None, 7, 7, 16))
        >>> kernel = layer.kernel_constraint(layer.kernel)  # as in every training step
        >>> audit_kernel(layer).gain > 0.5, audit_kernel(kernel, 2).gain < 1e-5
        (True, True)

    Reference:
        Sugawara, Shiota, Kiya 2018, arXiv:1806.02658 (the condition of equal sums).
    """

    def __init__(self, size: IntPerAxis, *, subpixel: bool = False) -> None:
        self.size = positive_int_or_ints(size, "size")
        self.subpixel = bool(subpixel)

    def __call__(self, w: Tensor) -> Tensor:
        """Return the nearest kernel without gain ripple."""
        return self._project_subpixel(w) if self.subpixel else self._project_transposed(w)

    def _project_transposed(self, w: Tensor) -> Tensor:
        """Project a transposed convolution's kernel, `(*kernel_size, filters, channels)`."""
        rank = len(w.shape) - 2
        if rank < 1:
            raise ValueError(
                "Expected a kernel (*kernel_size, filters, channels). Received a weight of shape "
                f"{tuple(w.shape)}. Use the constraint for kernels only; a transposed "
                "convolution's bias needs no constraint."
            )
        size = positive_ints(self.size, rank, "size")
        taps = tuple(w.shape[:rank])
        if any(k < s for k, s in zip(taps, size, strict=True)):
            raise ValueError(
                "The kernel must have at least `size` taps on every axis; a phase without taps "
                f"is always zero. Received a kernel of shape {tuple(w.shape)}, size={size}. Use "
                f"kernel_size={tuple(map(max, taps, size))} or more."
            )
        # `(phases, taps)`: 1 where the tap belongs to the phase.
        rows = [np.arange(k) % s == np.arange(s)[:, None] for k, s in zip(taps, size, strict=True)]
        dtype = keras.backend.standardize_dtype(w.dtype)
        phases = ops.convert_to_tensor(functools.reduce(np.kron, rows), dtype=dtype)
        flat = ops.reshape(w, (math.prod(taps), -1))
        counts = ops.sum(phases, axis=1, keepdims=True)  # taps per phase
        means = (phases @ flat) / counts
        common_sum = ops.sum(means, axis=0) / ops.sum(1 / counts)
        flat = flat - ops.transpose(phases) @ (means - common_sum / counts)
        return ops.reshape(flat, w.shape)

    def _project_subpixel(self, w: Tensor) -> Tensor:
        """Project `(*kernel_size, channels, phases * filters)`, or a bias `(phases * filters,)`."""
        phases = count_phases(w.shape, self.size)
        split = ops.reshape(w, (*w.shape[:-1], phases, w.shape[-1] // phases))
        axes = tuple(range(len(w.shape) - 2))  # empty for a bias
        # Every phase has the same number of taps, so one shift per phase is the nearest.
        means = ops.mean(split, axis=axes, keepdims=True) if axes else split
        split = split - (means - ops.mean(means, axis=-2, keepdims=True))
        return ops.reshape(split, w.shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"size": self.size, "subpixel": self.subpixel}
