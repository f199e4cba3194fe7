"""Type aliases for signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

# A tensor of any backend; the tensor classes of the backends share no base class.
Tensor: TypeAlias = Any

# Shape of a tensor, including batch and channels; None for an unknown length.
Shape: TypeAlias = tuple[int | None, ...]

# One integer for all axes, or one per axis.
IntPerAxis: TypeAlias = int | Sequence[int]

DataFormat: TypeAlias = Literal["channels_last", "channels_first"]
InterpolationName: TypeAlias = Literal[
    "nearest", "linear", "cubic", "lanczos3", "lanczos5", "bilinear", "bicubic", "trilinear"
]
PaddingName: TypeAlias = Literal["same", "valid", "reflect", "symmetric", "edge", "wrap"]
