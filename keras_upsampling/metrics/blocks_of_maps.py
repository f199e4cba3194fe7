"""Large maps, read block by block."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.harmonics import MOST_SAMPLES

Box = tuple[slice, ...]
Load = Callable[[Box], np.ndarray]

# So many samples are held by every step, of which each makes some copies.
BLOCK = MOST_SAMPLES // 4


class Shares:
    """The maps of images, every channel of each, as shares of the range; made when asked for.

    Args:
        images: Array `(batch, channels, *spatial)`, of any real dtype.
        data_range: What to divide by.
    """

    def __init__(self, images: np.ndarray, data_range: float) -> None:
        self.images, self.data_range = images, data_range
        self.lengths = images.shape[2:]

    def __len__(self) -> int:
        """Return how many maps there are."""
        return self.images.shape[0] * self.images.shape[1]

    def maps(self, start: int, stop: int, box: Box = ()) -> np.ndarray:
        """Return some of the maps, or a box of each: `(stop - start, *spatial)` in float32.

        The score looks at differences alone: less the first sample nothing is lost of small ones.
        """
        image, channel = np.divmod(np.arange(start, stop), self.images.shape[1])
        one = stop - start == 1  # a view then: fancy indices would copy all of it
        maps = self.images[image[0], channel[0]][None] if one else self.images[image, channel]
        first = maps[(slice(None), *(slice(1),) * len(self.lengths))].astype(float)
        return ((maps[(slice(None), *box)] - first) / self.data_range).astype("float32")

    def copied(self) -> np.ndarray:
        """Return all maps, as an array of its own in the shape of the images."""
        found = np.empty(self.images.shape, "float32")
        for index, place in enumerate(np.ndindex(*found.shape[:2])):
            for box in boxes_of(self.lengths, (1,) * len(self.lengths), BLOCK):
                found[(*place, *box)] = self.maps(index, index + 1, box)[0]
        return found


def tensor(x: Any) -> Tensor:
    """Return a float32 tensor."""
    return ops.convert_to_tensor(x, dtype="float32")


def numpy_array(x: Tensor) -> np.ndarray:
    """Return a tensor as an array."""
    return x if isinstance(x, np.ndarray) else ops.convert_to_numpy(x)


def boxes_of(lengths: Sequence[int], multiples: Sequence[int], most: int) -> Iterator[Box]:
    """Give boxes of about so many samples, each a multiple along every axis, that fill a map."""
    steps = list(lengths)
    while math.prod(steps) > most and any(n > m for n, m in zip(steps, multiples, strict=True)):
        # The longest axis that can be cut once more, at half of its multiples.
        axis = max(range(len(steps)), key=lambda i: steps[i] if steps[i] > multiples[i] else 0)
        steps[axis] = -(-steps[axis] // (2 * multiples[axis])) * multiples[axis]
    starts = (range(0, n, step) for n, step in zip(lengths, steps, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(
            slice(start, min(start + step, n))
            for start, step, n in zip(corner, steps, lengths, strict=True)
        )


def windowed(
    function: Callable[[Box], Tensor], lengths: Sequence[int], margins: Sequence[int]
) -> Iterator[tuple[Box, np.ndarray]]:
    """Give every box of a map, and what a function of boxes makes of it where it has margins.

    All are of one size, which JAX compiles once: at the ends a margin is wider inwards instead.
    """
    boxes = [*boxes_of(lengths, (1,) * len(lengths), BLOCK)]
    widths = [part.stop + 2 * m for part, m in zip(boxes[0], margins, strict=True)]
    for box in boxes:
        starts = [
            max(0, min(part.start - m, n - width))
            for part, m, n, width in zip(box, margins, lengths, widths, strict=True)
        ]
        window = tuple(
            slice(start, min(start + width, n))
            for start, width, n in zip(starts, widths, lengths, strict=True)
        )
        inside = tuple(
            slice(part.start - start, part.stop - start)
            for part, start in zip(box, starts, strict=True)
        )
        yield box, numpy_array(function(window))[0][inside]
