"""The checked arguments of upsampling and convolving a batch."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from keras_upsampling._types import Tensor
from keras_upsampling.maths.padding import kernel_extent


class Task(NamedTuple):
    """The checked arguments of `upsample_conv`, and the `widths` of the upsampled map's padding."""

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
        """Number of spatial axes."""
        return len(self.size)

    @property
    def axes(self) -> list[tuple[int, int, int, tuple[int, int]]]:
        """Factor, taps, dilation and padding of every axis."""
        axes = zip(self.size, self.kernel_size, self.dilation_rate, self.widths, strict=True)
        return list(axes)

    @property
    def extents(self) -> tuple[int, ...]:
        """Number of samples of each upsampled axis that the kernel spans."""
        return tuple(map(kernel_extent, self.kernel_size, self.dilation_rate))

    @property
    def boundary(self) -> str:
        """Padding of the upsampled map: zeros (also if there is none), or `numpy.pad`'s mode."""
        return "zeros" if self.padding in ("same", "valid") else self.padding

    def output_length(self, length: Tensor, i: int) -> Tensor:
        """Return the length of axis `i` of the output for a length of the input."""
        return length * self.size[i] + sum(self.widths[i]) - self.extents[i] + 1


class Shape(NamedTuple):
    """The shape of an input and the number of filters; an unknown length is None."""

    batch: Any
    spatial: tuple[Any, ...]
    channels: int
    filters: int

    @property
    def samples(self) -> int:
        """Number of samples of one channel, over the batch."""
        return self.batch * math.prod(self.spatial)

    @property
    def values(self) -> int:
        """Number of values of the input."""
        return self.samples * self.channels
