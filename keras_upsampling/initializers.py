"""`ICNR`: kernels of sub-pixel convolutions whose phases start alike."""

from __future__ import annotations

from typing import Any

import keras
from keras import initializers, ops

from keras_upsampling._arguments import positive_int_or_ints
from keras_upsampling._shapes import count_phases
from keras_upsampling._types import IntPerAxis, Tensor

__all__ = ["ICNR"]


@keras.saving.register_keras_serializable(package="keras_upsampling")
class ICNR(keras.initializers.Initializer):
    """Starts every phase of a sub-pixel convolution with the same kernel.

    A sub-pixel convolution makes its output in `prod(size)` ways, one for each phase. With
    independent kernels it begins as a checkerboard; with equal ones it begins as a convolution
    whose output is enlarged by nearest, and constants stay constant. That is so at the start only:
    training moves the phases apart, unless `constraints.CheckerboardFree` keeps their sums equal.

    Args:
        initializer: Of the kernel that the phases share, `(*taps, channels, filters)`: anything
            that Keras takes for an initializer. It sees that shape, so it counts the fan-out
            without the phases.
        size: How many phases each axis has: one integer for every axis, or one per axis. A
            convolution's kernel tells its rank; a bias does not, and needs one integer per axis.

    Raises:
        TypeError: a factor is not an integer.
        ValueError: a factor is below 1, or the initializer is unknown. When called: the shape is
            neither a kernel's nor a bias's, its rank is not that of `size`, or its last axis is
            not divisible by `prod(size)`.

    Example:
        >>> from keras import ops
        >>> from keras_upsampling.initializers import ICNR
        >>> kernel = ICNR("he_normal", size=2)((3, 3, 8, 4 * 16))
        >>> phases = ops.split(kernel, 4, axis=-1)
        >>> all(bool(ops.all(phase == phases[0])) for phase in phases)
        True

    Reference:
        Aitken et al. 2017, arXiv:1707.02937.
    """

    def __init__(self, initializer: Any = "glorot_uniform", size: IntPerAxis = 2) -> None:
        self.initializer = initializers.get(initializer)
        if self.initializer is None:
            raise ValueError(
                "`initializer` must say how the kernel that all phases share is made. Received: "
                "initializer=None; for example, use 'glorot_uniform'."
            )
        self.size = positive_int_or_ints(size, "size")

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        """Return a kernel `(*taps, channels, phases * filters)`, or a bias `(phases * filters,)`.

        Args:
            shape: Its shape. The phases come before the filters, as in `SubpixelConv2D`.
            dtype: Its dtype; that of the initializer by default.
        """
        shape = tuple(shape)
        phases = count_phases(shape, self.size)
        shared = self.initializer((*shape[:-1], shape[-1] // phases), dtype=dtype)
        return ops.tile(shared, (*[1] * (len(shape) - 1), phases))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"initializer": initializers.serialize(self.initializer), "size": self.size}
