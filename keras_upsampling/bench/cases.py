"""The grid of benchmark cases."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from keras_upsampling.maths.padding import kernel_extent, pad_widths
from keras_upsampling.ops._upsample_conv.task import Shape as TaskShape
from keras_upsampling.ops._upsample_conv.task import Task


class Case(NamedTuple):
    """One upsampling of one feature map, and the convolution after it."""

    batch: int
    spatial: tuple[int, ...]
    channels: int
    filters: int
    size: int
    kernel_size: int
    interpolation: str
    dtype: str
    dilation_rate: int = 1
    groups: int = 1
    data_format: str = "channels_last"

    def __str__(self) -> str:
        spatial = "x".join(map(str, self.spatial))
        return (
            f"{self.batch}x{spatial}x{self.channels} to {self.filters}, s={self.size}, "
            f"k={self.kernel_size}"
            + (f", d={self.dilation_rate}" if self.dilation_rate > 1 else "")
            + (f", {self.groups} groups" if self.groups > 1 else "")
            + f", {self.interpolation}"
            + (f", {self.dtype}" if self.dtype != "float32" else "")
            + (", channels first" if self.data_format == "channels_first" else "")
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input map."""
        return self._shape(self.spatial, self.channels)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output map."""
        return self._shape(tuple(n * self.size for n in self.spatial), self.filters)

    def _shape(self, spatial: tuple[int, ...], channels: int) -> tuple[int, ...]:
        if self.data_format == "channels_first":
            return (self.batch, channels, *spatial)
        return (self.batch, *spatial, channels)

    @property
    def task(self) -> Task:
        """The task of `upsample_conv` for this case."""
        rank = len(self.spatial)
        extent = kernel_extent(self.kernel_size, self.dilation_rate)
        return Task(
            size=(self.size,) * rank,
            interpolation=self.interpolation,
            padding="same",
            widths=(pad_widths(extent, "same"),) * rank,
            kernel_size=(self.kernel_size,) * rank,
            dilation_rate=(self.dilation_rate,) * rank,
            groups=self.groups,
            data_format=self.data_format,
        )

    @property
    def task_shape(self) -> TaskShape:
        """The shape for which a method of `upsample_conv` is chosen."""
        return TaskShape(self.batch, self.spatial, self.channels, self.filters)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one convolution per phase.

        Zero taps are not counted. Borders count like the rest of the map.
        """
        taps = sum(
            len({(phase + self.dilation_rate * t) // self.size for t in range(self.kernel_size)})
            for phase in range(self.size)
        )
        per_filter = math.prod(self.input_shape) * taps ** len(self.spatial)
        return per_filter * self.filters // self.groups


# Batch, spatial lengths, channels, filters.
Shape: TypeAlias = tuple[int, tuple[int, ...], int, int]

# From the maps of small decoders to large images.
SHAPES: tuple[Shape, ...] = (
    (32, (7, 7), 64, 64),
    (4, (32, 32), 64, 64),
    (2, (56, 56), 128, 64),
    (1, (64, 64), 256, 128),
    (1, (256, 256), 16, 8),
    (16, (128,), 64, 64),
    (4, (2048,), 64, 32),
    (4, (7, 7, 7), 32, 32),
    (1, (16, 16, 16), 32, 16),
)


def cases(
    *,
    shapes: Sequence[Shape] | None = None,
    ranks: Sequence[int] = (1, 2, 3),
    sizes: Sequence[int] = (2, 3, 4),
    kernel_sizes: Sequence[int] = (3, 5),
    interpolations: Sequence[str] = ("nearest", "linear"),
    dtypes: Sequence[str] = ("float32",),
    dilation_rates: Sequence[int] = (1,),
    groups: Sequence[int] = (1,),
    largest: float = math.inf,
) -> list[Case]:
    """Return the grid of cases.

    Interpolations other than nearest are used in two dimensions only, as in Keras.

    Args:
        shapes: Input shapes with filters; `SHAPES` by default.
        ranks: Numbers of spatial axes.
        sizes: Upsampling factors.
        kernel_sizes: Taps per axis.
        interpolations: Names of interpolations.
        dtypes: Names of dtypes.
        dilation_rates: Steps between taps.
        groups: Numbers of groups of channels.
        largest: Largest number of values in one input map.
    """
    return [
        Case(*shape, size, kernel_size, interpolation, dtype, dilation_rate, group_count)
        for dtype in dtypes
        for interpolation, size, kernel_size, dilation_rate, group_count in itertools.product(
            interpolations, sizes, kernel_sizes, dilation_rates, groups
        )
        for shape in shapes or SHAPES
        if len(shape[1]) in ranks and (len(shape[1]) == 2 or interpolation == "nearest")
        if math.prod(shape[1]) * shape[2] <= largest
    ]
