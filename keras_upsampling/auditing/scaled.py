"""Resizing to a fixed size, turned into resizing by fixed factors."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import keras
from keras import layers, ops

from keras_upsampling._shapes import spatial_axes
from keras_upsampling._types import Shape, Tensor

_RANK = 2


class Scaled(keras.Layer):
    """Resizes maps of any size by the factors that an operation has resized its own by.

    Args:
        operation: A `Resizing`, or a graph's operation of `keras.ops.image.resize`.
        given: The shape of what it was given.
        made: The shape of what it made.
    """

    def __init__(self, operation: Any, given: Shape, made: Shape) -> None:
        super().__init__(dtype=getattr(operation, "dtype_policy", None))
        self.interpolation = operation.interpolation
        self.antialias = operation.antialias
        self.data_format = operation.data_format
        self.axes = spatial_axes(_RANK, operation.data_format)
        self.factors = [Fraction(made[axis] or 1, given[axis] or 1) for axis in self.axes]

    def call(self, images: Tensor) -> Tensor:
        """Return the resized images."""
        size = [round(images.shape[a] * f) for a, f in zip(self.axes, self.factors, strict=True)]
        return ops.image.resize(
            images,
            size,
            interpolation=self.interpolation,
            antialias=self.antialias,
            data_format=self.data_format,
        )

    def compute_output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the resized images."""
        factors = dict(zip(self.axes, self.factors, strict=True))
        return tuple(n and round(n * factors.get(axis, 1)) for axis, n in enumerate(shape))


def resizes(operation: Any) -> bool:
    """Return whether an operation resizes images as a whole, without a frame or a cut."""
    known = isinstance(operation, (layers.Resizing, Scaled))
    keeps_ratio = any(
        getattr(operation, name, False) for name in ("crop_to_aspect_ratio", "pad_to_aspect_ratio")
    )
    return (known or type(operation).__name__ == "Resize") and not keeps_ratio


def of_any_size(operation: Any, *args: Any) -> Any:
    """Return an operation, or what does the same to maps of any size as it does to these."""
    if not resizes(operation) or isinstance(operation, Scaled):
        return operation
    ends = args[0].shape, operation.compute_output_spec(args[0]).shape
    known = all(len(shape) == _RANK + 2 and None not in shape[1:] for shape in ends)
    return Scaled(operation, *ends) if known else operation
