"""What there is to do when a batch is upsampled and convolved, every argument checked."""

from __future__ import annotations

from typing import NamedTuple

import keras
from keras import ops

from keras_upsampling._arguments import (
    channel_axis,
    check_rank,
    check_samples,
    concrete_tensor,
    data_format_or_default,
    interpolation_name,
    one_of,
    positive_ints,
    spatial_axes,
)
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.maths.padding import (
    PADDINGS,
    convolved_length,
    kernel_extent,
    pad_widths,
)


class Task(NamedTuple):
    """What to do, every argument checked; `widths` are the padding of the enlarged map."""

    size: tuple[int, ...]
    interpolation: str
    padding: str
    widths: tuple[tuple[int, int], ...]
    kernel_size: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    groups: int
    data_format: str

    @property
    def rank(self) -> int:
        """How many spatial axes there are."""
        return len(self.size)

    @property
    def extents(self) -> tuple[int, ...]:
        """How many samples of each enlarged axis the kernel spans."""
        return tuple(map(kernel_extent, self.kernel_size, self.dilation_rate))

    @property
    def around(self) -> str:
        """What stands around the enlarged map: zeros (or nothing), or `numpy.pad`'s mode."""
        return "zeros" if self.padding in ("same", "valid") else self.padding

    def output_length(self, length: Tensor, i: int) -> Tensor:
        """Length of axis `i` of the output, from that of the input."""
        return length * self.size[i] + sum(self.widths[i]) - self.extents[i] + 1


def checked(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    size: IntPerAxis,
    interpolation: str,
    padding: str,
    data_format: str | None,
    dilation_rate: IntPerAxis,
) -> tuple[Tensor, Tensor, Tensor | None, Task]:
    """Return the tensors, in the dtypes to compute with, and the task; or raise what is wrong."""
    x = concrete_tensor(x, "UpsampleConv1D, UpsampleConv2D or UpsampleConv3D")
    kernel = ops.convert_to_tensor(kernel)
    data_format = data_format_or_default(data_format)
    rank = len(kernel.shape) - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            "Expected a kernel of shape (*kernel_size, channels // groups, filters) with one, two "
            f"or three spatial axes. Received a kernel of shape {tuple(kernel.shape)}."
        )
    if 0 in kernel.shape:
        raise ValueError(
            f"Every axis of the kernel must have something. Received shape {tuple(kernel.shape)}."
        )
    channels = check_rank(x.shape, rank, data_format)[channel_axis(rank, data_format)]
    if channels is None:
        raise ValueError(
            "The number of channels must be known, to tell groups by. "
            f"Received an input of shape {tuple(x.shape)}."
        )
    channels = int(channels)
    if channels % kernel.shape[-2]:
        raise ValueError(
            "The input's channels must be the kernel's, or a multiple of them for groups. Received "
            f"an input of shape {tuple(x.shape)} with {channels} channels, and a kernel of shape "
            f"{tuple(kernel.shape)} for {kernel.shape[-2]}."
        )
    groups = channels // kernel.shape[-2]
    if groups < 1 or kernel.shape[-1] % groups:
        raise ValueError(
            f"The filters must be divisible by the groups. Received {channels} channels and a "
            f"kernel of shape {tuple(kernel.shape)}, which make {groups} groups for "
            f"{kernel.shape[-1]} filters."
        )
    check_samples(x.shape, rank, data_format)
    x = _convolvable(x, "an input")
    kernel_dtype = keras.backend.standardize_dtype(_convolvable(kernel, "a kernel").dtype)
    if not keras.backend.is_float_dtype(kernel_dtype):
        raise TypeError(f"The kernel must be of floats. Received one of dtype {kernel_dtype}.")
    if not keras.backend.is_float_dtype(x.dtype):
        x = ops.cast(x, kernel_dtype)
    # Composed in less than the input's precision, it would be another kernel.
    dtypes = keras.backend.standardize_dtype(x.dtype), kernel_dtype
    # Not `result_type` alone, which makes float32 of float64.
    wider = "float64" if "float64" in dtypes else keras.backend.result_type(*dtypes)
    kernel = ops.cast(kernel, wider)
    if bias is not None:
        bias = _convolvable(ops.convert_to_tensor(bias), "a bias")
        if tuple(bias.shape) != (kernel.shape[-1],):
            raise ValueError(
                f"Expected a bias of shape ({kernel.shape[-1]},), one number for each of the "
                f"kernel's filters. Received a bias of shape {tuple(bias.shape)}."
            )
        bias = ops.cast(bias, x.dtype)
    size = positive_ints(size, rank, "size")
    padding = one_of(padding, PADDINGS, "padding")
    dilation_rate = positive_ints(dilation_rate, rank, "dilation_rate")
    extents = [kernel_extent(k, d) for k, d in zip(kernel.shape[:rank], dilation_rate, strict=True)]
    for axis, factor, extent in zip(spatial_axes(rank, data_format), size, extents, strict=True):
        length = x.shape[axis] if isinstance(x.shape[axis], int) else None
        convolved_length(None if length is None else length * factor, extent, padding)
    task = Task(
        size=size,
        interpolation=interpolation_name(interpolation, rank),
        padding=padding,
        widths=tuple(pad_widths(extent, padding) for extent in extents),
        kernel_size=tuple(kernel.shape[:rank]),
        dilation_rate=dilation_rate,
        groups=groups,
        data_format=data_format,
    )
    return x, kernel, bias, task


def _convolvable(tensor: Tensor, what: str) -> Tensor:
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "float8" in dtype:
        raise TypeError(
            f"Floats of 8 bits are not convolved. Received {what} of dtype {dtype}; cast it to "
            "float32, or to floats of 16 bits."
        )
    if "complex" in dtype:
        raise TypeError(
            f"Expected real numbers. Received {what} of dtype {tensor.dtype}; convolve the real "
            "and the imaginary part apart."
        )
    return tensor
