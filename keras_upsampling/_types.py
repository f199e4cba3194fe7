"""Names for the types that recur in signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

# A tensor of whichever backend Keras runs on; the backends share no base class.
Tensor: TypeAlias = Any

# A tensor's shape, batch and channels included; None where it is not known yet.
Shape: TypeAlias = tuple[int | None, ...]

# One integer for every axis, or one per axis.
IntPerAxis: TypeAlias = int | Sequence[int]

DataFormat: TypeAlias = Literal["channels_last", "channels_first"]
InterpolationName: TypeAlias = Literal[
    "nearest", "linear", "cubic", "lanczos3", "lanczos5", "bilinear", "bicubic", "trilinear"
]
PaddingName: TypeAlias = Literal["same", "valid", "reflect", "symmetric", "edge", "wrap"]
