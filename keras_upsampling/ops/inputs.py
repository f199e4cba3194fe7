"""The inputs of operations and layers: checked and normalised in one place."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_upsampling._arguments import positive_ints
from keras_upsampling._shapes import (
    check_rank,
    check_samples,
    data_format_or_default,
    spatial_axes,
    spatial_rank,
)
from keras_upsampling._types import DataFormat, IntPerAxis, Tensor


class Batch(NamedTuple):
    """A batch of maps with the arguments that every operation on maps takes, all checked.

    Attributes:
        x: The maps, `(batch, *spatial, channels)` or channels first.
        size: The factor of every spatial axis.
        data_format: `"channels_last"` or `"channels_first"`.
    """

    x: Tensor
    size: tuple[int, ...]
    data_format: DataFormat

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.size)

    @property
    def axes(self) -> tuple[int, ...]:
        """The positions of the spatial axes."""
        return spatial_axes(self.rank, self.data_format)


def checked_batch(
    x: Any,
    size: IntPerAxis,
    data_format: str | None,
    *,
    layers: str,
    rank: int | None = None,
) -> Batch:
    """Return a batch of maps and its arguments, checked.

    Args:
        x: Tensor or array, `(batch, *spatial, channels)` or channels first.
        size: Factor for every spatial axis, or one per axis.
        data_format: As in Keras; None for Keras's setting.
        layers: The layers that do the same, which the error for a symbolic tensor names.
        rank: Number of spatial axes. None: any of one, two and three.

    Raises:
        TypeError: `x` is symbolic, or a factor is not an integer.
        ValueError: `x` has another rank or an empty spatial axis, a factor is below 1, or the data
            format is unknown.
    """
    data_format = data_format_or_default(data_format)
    x = concrete_tensor(x, layers)
    if rank is None:
        rank = spatial_rank(x.shape)
    check_rank(x.shape, rank, data_format)
    check_samples(x.shape, rank, data_format)
    return Batch(x, positive_ints(size, rank, "size"), data_format)


def real_floats(x: Tensor, name: str, dtype: str | None = None) -> Tensor:
    """Return real numbers as floats; integers are cast to `dtype`, by default Keras's float type.

    Raises:
        TypeError: they are complex.
    """
    own = keras.backend.standardize_dtype(x.dtype)
    refuse_complex(own, name)
    return x if keras.backend.is_float_dtype(own) else ops.cast(x, dtype or keras.config.floatx())


def sum_dtype(dtype: Any) -> str:
    """Return the dtype in which to compute sums of numbers of `dtype`: float32 at least.

    Half precision would round after every addition.
    """
    return "float64" if keras.backend.standardize_dtype(dtype) == "float64" else "float32"


def refuse_complex(dtype: str, name: str) -> None:
    """Refuse a dtype of complex numbers, of which one part would be dropped.

    Raises:
        TypeError: it is one.
    """
    if "complex" in dtype:
        raise TypeError(
            f"`{name}` must be real numbers. Received dtype {dtype}; take the real and the "
            "imaginary part apart."
        )


def cast_inputs(inputs: Tensor, dtype: str) -> Tensor:
    """Return the inputs of a layer in its dtype: Keras leaves integers as they are.

    Raises:
        TypeError: they are complex, of which one part would be dropped.
    """
    own = keras.backend.standardize_dtype(inputs.dtype)
    if own == dtype:
        return inputs
    refuse_complex(own, "inputs")
    return ops.cast(inputs, dtype)


def concrete_tensor(value: Any, layers: str) -> Tensor:
    """Return `value` as a tensor.

    Raises:
        TypeError: it is symbolic, a place in a functional model; the message names the
            `layers` to use there.
    """
    if isinstance(value, keras.KerasTensor):
        raise TypeError(
            f"Expected a tensor or an array. Received the symbolic {value!r}; in a functional "
            f"model, use {layers}."
        )
    return ops.convert_to_tensor(value)
