"""The ways to do a case, as models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

import keras_upsampling
from keras_upsampling._types import Tensor
from keras_upsampling.bench.cases import Case
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.upsample_conv import upsample_conv

# The contenders, by the names that tables show. Ratios are taken over the first.
OURS = "UpsampleConv"
KERAS = "UpSampling, Conv"
TRANSPOSE = "ConvTranspose, k"
TRANSPOSE_EQUAL = "ConvTranspose, k+s-1"
SUBPIXEL = "sub-pixel"

# What each of the others is called on the command line.
OTHERS = {
    "upsampling": KERAS,
    "transpose": TRANSPOSE,
    "transpose-equal": TRANSPOSE_EQUAL,
    "subpixel": SUBPIXEL,
}


class _DepthToSpace(keras.Layer):
    """The second half of a sub-pixel convolution, in any rank."""

    def __init__(self, size: tuple[int, ...], **options: Any) -> None:
        super().__init__(**options)
        self.size = size

    def call(self, inputs: Tensor) -> Tensor:
        return interleave(inputs, self.size)


class _ByMethod(keras.Layer):
    """`UpsampleConv` by a named method."""

    def __init__(self, layer: keras.Layer, method: str) -> None:
        super().__init__(dtype=layer.dtype_policy)
        self.layer = layer
        self.method = method

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.layer.build(input_shape)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.layer.compute_output_shape(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        layer = self.layer
        return upsample_conv(
            inputs,
            layer.kernel,
            layer.size,
            bias=layer.bias,
            interpolation=layer.interpolation,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
            method=self.method,
        )


def method_name(method: str) -> str:
    """Return what tables call a named way of this library."""
    return f"method {method}"


def contenders(
    case: Case, methods: Sequence[str] = (), against: Sequence[str] = tuple(OTHERS)
) -> dict[str, keras.Model]:
    """Return a model for each way to do a case: this library, and those of `OTHERS` in `against`.

    `methods` adds named ways of this library. Keras's transposed convolution is left out of groups,
    which it has not, and of dilation, which it has not where it has strides.
    """
    rank, size, kernel_size, filters = len(case.spatial), case.size, case.kernel_size, case.filters
    policy = case.dtype if case.dtype == "float32" else f"mixed_{case.dtype}"
    last = {"data_format": "channels_last", "dtype": policy}
    same = {"padding": "same", **last}
    taps = {"dilation_rate": case.dilation_rate, "groups": case.groups, **same}
    conv, transpose = getattr(layers, f"Conv{rank}D"), getattr(layers, f"Conv{rank}DTranspose")
    enlarge = getattr(layers, f"UpSampling{rank}D")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(case.interpolation, case.interpolation)
    options = {1: {"dtype": policy}, 2: {"interpolation": mode, **last}, 3: last}[rank]

    def ours() -> keras.Layer:
        layer = getattr(keras_upsampling, f"UpsampleConv{rank}D")
        return layer(filters, kernel_size, size, interpolation=case.interpolation, **taps)

    stacks = {
        OURS: [ours()],
        **{method_name(method): [_ByMethod(ours(), method)] for method in methods},
        KERAS: [enlarge(size, **options), conv(filters, kernel_size, **taps)],
        TRANSPOSE: [transpose(filters, kernel_size, strides=size, **same)],
        TRANSPOSE_EQUAL: [transpose(filters, kernel_size + size - 1, strides=size, **same)],
        SUBPIXEL: [
            conv(filters * size**rank, kernel_size, **taps),
            _DepthToSpace((size,) * rank, dtype=policy),
        ],
    }
    left_out = {name for key, name in OTHERS.items() if key not in against}
    if case.dilation_rate > 1 or case.groups > 1:
        left_out |= {TRANSPOSE, TRANSPOSE_EQUAL}
    # Its gradient would end the process there.
    if keras.backend.backend() == "tensorflow" and kernel_size < size:
        left_out.add(TRANSPOSE)
    return {
        name: keras.Sequential(
            [keras.Input(batch_shape=case.input_shape, dtype=case.dtype), *stack]
        )
        for name, stack in stacks.items()
        if name not in left_out
    }
