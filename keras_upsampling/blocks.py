"""Maps of any size measured on the host: many small ones at once, a large one block by block."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops, tree

from keras_upsampling._types import Tensor
from keras_upsampling.maths.harmonics import MOST_SAMPLES, Pieces
from keras_upsampling.ops.checkerboard import CheckerboardScore, score_of
from keras_upsampling.ops.powers import (
    Powers,
    Sums,
    gain_of,
    phase_means,
    powers_of,
    sums_of,
    table_of,
)
from keras_upsampling.ops.tables import compiled_on_jax
from keras_upsampling.ops.whitening import (
    best_filter,
    filter_products,
    high_pass,
    settled_pattern,
    weights_inside,
    without,
)

Box = tuple[slice, ...]
Load = Callable[[Box], np.ndarray]

# So many samples are held by every step, of which each makes some copies.
_BLOCK = MOST_SAMPLES // 4


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
            for box in _boxes(self.lengths, (1,) * len(self.lengths), _BLOCK):
                found[(*place, *box)] = self.maps(index, index + 1, box)[0]
        return found


def _whole(
    x: Tensor, reference: Tensor | None, size: tuple[int, ...], period: int | None
) -> tuple[Sums, Tensor]:
    sums, _, first = sums_of(x, reference, size, period)
    return sums, first


def _conclusion(
    sums: Sums, lengths: tuple[int, ...], size: tuple[int, ...], period: int | None, channels: int
) -> CheckerboardScore:
    table = table_of(Pieces.of(lengths, size), size, period, "float32")
    return score_of(sums, table, channels, 1.0)


def _block(
    wide: Tensor,
    mean: Tensor,
    size: tuple[int, ...],
    lengths: tuple[int, ...],
    counts: tuple[int, ...],
    period: int | None,
) -> tuple[Powers, Tensor, Tensor]:
    """Return powers, weights and their squares, summed over a block of whole pieces."""
    table = table_of(Pieces.of(lengths, size), size, period, "float32")
    weights = weights_inside(wide, size, mean)
    inner = wide[(slice(None), *(slice(s + 1, -s - 1) for s in size))]
    axes = tuple(range(1, len(size) + 1))
    powers = powers_of(weights * inner, table, counts)
    return powers, ops.sum(weights, axis=axes), ops.sum(weights * weights, axis=axes)


_whole = compiled_on_jax(_whole, ("size", "period"))
_conclusion = compiled_on_jax(_conclusion, ("lengths", "size", "period", "channels"))
_block = compiled_on_jax(_block, ("size", "lengths", "counts", "period"))
_high_pass = compiled_on_jax(high_pass, ("size",))
_phase_means = compiled_on_jax(phase_means, ("size",))
_filter_products = compiled_on_jax(filter_products, ())
_without = compiled_on_jax(without, ())


def score_and_pattern(
    shares: Shares, reference: Shares | None, size: tuple[int, ...], period: int | None = None
) -> tuple[CheckerboardScore, np.ndarray]:
    """Return the score of every image, and the weighted mean of every phase of its maps.

    Args:
        shares: The images.
        reference: What they should be, if it is known.
        size: Period of the pattern.
        period: None, or to look only at harmonics of this least period.

    Returns:
        The score, of arrays `(batch,)`, its amplitude a share of the range; and
        `(batch, channels, *size)`.
    """
    lengths = tuple(n - 2 * (reference is not None) for n in shares.lengths)
    if Pieces.of(lengths, size).number > 1:
        parts = [_large(shares, reference, i, size, period) for i in range(len(shares))]
    else:
        most = max(1, MOST_SAMPLES // math.prod(lengths))
        edges = np.linspace(0, len(shares), -(-len(shares) // most) + 1).astype(int).tolist()
        parts = [
            _whole(
                _tensor(shares.maps(start, stop)),
                None if reference is None else _tensor(reference.maps(start, stop)),
                size=size,
                period=period,
            )
            for start, stop in itertools.pairwise(edges)
        ]
    sums, pattern = tree.map_structure(lambda *x: np.concatenate([*map(_numpy, x)]), *parts)
    sums = tree.map_structure(_tensor, sums)
    channels = shares.images.shape[1]
    score = _conclusion(sums, lengths=lengths, size=size, period=period, channels=channels)
    pattern = pattern.reshape(-1, channels, *size)
    return CheckerboardScore(*map(_numpy, score)), pattern


def _tensor(x: Any) -> Tensor:
    return ops.convert_to_tensor(x, dtype="float32")


def _numpy(x: Tensor) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else ops.convert_to_numpy(x)


def _large(
    shares: Shares,
    reference: Shares | None,
    index: int,
    size: tuple[int, ...],
    period: int | None,
) -> tuple[Sums, np.ndarray]:
    """Return what `_whole` does of one map, sums in double precision.

    Only the high-passed map is held as a whole: it is looked at once for every step.
    """

    def load(one: Shares) -> Load:
        return lambda box: one.maps(index, index + 1, box)[0]

    r = _high_passed(load(shares), shares.lengths, size)
    if reference is not None:
        r = _unexplained(r, _high_passed(load(reference), shares.lengths, size))
    lengths = r.shape
    pieces = Pieces.of(lengths, size)
    r = r[tuple(map(slice, pieces.used))]
    boxes = [*_boxes(r.shape, size, _BLOCK)]
    split = [-1 if k % 2 == 0 else size[k // 2] for k in range(2 * len(size))]
    # The mean of the squares, less a pattern too, comes from the sums of the phases.
    squares, totals = 0.0, np.zeros(size)
    for box in boxes:
        part = r[box].astype(float)
        squares += np.square(part).sum() / r.size
        shape = [n for n, s in zip(part.shape, size, strict=True) for n in (n // s, s)]
        totals += part.reshape(shape).sum(axis=tuple(range(0, len(split), 2))) / r.size

    def weighted_mean(pattern: np.ndarray) -> np.ndarray:
        mean = squares - 2 * (pattern * totals).sum() + np.square(pattern).mean()
        weighted, weights = np.zeros(size), np.zeros(size)
        for box in boxes:
            wide = _with_margins(r, box, size, pattern)
            found = _phase_means(_tensor(wide), size=size, mean=_tensor([mean]))
            weighted += _numpy(found[0])[0]
            weights += _numpy(found[1])[0]
        return weighted / weights

    first = weighted_mean(np.zeros(size))
    settled = settled_pattern(
        _tensor(first[None]),
        lambda pattern: _tensor(weighted_mean(_numpy(pattern)[0].astype(float))[None]),
    )
    gain = _numpy(gain_of(settled, _tensor(first[None])))
    blocks = (
        _block(
            _tensor(_with_margins(r, box, size, np.zeros(size))),
            _tensor([squares]),
            size=size,
            lengths=lengths,
            counts=tuple(
                (part.stop - part.start) // n for part, n in zip(box, pieces.lengths, strict=True)
            ),
            period=period,
        )
        for box in _boxes(r.shape, pieces.lengths, MOST_SAMPLES)
    )
    powers, weights, of_squares = functools.reduce(
        lambda total, found: tree.map_structure(np.add, total, found),
        (tree.map_structure(lambda x: _numpy(x).astype(float), found) for found in blocks),
    )
    sums = Sums(powers, weights, of_squares, gain)
    return sums, first[None]


def _boxes(lengths: Sequence[int], multiples: Sequence[int], most: int) -> Iterator[Box]:
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


def _windowed(
    function: Callable[[Box], Tensor], lengths: Sequence[int], margins: Sequence[int]
) -> Iterator[tuple[Box, np.ndarray]]:
    """Give every box of a map, and what a function of boxes makes of it where it has margins.

    All are of one size, which JAX compiles once: at the ends a margin is wider inwards instead.
    """
    boxes = [*_boxes(lengths, (1,) * len(lengths), _BLOCK)]
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
        yield box, _numpy(function(window))[0][inside]


def _high_passed(load: Load, lengths: Sequence[int], size: tuple[int, ...]) -> np.ndarray:
    """Return a map after the high-pass."""
    found = np.empty(lengths, "float32")
    # Twice the triangle's reach.
    margins = [max(2 * (s - 1), 1) for s in size]
    for box, part in _windowed(
        lambda window: _high_pass(_tensor(load(window)[None]), size=size), lengths, margins
    ):
        found[box] = part
    return found


def _unexplained(r: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the inner part of a map less what a filter makes of the reference; `r` is changed."""
    inner = r[(slice(1, -1),) * r.ndim]
    boxes = [*_boxes(inner.shape, (1,) * r.ndim, _BLOCK // 3**r.ndim)]

    def arguments(box: Box) -> tuple[Tensor, Tensor]:
        wide = tuple(slice(part.start, part.stop + 2) for part in box)
        return _tensor(inner[box][None]), _tensor(reference[wide][None])

    products, targets = np.zeros(()), np.zeros(())
    for box in boxes:
        found = [_numpy(x).astype(float) for x in _filter_products(*arguments(box))]
        products, targets = products + found[0], targets + found[1]
    filters = best_filter(_tensor(products), _tensor(targets), inner.size)
    for box in boxes:
        inner[box] = _numpy(_without(*arguments(box), filters))[0]
    return inner


def _with_margins(
    r: np.ndarray, box: Box, size: tuple[int, ...], pattern: np.ndarray
) -> np.ndarray:
    """Return a box less a pattern, with what the weights look at on all sides, as `wrapped`."""
    starts = [part.start - s - 1 for part, s in zip(box, size, strict=True)]
    stops = [part.stop + s + 1 for part, s in zip(box, size, strict=True)]
    if min(starts) >= 0 and all(stop <= n for stop, n in zip(stops, r.shape, strict=True)):
        wide = r[tuple(map(slice, starts, stops))]
    else:
        wide = r[
            np.ix_(*(np.arange(a, b) % n for a, b, n in zip(starts, stops, r.shape, strict=True)))
        ]
    if not pattern.any():
        return wide[None]
    tile = np.roll(pattern, [-start for start in starts], range(pattern.ndim)).astype("float32")
    repeats = [-(-n // s) for n, s in zip(wide.shape, size, strict=True)]
    return (wide - np.tile(tile, repeats)[tuple(map(slice, wide.shape))])[None]
