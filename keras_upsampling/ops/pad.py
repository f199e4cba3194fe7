"""Padding that means the same on every backend.

`keras.ops.pad` has no `edge` or `wrap`, and its `symmetric` repeats the edge on PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keras import ops

from keras_upsampling._arguments import one_of
from keras_upsampling._types import Tensor


def _mirror(row: Tensor, last: Tensor) -> Tensor:
    # Back and forth between 0 and `last`, each end met once: 0 1 2 1 0 1 ...
    # An axis of one sample has no period; any divisor sends every row to its only sample.
    return last - ops.abs(ops.mod(row, ops.maximum(2 * last, 1)) - last)


# Which row of an axis, `last` the index of its last, stands at position `row` outside it.
_SOURCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "edge": lambda row, last: ops.clip(row, 0, last),
    "wrap": lambda row, last: ops.mod(row, last + 1),
    "reflect": _mirror,
    # Each end met twice: the mirror of an axis whose samples are two apart.
    "symmetric": lambda row, last: _mirror(2 * row + 1, 2 * last + 1) // 2,
}


def pad(x: Tensor, widths: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """Pad every axis of a tensor, as `numpy.pad` does, with equal results on every backend.

    Args:
        x: Tensor.
        widths: How many samples to add before and after each axis of `x`.
        mode: `"edge"`, `"wrap"`, `"reflect"` or `"symmetric"`.

    Returns:
        The padded tensor, in the dtype of `x`.

    Raises:
        ValueError: unknown mode, or not one pair of widths per axis.

    Example:
        >>> from keras import ops
        >>> from keras_upsampling.ops import pad
        >>> padded = pad(ops.array([1, 2, 3]), [(2, 1)], mode="wrap")
        >>> [int(number) for number in padded]
        [2, 3, 1, 2, 3, 1]
    """
    source = _SOURCES[one_of(mode, tuple(_SOURCES), "mode")]
    if len(widths) != len(x.shape):
        raise ValueError(
            f"`widths` must have one pair per axis. Received {len(widths)} pairs "
            f"for an input with {len(x.shape)} axes."
        )
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        length = ops.shape(x)[axis]
        # Only the border is gathered: gathering the whole axis would copy the interior by
        # index, and its gradient would scatter it.
        parts = [x]
        if before:
            parts.insert(0, ops.take(x, source(ops.arange(-before, 0), length - 1), axis=axis))
        if after:
            parts.append(ops.take(x, source(ops.arange(after) + length, length - 1), axis=axis))
        x = ops.concatenate(parts, axis=axis)
    return x
