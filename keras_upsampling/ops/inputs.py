"""Check and normalise the inputs of operations and layers."""

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
    """A batch of maps and its checked arguments, which every operation on maps takes.

    Attributes:
        x: Maps, `(batch, *spatial, channels)` or channels first.
        size: Factor of every spatial axis.
        data_format: `"channels_last"` or `"channels_first"`.
    """

    x: Tensor
    size: tuple[int, ...]
    data_format: DataFormat

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.size)

    @property
    def axes(self) -> tuple[int, ...]:
        """Positions of the spatial axes."""
        return spatial_axes(self.rank, self.data_format)


def checked_batch(
    x: Any,
    size: IntPerAxis,
    data_format: str | None,
    *,
    layers: str,
    rank: int | None = None,
) -> Batch:
    """Check a batch of maps and its arguments, and return them.

    Args:
        x: Tensor or array, `(batch, *spatial, channels)` or channels first.
        size: Factor for every spatial axis, or one per axis.
        data_format: `"channels_last"` or `"channels_first"`. None: Keras's setting.
        layers: Layers that do the same, for the error about a symbolic tensor.
        rank: Number of spatial axes. None: one, two or three.

    Raises:
        TypeError: If `x` is symbolic, or a factor is not an integer.
        ValueError: If `x` has another rank or an empty spatial axis, a factor is below 1, or the
            data format is unknown.
    """
    data_format = data_format_or_default(data_format)
    x = concrete_tensor(x, layers)
    if rank is None:
        rank = spatial_rank(x.shape)
    check_rank(x.shape, rank, data_format)
    check_samples(x.shape, rank, data_format)
    return Batch(x, positive_ints(size, rank, "size"), data_format)


def real_floats(x: Tensor, name: str, dtype: str | None = None, *, alternative: str = "") -> Tensor:
    """Return real numbers as floats; cast integers to `dtype`, by default Keras's float type.

    Args:
        x: Tensor of any dtype.
        name: Name of the argument, for the error.
        dtype: Dtype for integers.
        alternative: As in `refuse_complex`.

    Raises:
        TypeError: If they are complex.
    """
    x_dtype = keras.backend.standardize_dtype(x.dtype)
    refuse_complex(x_dtype, name, alternative)
    is_float = keras.backend.is_float_dtype(x_dtype)
    return x if is_float else ops.cast(x, dtype or keras.config.floatx())


def sum_dtype(dtype: Any) -> str:
    """Return the dtype for sums of values of `dtype`: float64 for float64, else float32.

    Half precision would round after every addition.
    """
    return "float64" if keras.backend.standardize_dtype(dtype) == "float64" else "float32"


def refuse_complex(dtype: str, name: str, alternative: str = "") -> None:
    """Raise for complex dtypes: casting would drop the imaginary part.

    Args:
        dtype: Dtype of the argument.
        name: Name of the argument.
        alternative: What the user can do instead of passing both parts separately.

    Raises:
        TypeError: If `dtype` is complex.
    """
    if "complex" in dtype:
        raise TypeError(
            f"`{name}` must be real numbers. Received dtype {dtype}. Pass the real and the "
            f"imaginary part separately{alternative and ', or '}{alternative}."
        )


def cast_inputs(inputs: Tensor, dtype: str) -> Tensor:
    """Cast the inputs of a layer to its dtype, also integers, which Keras does not cast.

    Raises:
        TypeError: If they are complex.
    """
    input_dtype = keras.backend.standardize_dtype(inputs.dtype)
    if input_dtype == dtype:
        return inputs
    refuse_complex(input_dtype, "inputs")
    return ops.cast(inputs, dtype)


def concrete_tensor(value: Any, layers: str) -> Tensor:
    """Return `value` as a tensor.

    Raises:
        TypeError: If it is the symbolic tensor of a functional model. The message names the
            `layers` to use there.
    """
    if isinstance(value, keras.KerasTensor):
        raise TypeError(
            f"Expected a tensor or an array. Received the symbolic {value!r}. In a functional "
            f"model, use {layers}."
        )
    return ops.convert_to_tensor(value)
