"""Every method of the one step is the definition, wherever it can do what is asked."""

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
)
from tests.ops.one_step import (
    METHODS,
    ONE_STEP,
    RefusedError,
    by,
    check,
    close,
    definition,
    operation,
    plain_case,
    to_format,
)
from tests.oracle import upsample_conv as expected_output
from tests.oracle import upsample_conv_gradients
from tests.strategies import conv_cases


@given(case=conv_cases())
def test_phases_are_the_definition(case):
    check(case, "phases")


@given(case=conv_cases(most_groups=1, most_rank=2))
def test_matrices_are_the_definition(case):
    check(case, "matrices")


@given(case=conv_cases(most_groups=1))
def test_one_product_is_the_definition(case):
    check(case, "one_product")


@given(case=conv_cases(most_groups=1, most_dilation=1, most_rank=2))
def test_transposed_convolutions_with_a_filter_are_the_definition(case):
    check(case, "transposed")


@given(case=conv_cases(most_groups=1, most_dilation=1, most_rank=2, shortest=12))
@pytest.mark.parametrize("method", ["phases", "transposed"])
def test_borders_made_apart_are_the_definition(method, case):
    check(case, method)


@pytest.mark.parametrize(
    ("interpolation", "padding"), [("nearest", "same"), ("nearest", "edge"), ("linear", "same")]
)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_compiles(method, interpolation, padding):
    if BACKEND == "torch" and method == "matrices":
        pytest.skip("refused there: the graph would have to hold an array of NumPy's")
    case = plain_case(padding, "channels_first", interpolation)
    x, (kernel, _) = case.input(), case.weights()
    tensors = [
        ops.convert_to_tensor(to_format(x, case.data_format), dtype="float32"),
        ops.convert_to_tensor(kernel, dtype="float32"),
    ]
    expected = expected_output(x, kernel, 0, **definition(case))
    function = jitted(operation(case, method))
    close(to_numpy(function(*tensors)), to_format(expected, case.data_format), "float32")
    cotangent = np.ones(expected.shape)
    to_input, to_kernel, _ = upsample_conv_gradients(x, kernel, cotangent, **definition(case))
    cotangent = to_format(cotangent, case.data_format).astype("float32")
    slopes = gradients(function, tensors, ops.convert_to_tensor(cotangent))
    close(slopes[0], to_format(to_input, case.data_format), "float32")
    close(slopes[1], to_kernel, "float32")


@pytest.mark.parametrize(
    ("method", "interpolation"),
    [("resize", "cubic"), ("phases", "nearest"), ("one_product", "cubic")],
)
def test_compiled_programs_are_used_again(method, interpolation):
    if BACKEND != "torch":
        pytest.skip("PyTorch compiles anew whenever something that it looked at has changed")
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
UNKNOWN_LENGTHS = [one for one in UNKNOWN_LENGTHS if one[0] != "matrices"]


@pytest.mark.parametrize(("method", "interpolation", "padding"), UNKNOWN_LENGTHS)
def test_unknown_lengths_give_the_same(method, interpolation, padding):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's graphs run with lengths unknown")
    import tensorflow as tf

    case = plain_case(padding, "channels_last", interpolation)
    x, (kernel, bias) = case.input(), case.weights()
    weights = kernel.astype("float32"), bias.astype("float32")
    function = tf.function(
        lambda x: operation(case, method)(x, *weights),
        input_signature=[tf.TensorSpec((None, None, None, 4))],
    )
    expected = expected_output(x, kernel, bias, **definition(case))
    close(to_numpy(function(x.astype("float32"))), expected, "float32")


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
@pytest.mark.parametrize("method", [*METHODS, None])
def test_an_empty_batch_stays_empty(method, interpolation):
    x, kernel = ops.zeros((0, 16, 16, 64)), ops.zeros((3, 3, 64, 2))
    found = by(method)(x, kernel, 2, interpolation=interpolation, data_format="channels_last")
    assert tuple(found.shape) == (0, 32, 32, 2)


def test_no_kernel_is_smaller_than_its_stride():
    # The gradient of such a transposed convolution ends TensorFlow's process, on some maps.
    for kernel_size in ((3, 3), (4, 3)):
        case = replace(plain_case("same", "channels_last"), size=(3, 4), kernel_size=kernel_size)
        with pytest.raises(RefusedError) if BACKEND == "tensorflow" else nullcontext():
            operation(case, "transposed")(ops.ones((1, 16, 15, 4)), ops.ones((*kernel_size, 4, 3)))
    fits = replace(case, kernel_size=(3, 4))
    operation(fits, "transposed")(ops.ones((1, 16, 15, 4)), ops.ones((3, 4, 4, 3)))


@pytest.mark.parametrize("method", METHODS)
def test_litert_can_turn_every_tensor(method):
    if BACKEND != "tensorflow":
        pytest.skip("reads TensorFlow's graph")
    import tensorflow as tf

    case = plain_case("same", "channels_last", "linear")
    function = tf.function(lambda *tensors: operation(case, method)(*tensors))
    graph = function.get_concrete_function(*map(ops.zeros, [(1, 16, 15, 4), (2, 3, 4, 3)])).graph
    turned = [op.outputs[0].shape.rank for op in graph.get_operations() if op.type == "Transpose"]
    assert max(turned, default=0) <= 6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("dtype", "kernel_dtype"), [("float32", "float16"), ("float64", "float32")]
)
def test_kernels_of_less_precision_than_the_input_are_composed_in_the_input_s(
    method, dtype, kernel_dtype
):
    case = replace(plain_case("same", "channels_last"), dtype=dtype)
    with float64_allowed():
        x = ops.convert_to_tensor(case.input(), dtype=dtype)
        kernel = ops.cast(ops.convert_to_tensor(case.weights()[0]), kernel_dtype)
        expected = expected_output(case.input(), to_numpy(kernel), 0, **definition(case))
        found = operation(case, method)(x, kernel)
        assert keras.backend.standardize_dtype(found.dtype) == dtype
        close(to_numpy(found), expected, dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_errs_no_more_than_resizing(dtype):
    rng = np.random.default_rng(0)
    x = ops.cast(ops.convert_to_tensor(rng.standard_normal((32, 8, 8, 16))), dtype)
    kernel = ops.convert_to_tensor(rng.standard_normal((3, 3, 16, 8)), dtype="float32")
    exact = expected_output(
        to_numpy(x),
        to_numpy(kernel),
        0,
        size=(2, 2),
        interpolation="nearest",
        padding="same",
        dilation=(1, 1),
        groups=1,
    )

    def error(method):
        found = by(method)(x, kernel, 2)
        assert keras.backend.standardize_dtype(found.dtype) == dtype
        return np.sqrt(np.mean((to_numpy(found) - exact) ** 2))

    # Half precision was not measured, so the others are not taken.
    assert error("phases") <= error("resize")
    assert error(None) == error("resize")


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_one_step_never_holds_the_enlarged_input(interpolation):
    # 128 channels in and 2 out: the enlarged input would be by far the largest tensor.
    x, kernel = ops.ones((1, 64, 64, 128)), ops.ones((3, 3, 128, 2))
    enlarged = 4 * 64 * 64 * 128

    def largest(method):
        def run(x, kernel):
            return by(method)(x, kernel, interpolation=interpolation)

        return max(tensor_sizes(run, x, kernel))

    assert largest("resize") >= enlarged  # what is looked for would be seen
    for method in ONE_STEP:
        if BACKEND == "torch" and method == "matrices":
            continue  # a copy of the input for every tap of an axis
        assert largest(method) < enlarged / 2


@pytest.mark.parametrize("method", METHODS)
def test_the_bias_goes_to_the_channels_where_an_axis_is_as_long(method):
    # `ops.add` on TensorFlow takes a vector as long as the last axis for the bias of that axis.
    x, kernel = ops.zeros((1, 4, 4, 4)), ops.zeros((3, 3, 4, 8))
    bias = ops.arange(8, dtype="float32")
    found = by(method)(x, kernel, 2, bias=bias, data_format="channels_first")
    expected = np.broadcast_to(np.arange(8).reshape(1, 8, 1, 1), (1, 8, 8, 8))
    np.testing.assert_array_equal(to_numpy(found), expected)


@pytest.mark.parametrize(
    ("method", "before"),
    [
        ("resize", "Conv2D"),
        ("phases", "Conv2D"),
        ("transposed", "DepthwiseConv2dNative"),
    ],
)
def test_the_bias_stands_where_tensorflow_joins_it_to_what_comes_before(method, before):
    if BACKEND != "tensorflow":
        pytest.skip("reads TensorFlow's graph")
    import tensorflow as tf

    graph = tf.function(
        lambda *tensors: operation(plain_case("same", "channels_last"), method)(*tensors)
    )
    graph = graph.get_concrete_function(*map(ops.zeros, [(1, 16, 15, 4), (2, 3, 4, 3), (3,)])).graph
    (added,) = [op for op in graph.get_operations() if op.type == "BiasAdd"]
    assert added.inputs[0].op.type == before


def test_kernels_known_when_compiling_are_composed_once():
    if BACKEND != "jax":
        pytest.skip("reads what XLA makes of a constant kernel")
    import jax

    x, kernel = ops.ones((2, 16, 16, 8)), ops.ones((3, 3, 8, 8))

    def products(function, *arguments):
        return jax.jit(function).lower(*arguments).compile().as_text().count(" dot(")

    def run(x, kernel):
        return by("phases")(x, kernel)

    assert products(run, x, kernel) > 0  # what is looked for would be seen
    assert products(lambda x: run(x, kernel), x) == 0


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("channels", "filters"), [(3, 1), (1, 3), (1, 1)])
@pytest.mark.parametrize("method", [None, "phases", "transposed"])
@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")  # of the flags below
def test_one_channel_or_filter_has_gradients_in_float64(method, channels, filters, data_format):
    # And in float32 where PyTorch does without oneDNN, whose kernels do not know float64.
    if BACKEND != "torch":
        pytest.skip("the order in memory is no concern elsewhere, and the values are tested above")
    import torch

    case = replace(plain_case("same", data_format), channels=channels, filters=filters)
    check(replace(case, dtype="float64"), method)
    with torch.backends.mkldnn.flags(enabled=False):
        check(case, method)
