"""Hypothesis strategies for arguments of layers and operations, small enough to shrink well."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

INTERPOLATIONS = ("nearest", "linear", "cubic", "lanczos3", "lanczos5")
PADDINGS = ("same", "valid", "reflect", "symmetric", "edge", "wrap")
DTYPES = ("float32", "float64")
DATA_FORMATS = ("channels_last", "channels_first")


@dataclass(frozen=True)
class UpsampleCase:
    spatial: tuple
    size: tuple
    interpolation: str
    channels: int
    data_format: str
    dtype: str
    seed: int
    batch: int = 2

    def input(self):
        """Return an input in float64, channels last."""
        shape = (self.batch, *self.spatial, self.channels)
        return np.random.default_rng(self.seed).standard_normal(shape)


@dataclass(frozen=True)
class ConvCase(UpsampleCase):
    kernel_size: tuple = ()
    dilation: tuple = ()
    groups: int = 1
    filters: int = 1
    padding: str = "same"

    def weights(self):
        """Return a kernel and a bias in float64."""
        rng = np.random.default_rng(self.seed + 1)
        shape = (*self.kernel_size, self.channels // self.groups, self.filters)
        return rng.standard_normal(shape), rng.standard_normal(self.filters)


def _common(draw, most_rank=3, shortest=1):
    rank = draw(st.integers(1, most_rank))
    # One-dimensional maps are long enough for several blocks of the banded matrix.
    longest = {1: 70, 2: 8, 3: 4}[rank] + shortest - 1
    spatial = draw(st.tuples(*[st.integers(shortest, longest)] * rank))
    return {
        "spatial": spatial,
        "size": draw(st.tuples(*[st.integers(1, 4)] * rank)),
        "interpolation": draw(st.sampled_from(INTERPOLATIONS)),
        "data_format": draw(st.sampled_from(DATA_FORMATS)),
        "dtype": draw(st.sampled_from(DTYPES)),
        "seed": draw(st.integers(0, 99)),
    }


@st.composite
def upsample_cases(draw):
    return UpsampleCase(**_common(draw), channels=draw(st.integers(1, 4)))


@st.composite
def conv_cases(draw, most_rank=3, most_groups=3, most_dilation=3, shortest=1):
    """Cases of upsampling followed by convolution."""
    common = _common(draw, most_rank, shortest)
    rank = len(common["spatial"])
    groups = draw(st.integers(1, most_groups))
    padding = draw(st.sampled_from(PADDINGS))
    kernel_size, dilation = [], []
    for length, factor in zip(common["spatial"], common["size"], strict=True):
        upsampled = length * factor
        step = draw(st.integers(1, most_dilation))
        largest = {"valid": upsampled, "reflect": 2 * upsampled - 1}.get(padding, 99)
        taps = min(5 if rank < 3 else 3, (largest - 1) // step + 1)
        kernel_size.append(draw(st.integers(1, taps)))
        dilation.append(step)
    return ConvCase(
        **common,
        channels=groups * draw(st.integers(1, 2)),
        kernel_size=tuple(kernel_size),
        dilation=tuple(dilation),
        groups=groups,
        filters=groups * draw(st.integers(1, 2)),
        padding=padding,
    )


@st.composite
def subpixel_cases(draw, most_rank=3):
    """Cases of sub-pixel convolutions; `filters` counts the kernel's outputs, of all phases."""
    common = _common(draw, most_rank)
    padding = draw(st.sampled_from(PADDINGS))
    kernel_size = []
    for length in common["spatial"]:
        largest = {"valid": length, "reflect": 2 * length - 1}.get(padding, 99)
        kernel_size.append(draw(st.integers(1, min(4, largest))))
    return ConvCase(
        **common,
        channels=draw(st.integers(1, 3)),
        kernel_size=tuple(kernel_size),
        filters=math.prod(common["size"]) * draw(st.integers(1, 3)),
        padding=padding,
    )
