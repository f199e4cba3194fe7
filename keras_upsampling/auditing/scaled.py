"""Replace resizing to a fixed size by resizing with fixed factors."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import keras
from keras import layers, ops

from keras_upsampling._shapes import spatial_axes
from keras_upsampling._types import Shape, Tensor

_RANK = 2


class Scaled(keras.Layer):
    """Resizing of maps of any size by the factors of an operation for one size.

    Args:
        operation: A `Resizing` layer, or the operation of `keras.ops.image.resize` in a graph.
        input_shape: Input shape of the operation.
        output_shape: Output shape of the operation.
    """

    def __init__(self, operation: Any, input_shape: Shape, output_shape: Shape) -> None:
        super().__init__(dtype=getattr(operation, "dtype_policy", None))
        self.interpolation = operation.interpolation
        self.antialias = operation.antialias
        self.data_format = operation.data_format
        self.axes = spatial_axes(_RANK, operation.data_format)
        self.factors = [
            Fraction(output_shape[axis] or 1, input_shape[axis] or 1) for axis in self.axes
        ]

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
    """Return whether an operation resizes images without padding or cropping them."""
    is_layer = isinstance(operation, (layers.Resizing, Scaled))
    keeps_ratio = any(
        getattr(operation, name, False) for name in ("crop_to_aspect_ratio", "pad_to_aspect_ratio")
    )
    return (is_layer or type(operation).__name__ == "Resize") and not keeps_ratio


def of_any_size(operation: Any, *args: Any) -> Any:
    """Return an operation that accepts maps of any size: `Scaled` in place of resizing."""
    if not resizes(operation) or isinstance(operation, Scaled):
        return operation
    shapes = args[0].shape, operation.compute_output_spec(args[0]).shape
    fixed = all(len(shape) == _RANK + 2 and None not in shape[1:] for shape in shapes)
    return Scaled(operation, *shapes) if fixed else operation
