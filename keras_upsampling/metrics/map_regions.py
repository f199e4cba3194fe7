"""Large maps, read region by region so that only a part of them is in memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.harmonics import MAX_SAMPLES

Region = tuple[slice, ...]
Load = Callable[[Region], np.ndarray]

# Samples of a region, at most: a quarter, since computing with it makes several copies.
REGION_SAMPLES = MAX_SAMPLES // 4


class ChannelMaps:
    """The channels of images as maps, divided by the range; computed when they are read.

    Args:
        images: Array `(batch, channels, *spatial)` of any real dtype.
        data_range: Number by which the values are divided.
    """

    def __init__(self, images: np.ndarray, data_range: float) -> None:
        self.images, self.data_range = images, data_range
        self.lengths = images.shape[2:]

    def __len__(self) -> int:
        """Return the number of maps."""
        return self.images.shape[0] * self.images.shape[1]

    def read(self, start: int, stop: int, region: Region = ()) -> np.ndarray:
        """Return the maps `start` to `stop`, or a region of each, as float32.

        Each map's first sample is subtracted before the rounding to float32, so that a large offset
        does not hide small differences. The score depends on differences only.
        """
        image, channel = np.divmod(np.arange(start, stop), self.images.shape[1])
        single = stop - start == 1  # a view: an index array would copy the whole map
        maps = self.images[image[0], channel[0]][None] if single else self.images[image, channel]
        offset = maps[(slice(None), *(slice(1),) * len(self.lengths))].astype(float)
        return ((maps[(slice(None), *region)] - offset) / self.data_range).astype("float32")

    def to_array(self) -> np.ndarray:
        """Return all maps as a new array in the shape of the images."""
        array = np.empty(self.images.shape, "float32")
        for index, place in enumerate(np.ndindex(*array.shape[:2])):
            for region in regions(self.lengths, (1,) * len(self.lengths), REGION_SAMPLES):
                array[(*place, *region)] = self.read(index, index + 1, region)[0]
        return array


def tensor(x: Any) -> Tensor:
    """Return a float32 tensor."""
    return ops.convert_to_tensor(x, dtype="float32")


def numpy_array(x: Tensor) -> np.ndarray:
    """Return a tensor as a NumPy array."""
    return x if isinstance(x, np.ndarray) else ops.convert_to_numpy(x)


def regions(lengths: Sequence[int], multiples: Sequence[int], max_samples: int) -> Iterator[Region]:
    """Yield regions of at most about `max_samples` samples that together cover a map.

    The lengths of a region are multiples of `multiples`, except at the end of the map.
    """
    steps = list(lengths)
    while math.prod(steps) > max_samples and any(
        n > m for n, m in zip(steps, multiples, strict=True)
    ):
        # Halve the longest axis that can still be divided, in units of its multiple.
        axis = max(range(len(steps)), key=lambda i: steps[i] if steps[i] > multiples[i] else 0)
        steps[axis] = -(-steps[axis] // (2 * multiples[axis])) * multiples[axis]
    starts = (range(0, n, step) for n, step in zip(lengths, steps, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(
            slice(start, min(start + step, n))
            for start, step, n in zip(corner, steps, lengths, strict=True)
        )


def windowed(
    function: Callable[[Region], Tensor], lengths: Sequence[int], margins: Sequence[int]
) -> Iterator[tuple[Region, np.ndarray]]:
    """Yield every region with the values of a function, called on the region and its margins.

    All windows have the same shape, so that JAX compiles once: at the ends of the map, a window
    extends further into the map instead.
    """
    map_regions = [*regions(lengths, (1,) * len(lengths), REGION_SAMPLES)]
    widths = [interval.stop + 2 * m for interval, m in zip(map_regions[0], margins, strict=True)]
    for region in map_regions:
        starts = [
            max(0, min(interval.start - m, n - width))
            for interval, m, n, width in zip(region, margins, lengths, widths, strict=True)
        ]
        window = tuple(
            slice(start, min(start + width, n))
            for start, width, n in zip(starts, widths, lengths, strict=True)
        )
        inside = tuple(
            slice(interval.start - start, interval.stop - start)
            for interval, start in zip(region, starts, strict=True)
        )
        yield region, numpy_array(function(window))[0][inside]
