"""Maps of any size measured on the host: many small ones at once, a large one block by block."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from keras import ops, tree

from keras_upsampling._types import Tensor
from keras_upsampling.maths.harmonics import MOST_SAMPLES, Pieces
from keras_upsampling.metrics import blocks_of_maps
from keras_upsampling.metrics.blocks_of_maps import (
    Box,
    Load,
    Shares,
    boxes_of,
    numpy_array,
    tensor,
    windowed,
)
from keras_upsampling.ops._checkerboard.powers import (
    Powers,
    Sums,
    gain_of,
    phase_means,
    powers_of,
    sums_of,
    table_of,
)
from keras_upsampling.ops._checkerboard.score import CheckerboardScore, score_of
from keras_upsampling.ops._checkerboard.whitening import (
    best_filter,
    filter_products,
    high_pass,
    settled_pattern,
    weights_inside,
    without,
)
from keras_upsampling.ops.tables import compiled_on_jax


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
                tensor(shares.maps(start, stop)),
                None if reference is None else tensor(reference.maps(start, stop)),
                size=size,
                period=period,
            )
            for start, stop in itertools.pairwise(edges)
        ]
    sums, pattern = tree.map_structure(lambda *x: np.concatenate([*map(numpy_array, x)]), *parts)
    sums = tree.map_structure(tensor, sums)
    channels = shares.images.shape[1]
    score = _conclusion(sums, lengths=lengths, size=size, period=period, channels=channels)
    pattern = pattern.reshape(-1, channels, *size)
    return CheckerboardScore(*map(numpy_array, score)), pattern


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
    boxes = [*boxes_of(r.shape, size, blocks_of_maps.BLOCK)]
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
            found = _phase_means(tensor(wide), size=size, mean=tensor([mean]))
            weighted += numpy_array(found[0])[0]
            weights += numpy_array(found[1])[0]
        return weighted / weights

    first = weighted_mean(np.zeros(size))
    settled = settled_pattern(
        tensor(first[None]),
        lambda pattern: tensor(weighted_mean(numpy_array(pattern)[0].astype(float))[None]),
    )
    gain = numpy_array(gain_of(settled, tensor(first[None])))
    blocks = (
        _block(
            tensor(_with_margins(r, box, size, np.zeros(size))),
            tensor([squares]),
            size=size,
            lengths=lengths,
            counts=tuple(
                (part.stop - part.start) // n for part, n in zip(box, pieces.lengths, strict=True)
            ),
            period=period,
        )
        for box in boxes_of(r.shape, pieces.lengths, MOST_SAMPLES)
    )
    powers, weights, of_squares = functools.reduce(
        lambda total, found: tree.map_structure(np.add, total, found),
        (tree.map_structure(lambda x: numpy_array(x).astype(float), found) for found in blocks),
    )
    sums = Sums(powers, weights, of_squares, gain)
    return sums, first[None]


def _high_passed(load: Load, lengths: Sequence[int], size: tuple[int, ...]) -> np.ndarray:
    """Return a map after the high-pass."""
    found = np.empty(lengths, "float32")
    # Twice the triangle's reach.
    margins = [max(2 * (s - 1), 1) for s in size]
    for box, part in windowed(
        lambda window: _high_pass(tensor(load(window)[None]), size=size), lengths, margins
    ):
        found[box] = part
    return found


def _unexplained(r: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the inner part of a map less what a filter makes of the reference; `r` is changed."""
    inner = r[(slice(1, -1),) * r.ndim]
    boxes = [*boxes_of(inner.shape, (1,) * r.ndim, blocks_of_maps.BLOCK // 3**r.ndim)]

    def arguments(box: Box) -> tuple[Tensor, Tensor]:
        wide = tuple(slice(part.start, part.stop + 2) for part in box)
        return tensor(inner[box][None]), tensor(reference[wide][None])

    products, targets = np.zeros(()), np.zeros(())
    for box in boxes:
        found = [numpy_array(x).astype(float) for x in _filter_products(*arguments(box))]
        products, targets = products + found[0], targets + found[1]
    filters = best_filter(tensor(products), tensor(targets), inner.size)
    for box in boxes:
        inner[box] = numpy_array(_without(*arguments(box), filters))[0]
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
