"""The contenders of a case, as models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

import keras_upsampling
from keras_upsampling._types import Tensor
from keras_upsampling.bench.cases import Case
from keras_upsampling.ops._upsample_conv.choice import possible
from keras_upsampling.ops._upsample_conv.method import Method, run
from keras_upsampling.ops._upsample_conv.methods import METHODS
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.upsample_convolution import prepare

# Names of the contenders in tables. Ratios are relative to `OURS`.
OURS = "UpsampleConv"
KERAS = "UpSampling, Conv"
TRANSPOSE = "ConvTranspose, k"
TRANSPOSE_EQUAL = "ConvTranspose, k+s-1"
SUBPIXEL = "sub-pixel"

# The contenders besides this library, by their names on the command line.
BASELINES = {
    "upsampling": KERAS,
    "transpose": TRANSPOSE,
    "transpose-equal": TRANSPOSE_EQUAL,
    "subpixel": SUBPIXEL,
}


class _DepthToSpace(keras.Layer):
    """Depth to space for a sub-pixel convolution, in any rank."""

    def __init__(self, size: tuple[int, ...], data_format: str, **options: Any) -> None:
        super().__init__(**options)
        self.size = size
        self.data_format = data_format

    def call(self, inputs: Tensor) -> Tensor:
        return interleave(inputs, self.size, data_format=self.data_format)


class _ByMethod(keras.Layer):
    """`UpsampleConv` computed by fixed methods."""

    def __init__(self, layer: keras.Layer, forward: Method, backward: Method) -> None:
        super().__init__(dtype=layer.dtype_policy)
        self.layer = layer
        self.methods = (forward, backward)

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.layer.build(input_shape)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.layer.compute_output_shape(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        layer = self.layer
        task = prepare(
            inputs,
            layer.kernel,
            layer.bias,
            layer.size,
            layer.interpolation,
            layer.padding,
            layer.data_format,
            layer.dilation_rate,
        )
        return run(*self.methods, *task)


def method_name(method: str) -> str:
    """Return the name of a method of this library in tables."""
    return f"method {method}"


def upsample_conv_layer(
    case: Case, method: str | None = None, backward: str | None = None
) -> keras.Layer:
    """Return this library's layer for a case.

    Args:
        case: The case.
        method: Name of the method to use; None to choose it as the layer does.
        backward: Name of the method of the gradients, if it is another.
    """
    layer = getattr(keras_upsampling, f"UpsampleConv{len(case.spatial)}D")(
        case.filters,
        case.kernel_size,
        case.size,
        interpolation=case.interpolation,
        padding="same",
        data_format=case.data_format,
        dilation_rate=case.dilation_rate,
        groups=case.groups,
        dtype=policy(case.dtype),
    )
    if method is None:
        return layer
    return _ByMethod(layer, METHODS[method], METHODS[backward or method])


def model(case: Case, *stack: keras.Layer) -> keras.Model:
    """Return a sequential model of layers for the input of a case."""
    return keras.Sequential([keras.Input(batch_shape=case.input_shape, dtype=case.dtype), *stack])


def policy(dtype: str) -> str:
    """Return the dtype policy that computes in a dtype, with weights in float32 or float64."""
    return dtype if dtype in ("float32", "float64") else f"mixed_{dtype}"


def contenders(
    case: Case, methods: Sequence[str] = (), against: Sequence[str] = tuple(BASELINES)
) -> dict[str, keras.Model]:
    """Return a model of every contender, by its name in tables.

    Keras's transposed convolution is left out of cases with groups or dilation. It supports no
    groups, and no dilation together with strides. Keras's `UpSampling1D` is left out of cases with
    channels first.

    Args:
        case: The case.
        methods: Names of this library's methods to add, as far as they support the case.
        against: Keys of `BASELINES`.
    """
    rank, size, kernel_size, filters = len(case.spatial), case.size, case.kernel_size, case.filters
    common = {"data_format": case.data_format, "dtype": policy(case.dtype)}
    same = {"padding": "same", **common}
    taps = {"dilation_rate": case.dilation_rate, "groups": case.groups, **same}
    conv, transpose = getattr(layers, f"Conv{rank}D"), getattr(layers, f"Conv{rank}DTranspose")
    upsampling = getattr(layers, f"UpSampling{rank}D")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(case.interpolation, case.interpolation)
    options = {
        1: {"dtype": policy(case.dtype)},
        2: {"interpolation": mode, **common},
        3: common,
    }[rank]
    supported = possible(case.task, case.task_shape)
    stacks = {
        OURS: [upsample_conv_layer(case)],
        **{
            method_name(name): [upsample_conv_layer(case, name)]
            for name in methods
            if name in supported
        },
        KERAS: [upsampling(size, **options), conv(filters, kernel_size, **taps)],
        TRANSPOSE: [transpose(filters, kernel_size, strides=size, **same)],
        TRANSPOSE_EQUAL: [transpose(filters, kernel_size + size - 1, strides=size, **same)],
        SUBPIXEL: [
            conv(filters * size**rank, kernel_size, **taps),
            _DepthToSpace((size,) * rank, **common),
        ],
    }
    left_out = {name for key, name in BASELINES.items() if key not in against}
    if case.dilation_rate > 1 or case.groups > 1:
        left_out |= {TRANSPOSE, TRANSPOSE_EQUAL}
    if rank == 1 and case.data_format == "channels_first":
        left_out.add(KERAS)  # `UpSampling1D` takes channels last only
    # Its gradient crashes the process when a stride exceeds the kernel.
    if keras.backend.backend() == "tensorflow" and kernel_size < size:
        left_out.add(TRANSPOSE)
    return {name: model(case, *stack) for name, stack in stacks.items() if name not in left_out}
