"""What there is to do when a batch is upsampled and convolved, every argument checked."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from keras_upsampling._types import Tensor
from keras_upsampling.maths.padding import kernel_extent


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
    def axes(self) -> list[tuple[int, int, int, tuple[int, int]]]:
        """Factor, taps, dilation and padding of every axis."""
        of_axes = zip(self.size, self.kernel_size, self.dilation_rate, self.widths, strict=True)
        return list(of_axes)

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


class Shape(NamedTuple):
    """The shape of an input, and how many filters it meets; a length not known yet is None."""

    batch: Any
    spatial: tuple[Any, ...]
    channels: int
    filters: int

    @property
    def samples(self) -> int:
        """How many samples a channel has, over the batch."""
        return self.batch * math.prod(self.spatial)

    @property
    def numbers(self) -> int:
        """How many numbers the input has."""
        return self.samples * self.channels
