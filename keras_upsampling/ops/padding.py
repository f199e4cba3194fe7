"""Padding with the same result on every backend.

`keras.ops.pad` has no `edge` or `wrap`, and its `symmetric` repeats the edge on PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import keras
from keras import ops

from keras_upsampling._arguments import one_of
from keras_upsampling._types import Tensor
from keras_upsampling.ops.crop import crop
from keras_upsampling.ops.inputs import concrete_tensor

# The row of an axis of `length` rows that is copied to `step` rows after `end`, which is its first
# or last row. Integer divisions and remainders can be traced for unknown lengths.
_SOURCES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "edge": lambda _, end, step: end + 0 * step,
    "wrap": lambda length, end, step: (end + step) % length,
    "reflect": lambda length, end, step: _mirrored(end + step, length, repeated=0),
    "symmetric": lambda length, end, step: _mirrored(end + step, length, repeated=1),
}


def _mirrored(row: Tensor, length: Tensor, repeated: int) -> Tensor:
    # Back and forth, each end once or, if `repeated`, twice: 0 1 2 1 0 1 ... or 0 1 2 2 1 0 0 ...
    period = 2 * (length - 1 + repeated)
    # An axis of one sample may have a period of 0; the divisor is then 1.
    row = row % (period + 1 // (period + 1))
    return row + row // length * (period - repeated - 2 * row)


def pad(x: Tensor, widths: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """Pad every axis of a tensor as `numpy.pad` does, with the same result on every backend.

    Args:
        x: Tensor of any shape.
        widths: Number of samples to add before and after each axis of `x`.
        mode: `"edge"`, `"wrap"`, `"reflect"` or `"symmetric"`.

    Returns:
        The padded tensor, in the dtype of `x`.

    Raises:
        TypeError: If `x` is symbolic.
        ValueError: If `mode` is unknown, a width is negative, there is not one pair of widths per
            axis, or a padded axis is empty.

    Example:
        >>> from keras import ops
        >>> from keras_upsampling.ops import pad
        >>> padded = pad(ops.array([1, 2, 3]), [(2, 1)], mode="wrap")
        >>> [int(number) for number in padded]
        [2, 3, 1, 2, 3, 1]
    """
    source = _SOURCES[one_of(mode, tuple(_SOURCES), "mode")]
    x = concrete_tensor(x, "the `padding` of UpsampleConv1D, UpsampleConv2D or UpsampleConv3D")
    if len(widths) != len(x.shape):
        raise ValueError(
            f"`widths` must have one pair per axis. Received: {len(widths)} pairs "
            f"for an input with {len(x.shape)} axes. Use (0, 0) for axes without padding."
        )
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        if before < 0 or after < 0 or x.shape[axis] == 0:
            raise ValueError(
                "Widths must be at least 0, and a padded axis must have at least one sample. "
                f"Received: widths {(before, after)} for axis {axis} of an input of shape "
                f"{tuple(x.shape)}. Use (0, 0) to leave the axis as it is."
            )
        length = ops.shape(x)[axis]
        rows_before = _rows(x, axis, partial(source, length, 0), range(-before, 0))
        rows_after = _rows(x, axis, partial(source, length, length - 1), range(1, after + 1))
        x = ops.concatenate([*rows_before, x, *rows_after], axis=axis)
    return x


def _rows(x: Tensor, axis: int, source: Callable[[Tensor], Tensor], steps: range) -> list[Tensor]:
    """Return the rows at `steps` from an end of an axis, to concatenate."""
    leading = [slice(None)] * axis
    if not steps or isinstance(x.shape[axis], int) or keras.backend.backend() == "tensorflow":
        # Slices, because the gradient of a gather is a scatter.
        return [crop(x, [*leading, slice(row, row + 1)]) for row in map(source, steps)]
    # For unknown lengths, exporters cannot prove that slices lie within the axis.
    return [x[(*leading, source(ops.arange(steps.start, steps.stop)))]]
