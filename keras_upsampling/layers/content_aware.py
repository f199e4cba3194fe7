"""`ContentAware2D`: upsampling by weights or positions that are read from the map itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from keras_upsampling._arguments import positive_int
from keras_upsampling._shapes import check_samples
from keras_upsampling._types import DataFormat, IntPerAxis, Shape, Tensor
from keras_upsampling.layers.base import SpatialLayer


class ContentAware2D(SpatialLayer):
    """Upsampling whose weights are computed from the input; the subclasses say how.

    The channels of a group are upsampled alike, and their number stays.
    """

    rank = 2

    def __init__(
        self, size: IntPerAxis, groups: int, data_format: DataFormat | None, **kwargs: Any
    ) -> None:
        super().__init__(size, data_format=data_format, **kwargs)
        self.groups = positive_int(groups, "groups")

    def build(self, input_shape: Shape) -> None:
        channels = self.channels_to_build_for(input_shape)
        if channels % self.groups:
            raise ValueError(
                "The input's channels must be divisible by `groups`. Received an input of shape "
                f"{tuple(input_shape)} with {channels} channels, and groups={self.groups}."
            )
        self.make_weights(channels)

    @abstractmethod
    def make_weights(self, channels: int) -> None:
        """Make the weights for inputs of so many channels."""

    def call(self, inputs: Tensor) -> Tensor:
        check_samples(inputs.shape, self.rank, self.data_format)
        return super().call(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}
