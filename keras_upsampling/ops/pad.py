"""Padding that means the same on every backend.

`keras.ops.pad` has no `edge` or `wrap`, and its `symmetric` repeats the edge on PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keras import ops

from keras_upsampling._arguments import concrete_tensor, one_of
from keras_upsampling._types import Tensor
from keras_upsampling.ops.crop import crop


def _mirror(row: Tensor, last: Tensor) -> Tensor:
    # Back and forth between 0 and `last`, each end met once: 0 1 2 1 0 1 ...
    # An axis of one sample has no period; the divisor is then 1.
    return last - abs(row % ((2 * last + 1 + abs(2 * last - 1)) // 2) - last)


# Which row of an axis, `last` the index of its last, stands at position `row` outside it.
# In plain arithmetic, so that it holds for numbers and, where a length is unknown, tensors.
_SOURCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "edge": lambda row, last: (abs(row) - abs(row - last) + last) // 2,
    "wrap": lambda row, last: row % (last + 1),
    "reflect": _mirror,
    # Each end met twice: in half samples, the mirrors stand half a sample beyond the ends.
    "symmetric": lambda row, last: _mirror(2 * row + 1, 2 * last + 2) // 2,
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
        TypeError: `x` is symbolic.
        ValueError: unknown mode, a negative width, not one pair of widths per axis, or an
            axis of no samples.

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
            f"`widths` must have one pair per axis. Received {len(widths)} pairs "
            f"for an input with {len(x.shape)} axes."
        )
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        if before < 0 or after < 0 or x.shape[axis] == 0:
            raise ValueError(
                "An axis of at least one sample can be padded with 0 samples or more. Received "
                f"widths {(before, after)} for axis {axis} of an input of shape {tuple(x.shape)}."
            )
        last = ops.shape(x)[axis] - 1
        rows = [source(row, last) for row in range(-before, 0)]
        rows += [source(last + row, last) for row in range(1, after + 1)]
        # Slices, not one gather: the interior is not copied by index, the gradient is no
        # scatter, and exporters understand it.
        leading = (slice(None),) * axis
        border = [crop(x, [*leading, slice(row, row + 1)]) for row in rows]
        x = ops.concatenate([*border[:before], x, *border[before:]], axis=axis)
    return x
