"""`ICNR`: an initializer for sub-pixel convolutions with the same kernel in every phase."""

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
    """Initializer that gives every phase of a sub-pixel convolution the same kernel.

    A sub-pixel convolution computes `prod(size)` phases. With independent kernels, the phases of a
    constant differ: the layer starts with a checkerboard. With equal kernels, the layer starts as
    a convolution followed by nearest upsampling, and constants stay constant. Training makes the
    kernels differ again; `constraints.CheckerboardFree` keeps their sums equal.

    Args:
        initializer: Initializer of the kernel that the phases share,
            `(*kernel_size, channels, filters)`: a name, a config or an object, as in Keras. It
            receives this shape, so its fan-out does not count the phases.
        size: Factor of the upsampling: one integer for all axes, or one per axis. The rank is
            known from a kernel's shape but not from a bias's, so a bias needs one per axis.

    Raises:
        TypeError: If a factor is not an integer.
        ValueError: If a factor is below 1, or the initializer is unknown. When called: if the
            shape is neither a kernel's nor a bias's, if its rank is not that of `size`, or if its
            last axis is not divisible by `prod(size)`.

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
                "`initializer` must be the initializer of the kernel that all phases share. "
                "Received: initializer=None. Use 'glorot_uniform', for example."
            )
        self.size = positive_int_or_ints(size, "size")

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        """Return a kernel or a bias with equal phases.

        Args:
            shape: `(*kernel_size, channels, phases * filters)` for a kernel,
                `(phases * filters,)` for a bias. The phases come before the filters, as in
                `SubpixelConv2D`.
            dtype: Data type of the weight; by default the initializer's own default.
        """
        shape = tuple(shape)
        phases = count_phases(shape, self.size)
        shared = self.initializer((*shape[:-1], shape[-1] // phases), dtype=dtype)
        return ops.tile(shared, (*[1] * (len(shape) - 1), phases))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"initializer": initializers.serialize(self.initializer), "size": self.size}
