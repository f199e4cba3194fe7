"""`ContentAware2D`: base class of the upsampling layers that adapt to the content of the map."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from keras_upsampling._arguments import positive_int
from keras_upsampling._shapes import check_samples
from keras_upsampling._types import DataFormat, IntPerAxis, Shape, Tensor
from keras_upsampling.layers.base import SpatialLayer


class ContentAware2D(SpatialLayer):
    """Upsampling whose weights or positions are computed from the input, by the subclasses.

    All channels of a group are upsampled in the same manner. The number of channels stays the same.
    """

    rank = 2

    def __init__(
        self, size: IntPerAxis, groups: int, data_format: DataFormat | None, **kwargs: Any
    ) -> None:
        super().__init__(size, data_format=data_format, **kwargs)
        self.groups = positive_int(groups, "groups")

    def build(self, input_shape: Shape) -> None:
        channels = self.known_channels(input_shape)
        if channels % self.groups:
            raise ValueError(
                "The input's channels must be divisible by `groups`. Received an input of shape "
                f"{tuple(input_shape)} with {channels} channels, and groups={self.groups}. Use a "
                f"`groups` that divides {channels}."
            )
        self.create_weights(channels)
        self.require_channels(channels)

    @abstractmethod
    def create_weights(self, channels: int) -> None:
        """Create the weights for inputs with `channels` channels."""

    def call(self, inputs: Tensor) -> Tensor:
        check_samples(inputs.shape, self.rank, self.data_format)
        return super().call(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}
