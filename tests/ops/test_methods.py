"""Every method of the one step matches the oracle on the cases that it supports."""

import functools
from contextlib import nullcontext
from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given
from keras import ops

from tests.backends import (
    BACKEND,
    float64_allowed,
    gradients,
    jitted,
    tensor_sizes,
    to_numpy,
    value_and_gradients,
)
from tests.ops.one_step import (
    METHODS,
    ONE_STEP,
    UnsupportedError,
    assert_close,
    by_method,
    check,
    operation,
    oracle_options,
    plain_case,
    to_format,
)
from tests.oracle import upsample_conv as expected_output
from tests.oracle import upsample_conv_gradients
from tests.strategies import conv_cases


@given(case=conv_cases())
def test_phases_match_the_oracle(case):
    check(case, "phases")


@given(case=conv_cases(most_groups=1, most_rank=2))
def test_matrices_match_the_oracle(case):
    check(case, "matrices")


@given(case=conv_cases(most_groups=1))
def test_one_product_matches_the_oracle(case):
    check(case, "one_product")


@given(case=conv_cases(most_groups=1, most_dilation=1, most_rank=2))
def test_transposed_matches_the_oracle(case):
    check(case, "transposed")


@given(case=conv_cases(most_groups=1, most_dilation=1, most_rank=2, shortest=12))
@pytest.mark.parametrize("method", ["phases", "transposed"])
def test_separate_borders_match_the_oracle(method, case):
    check(case, method)


@pytest.mark.parametrize(
    ("interpolation", "padding"), [("nearest", "same"), ("nearest", "edge"), ("linear", "same")]
)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_compiles(method, interpolation, padding):
    if BACKEND == "torch" and method == "matrices":
        pytest.skip("not supported there: the graph would have to hold a NumPy array")
    case = plain_case(padding, "channels_first", interpolation)
    x, (kernel, _) = case.input(), case.weights()
    tensors = [
        ops.convert_to_tensor(to_format(x, case.data_format), dtype="float32"),
        ops.convert_to_tensor(kernel, dtype="float32"),
    ]
    expected = expected_output(x, kernel, 0, **oracle_options(case))
    function = jitted(operation(case, method))
    assert_close(to_numpy(function(*tensors)), to_format(expected, case.data_format), "float32")
    cotangent = np.ones(expected.shape)
    to_input, to_kernel, _ = upsample_conv_gradients(x, kernel, cotangent, **oracle_options(case))
    cotangent = to_format(cotangent, case.data_format).astype("float32")
    slopes = gradients(function, tensors, ops.convert_to_tensor(cotangent))
    assert_close(slopes[0], to_format(to_input, case.data_format), "float32")
    assert_close(slopes[1], to_kernel, "float32")


@pytest.mark.parametrize(
    ("method", "interpolation"),
    [("resize", "cubic"), ("phases", "nearest"), ("one_product", "cubic")],
)
def test_compiled_programs_are_reused(method, interpolation):
    if BACKEND != "torch":
        pytest.skip("only PyTorch compiles again when a value that it has read changes")
    import torch
    from torch._dynamo.testing import CompileCounter

    case = plain_case("same", "channels_last", interpolation)
    compiled = CompileCounter()
    torch.compiler.reset()
    function = torch.compile(operation(case, method), backend=compiled, fullgraph=True)
    for spatial in ((16, 15), (16, 15), (18, 21), (24, 20), (33, 16)):
        function(torch.ones(2, *spatial, 4), torch.ones(2, 3, 4, 3))
    assert compiled.frame_count <= 2  # for these lengths, then for any


UNKNOWN_LENGTHS = [
    *((method, "nearest", padding) for method in METHODS for padding in ("same", "valid", "wrap")),
    *((method, "linear", padding) for method in ("one_product",) for padding in ("same", "valid")),
]
UNKNOWN_LENGTHS = [entry for entry in UNKNOWN_LENGTHS if entry[0] != "matrices"]


@pytest.mark.parametrize(("method", "interpolation", "padding"), UNKNOWN_LENGTHS)
def test_unknown_lengths_have_the_same_result(method, interpolation, padding):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's graphs run with unknown lengths")
    import tensorflow as tf

    case = plain_case(padding, "channels_last", interpolation)
    x, (kernel, bias) = case.input(), case.weights()
    weights = kernel.astype("float32"), bias.astype("float32")
    function = tf.function(
        lambda x: operation(case, method)(x, *weights),
        input_signature=[tf.TensorSpec((None, None, None, 4))],
    )
    expected = expected_output(x, kernel, bias, **oracle_options(case))
    assert_close(to_numpy(function(x.astype("float32"))), expected, "float32")


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
@pytest.mark.parametrize("method", [*METHODS, None])
def test_an_empty_batch_stays_empty(method, interpolation):
    x, kernel = ops.zeros((0, 16, 16, 64)), ops.zeros((3, 3, 64, 2))
    result = by_method(method)(
        x, kernel, 2, interpolation=interpolation, data_format="channels_last"
    )
    assert tuple(result.shape) == (0, 32, 32, 2)


def test_kernels_smaller_than_the_stride_are_unsupported_on_tensorflow():
    # The gradient of such a transposed convolution may crash TensorFlow's process.
    for kernel_size in ((3, 3), (4, 3)):
        case = replace(plain_case("same", "channels_last"), size=(3, 4), kernel_size=kernel_size)
        with pytest.raises(UnsupportedError) if BACKEND == "tensorflow" else nullcontext():
            operation(case, "transposed")(ops.ones((1, 16, 15, 4)), ops.ones((*kernel_size, 4, 3)))
    fits = replace(case, kernel_size=(3, 4))
    operation(fits, "transposed")(ops.ones((1, 16, 15, 4)), ops.ones((3, 4, 4, 3)))


@pytest.mark.parametrize("method", METHODS)
def test_litert_can_transpose_every_tensor(method):
    if BACKEND != "tensorflow":
        pytest.skip("reads TensorFlow's graph")
    import tensorflow as tf

    case = plain_case("same", "channels_last", "linear")
    function = tf.function(lambda *tensors: operation(case, method)(*tensors))
    graph = function.get_concrete_function(*map(ops.zeros, [(1, 16, 15, 4), (2, 3, 4, 3)])).graph
    ranks = [op.outputs[0].shape.rank for op in graph.get_operations() if op.type == "Transpose"]
    assert max(ranks, default=0) <= 6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("dtype", "kernel_dtype"), [("float32", "float16"), ("float64", "float32")]
)
def test_low_precision_kernels_are_composed_in_the_precision_of_the_input(
    method, dtype, kernel_dtype
):
    case = replace(plain_case("same", "channels_last"), dtype=dtype)
    with float64_allowed():
        x = ops.convert_to_tensor(case.input(), dtype=dtype)
        kernel = ops.cast(ops.convert_to_tensor(case.weights()[0]), kernel_dtype)
        expected = expected_output(case.input(), to_numpy(kernel), 0, **oracle_options(case))
        result = operation(case, method)(x, kernel)
        assert keras.backend.standardize_dtype(result.dtype) == dtype
        assert_close(to_numpy(result), expected, dtype)


HALF_PRECISION = [
    (dtype, kernel_dtype, interpolation)
    for dtype in ("float16", "bfloat16")
    for kernel_dtype, interpolation in (
        ("float32", "nearest"),
        ("float32", "linear"),
        (dtype, "nearest"),
    )
]


@functools.cache
def errors_in_half_precision(dtype, kernel_dtype, interpolation):
    """Return each method's RMS errors of the output and both gradients, and those of rounding."""
    case = replace(
        plain_case("same", "channels_last", interpolation), size=(2, 3), kernel_size=(3, 3)
    )
    options, rng = oracle_options(case), np.random.default_rng(0)
    x, kernel, cotangent = (
        ops.cast(rng.standard_normal(shape).astype("float32"), tensor_dtype)
        for shape, tensor_dtype in (
            ((8, 12, 10, 24), dtype),
            ((3, 3, 24, 16), kernel_dtype),
            ((8, 24, 30, 16), dtype),
        )
    )
    arrays = [to_numpy(tensor) for tensor in (x, kernel, cotangent)]
    output = expected_output(*arrays[:2], 0, **options)
    exact = [output, *upsample_conv_gradients(*arrays, **options)[:2]]
    results = {"rounding": [to_numpy(ops.cast(array, dtype)) for array in exact]}
    for method in METHODS:
        output, slopes = value_and_gradients(operation(case, method), [x, kernel], cotangent)
        results[method] = [output, *slopes]
    return {
        name: np.array(
            [np.sqrt(np.mean((y - y0) ** 2)) for y, y0 in zip(result, exact, strict=True)]
        )
        for name, result in results.items()
    }


@pytest.mark.parametrize("method", ONE_STEP)
@pytest.mark.parametrize(("dtype", "kernel_dtype", "interpolation"), HALF_PRECISION)
def test_half_precision_is_about_as_accurate_as_resize(method, dtype, kernel_dtype, interpolation):
    errors = errors_in_half_precision(dtype, kernel_dtype, interpolation)
    # XLA may skip roundings of `resize`, so rounding the exact numbers once is the least error.
    least = np.maximum(errors["resize"], errors["rounding"])
    output, *slopes = errors[method] / least
    mixed = kernel_dtype == "float32"
    assert output < (1.25 if mixed else 2)
    assert max(slopes) < (1.5 if mixed else 2)


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_one_step_never_holds_the_upsampled_input(interpolation):
    # 128 channels in and 2 out: the upsampled input would be by far the largest tensor.
    x, kernel = ops.ones((1, 64, 64, 128)), ops.ones((3, 3, 128, 2))
    upsampled = 4 * 64 * 64 * 128

    def largest(method):
        def run(x, kernel):
            return by_method(method)(x, kernel, interpolation=interpolation)

        return max(tensor_sizes(run, x, kernel))

    assert largest("resize") >= upsampled  # the test can detect it
    for method in ONE_STEP:
        if BACKEND == "torch" and method == "matrices":
            continue  # a copy of the input for every tap of an axis
        assert largest(method) < upsampled / 2


@pytest.mark.parametrize("method", METHODS)
def test_the_bias_is_added_to_the_channels_even_if_an_axis_has_their_length(method):
    # TensorFlow's `ops.add` adds a vector of the length of the last axis along that axis.
    x, kernel = ops.zeros((1, 4, 4, 4)), ops.zeros((3, 3, 4, 8))
    bias = ops.arange(8, dtype="float32")
    result = by_method(method)(x, kernel, 2, bias=bias, data_format="channels_first")
    expected = np.broadcast_to(np.arange(8).reshape(1, 8, 1, 1), (1, 8, 8, 8))
    np.testing.assert_array_equal(to_numpy(result), expected)


@pytest.mark.parametrize(
    ("method", "before"),
    [
        ("resize", "Conv2D"),
        ("phases", "Conv2D"),
        ("transposed", "DepthwiseConv2dNative"),
    ],
)
def test_the_bias_directly_follows_the_convolution_so_that_tensorflow_fuses_them(method, before):
    if BACKEND != "tensorflow":
        pytest.skip("reads TensorFlow's graph")
    import tensorflow as tf

    graph = tf.function(
        lambda *tensors: operation(plain_case("same", "channels_last"), method)(*tensors)
    )
    graph = graph.get_concrete_function(*map(ops.zeros, [(1, 16, 15, 4), (2, 3, 4, 3), (3,)])).graph
    (bias_add,) = [op for op in graph.get_operations() if op.type == "BiasAdd"]
    assert bias_add.inputs[0].op.type == before


def test_constant_kernels_are_composed_while_compiling():
    if BACKEND != "jax":
        pytest.skip("reads what XLA makes of a constant kernel")
    import jax

    x, kernel = ops.ones((2, 16, 16, 8)), ops.ones((3, 3, 8, 8))

    def products(function, *arguments):
        return jax.jit(function).lower(*arguments).compile().as_text().count(" dot(")

    def run(x, kernel):
        return by_method("phases")(x, kernel)

    assert products(run, x, kernel) > 0  # the test can detect products
    assert products(lambda x: run(x, kernel), x) == 0


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("channels", "filters"), [(3, 1), (1, 3), (1, 1)])
@pytest.mark.parametrize("method", [None, "phases", "transposed"])
@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")  # of the flags below
def test_one_channel_or_filter_has_gradients_in_float64(method, channels, filters, data_format):
    # Also in float32 without oneDNN, whose kernels do not support float64.
    if BACKEND != "torch":
        pytest.skip("only PyTorch depends on the memory order; the values are tested above")
    import torch

    case = replace(plain_case("same", data_format), channels=channels, filters=filters)
    check(replace(case, dtype="float64"), method)
    with torch.backends.mkldnn.flags(enabled=False):
        check(case, method)
