import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given
from keras import ops

from keras_upsampling.maths.padding import pad_widths
from keras_upsampling.ops import upsample_conv
from keras_upsampling.ops.task import Task
from tests.backends import (
    BACKEND,
    float64_allowed,
    gradients,
    jitted,
    tensor_sizes,
    to_numpy,
    value_and_gradients,
)
from tests.oracle import upsample_conv as expected_output
from tests.oracle import upsample_conv_gradients
from tests.strategies import ConvCase, conv_cases

# The module: the function of its name is what the package exports.
operations = sys.modules["keras_upsampling.ops.upsample_conv"]

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def to_format(x, data_format):
    return np.moveaxis(x, -1, 1) if data_format == "channels_first" else x


def definition(case):
    return {
        "size": case.size,
        "interpolation": case.interpolation,
        "padding": case.padding,
        "dilation": case.dilation,
        "groups": case.groups,
    }


METHODS = ["resize", "phases", "rows", "matrices", "products", "one_product", "transposed"]
ONE_STEP = METHODS[1:]


def operation(case, method=None):
    def run(x, kernel, bias=None):
        return upsample_conv(
            x,
            kernel,
            case.size,
            bias=bias,
            interpolation=case.interpolation,
            padding=case.padding,
            data_format=case.data_format,
            dilation_rate=case.dilation,
            method=method,
        )

    return run


def expressed(case):
    """Whether some padding of the input makes that of the enlarged map: nearest only."""
    reflected = any(
        (k * d - d + 1) // 2 >= s
        for k, d, s in zip(case.kernel_size, case.dilation, case.size, strict=True)
    )
    return case.interpolation == "nearest" and not (case.padding == "reflect" and reflected)


def refused(method, case):
    """Whether a method is known to be unable to do a case."""
    zeros = case.padding in ("same", "valid")
    nearest = case.interpolation == "nearest"
    composed = not expressed(case) if nearest else case.padding == "wrap"
    added_up = case.groups == 1 and (expressed(case) or (zeros and not nearest))
    return {
        "phases": composed,
        "rows": composed or len(case.spatial) != 2,
        "matrices": case.groups > 1 or len(case.spatial) != 2,
        "products": not added_up,
        "one_product": not added_up,
        "transposed": composed
        or case.groups > 1
        or set(case.dilation) != {1}
        or len(case.spatial) == 3,
    }[method]


# How many samples of the input, at most, an interpolation looks past the end.
REACH = {"linear": 1, "cubic": 2, "lanczos3": 3, "lanczos5": 5}


def roomy(case):
    """Whether the axes are surely long enough for borders that are made apart.

    Those are the outputs that meet padding, or enlarged samples that met an end of the input, at
    either end; with something between what those are made of.
    """
    return all(
        n * s > 2 * (2 * (k - 1) * d + REACH[case.interpolation] * s) for n, s, k, d in zip(
            case.spatial, case.size, case.kernel_size, case.dilation, strict=True
        )
    )  # fmt: skip


def close(found, expected, dtype):
    scale = max(1.0, abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def check(case, method):
    """Values and gradients of one method, or its refusal, against the definition."""
    with float64_allowed():
        x, (kernel, bias) = case.input(), case.weights()
        expected = expected_output(x, kernel, bias, **definition(case))
        cotangent = np.random.default_rng(1).standard_normal(expected.shape)
        *tensors, weights = [
            ops.convert_to_tensor(array.astype(case.dtype))
            for array in (
                to_format(x, case.data_format),
                kernel,
                bias,
                to_format(cotangent, case.data_format),
            )
        ]
        try:
            found, slopes = value_and_gradients(operation(case, method), tensors, weights)
        except ValueError as error:
            # Refused for what it is, or because the axes are too short for it.
            if f"method={method!r} cannot do" not in str(error):
                raise
            short = case.interpolation != "nearest" and not roomy(case)
            assert refused(method, case) or (
                short and method not in ("products", "one_product", "matrices")
            )
            return
        assert method is None or not refused(method, case)
        close(found, to_format(expected, case.data_format), case.dtype)
        to_input, to_kernel, to_bias = upsample_conv_gradients(
            x, kernel, cotangent, **definition(case)
        )
        close(slopes[0], to_format(to_input, case.data_format), case.dtype)
        close(slopes[1], to_kernel, case.dtype)
        close(slopes[2], to_bias, case.dtype)


@given(case=conv_cases())
def test_values_and_gradients_are_the_definition(case):
    check(case, method=None)


@given(case=conv_cases())
def test_phases_are_the_definition(case):
    check(case, "phases")


@given(case=conv_cases(most_rank=2))
def test_rows_are_the_definition(case):
    check(case, "rows")


@given(case=conv_cases(most_groups=1, most_rank=2))
def test_matrices_are_the_definition(case):
    check(case, "matrices")


@given(case=conv_cases(most_groups=1))
def test_products_are_the_definition(case):
    check(case, "products")


@given(case=conv_cases(most_groups=1))
def test_one_product_is_the_definition(case):
    check(case, "one_product")


@given(case=conv_cases(most_groups=1, most_dilation=1, most_rank=2))
def test_transposed_convolutions_with_a_filter_are_the_definition(case):
    check(case, "transposed")


def two_way_case(
    interpolation="nearest",
    spatial=(128, 130),
    size=2,
    kernel_size=3,
    dilation=1,
    channels=4,
    data_format="channels_last",
):
    rank = len(spatial)
    return replace(
        plain_case("same", data_format, interpolation),
        spatial=spatial,
        size=(size,) * rank,
        kernel_size=(kernel_size,) * rank,
        dilation=(dilation,) * rank,
        channels=channels,
    )


# The ways of the forward and of the backward pass, and a case where a backend takes them.
TWO_WAYS = {"tensorflow": [
    ("phases", "transposed", {}),
    ("rows", "transposed", {"interpolation": "linear"}),
    ("rows", "transposed", {"interpolation": "cubic"}),
    ("resize", "transposed", {"interpolation": "lanczos5"}),
    ("resize", "matrices", {"interpolation": "linear", "spatial": (4, 3)}),
    ("products", "transposed", {"spatial": (14, 15), "size": 4, "channels": 32}),
    ("products", "transposed", {"spatial": (500,), "size": 3, "channels": 192}),
    ("transposed", "matrices",
     {"interpolation": "linear", "spatial": (33, 32), "size": 3, "channels": 64}),
], "jax": [
    ("products", "one_product", {"spatial": (8, 7), "channels": 4}),
    ("products", "matrices", {"interpolation": "linear", "spatial": (8, 7), "channels": 16}),
    ("products", "matrices", {"interpolation": "cubic", "spatial": (8, 7), "channels": 16}),
    ("products", "matrices",
     {"interpolation": "cubic", "spatial": (8, 7), "channels": 16,
      "data_format": "channels_first"}),
    ("resize", "matrices",
     {"interpolation": "lanczos5", "spatial": (20, 19), "kernel_size": 5, "channels": 32,
      "data_format": "channels_first"}),
    ("resize", "matrices",
     {"interpolation": "lanczos5", "spatial": (20, 19), "kernel_size": 5, "channels": 32}),
], "torch": []}  # fmt: skip


@pytest.mark.parametrize(("forward", "backward", "changes"), TWO_WAYS[BACKEND])
def test_passes_that_go_two_ways_are_the_definition(forward, backward, changes, monkeypatch):
    case = two_way_case(**changes)
    check(case, method=None)

    taken = []
    for name, way in operations.METHODS.items():
        monkeypatch.setitem(
            operations.METHODS, name, lambda *a, name=name, way=way: taken.append(name) or way(*a)
        )
    arrays = (to_format(case.input(), case.data_format), case.weights()[0])
    tensors = [ops.convert_to_tensor(a, "float32") for a in arrays]
    y = operation(case)(*tensors)
    assert taken == [forward]
    taken.clear()
    value_and_gradients(operation(case), tensors, ops.ones_like(y))
    assert taken == [forward, backward]


def test_tangents_are_taken_forward_too():
    if BACKEND != "jax":
        pytest.skip("JAX's")
    import jax

    case = two_way_case("cubic", spatial=(8, 7), channels=16)
    x, kernel = (ops.convert_to_tensor(a, "float32") for a in (case.input(), case.weights()[0]))
    along = ops.flip(x, axis=0)
    # The operation is linear in its input.
    y, slope = jax.jvp(lambda x: operation(case)(x, kernel), (x,), (along,))
    close(to_numpy(y), to_numpy(operation(case)(x, kernel)), "float32")
    close(to_numpy(slope), to_numpy(operation(case)(along, kernel)), "float32")


# The ways of the forward and of the backward pass that a backend takes for an input's shape.
CHOICES = {"tensorflow": [
    ("resize", "resize", (1, 7, 7, 8), {}),
    ("transposed", "transposed", (32, 7, 7, 64), {}),
    ("phases", "transposed", (1, 256, 256, 16), {}),
    ("phases", "phases", (1, 256, 256, 16), {"k": 5}),
    ("products", "products", (32, 7, 7, 64), {"k": 1}),
    ("products", "transposed", (8, 8, 8, 512), {}),
    ("transposed", "transposed", (2, 56, 56, 128), {}),
    ("products", "transposed", (8, 14, 14, 128), {"k": 5}),
    ("phases", "phases", (8, 14, 14, 64), {"k": 5}),
    ("products", "transposed", (1, 256, 256, 16), {"s": 4, "k": 5}),
    ("phases", "phases", (8, 14, 14, 64), {"s": 4, "groups": 4}),
    ("phases", "phases", (8, 14, 14, 64), {"s": 4, "k": 13}),
    ("products", "products", (8, 8, 8, 512), {"dilation": 2}),
    ("products", "products", (8, 14, 14, 64), {"s": 4, "dilation": 2}),
    ("phases", "resize", (1, 256, 256, 16), {"dilation": 3}),
    ("products", "products", (1, 256, 256, 16), {"dilation": 6}),
    ("phases", "phases", (1, 64, 64, 256), {"dilation": 3, "groups": 4}),
    ("resize", "resize", (1, 64, 64, 256), {"dilation": 6, "groups": 4}),
    ("products", "products", (1, 16, 16, 16, 32), {"s": 4}),
    ("products", "products", (2, 8, 8, 8, 128), {"s": 3}),
    ("phases", "phases", (1, 16, 16, 16, 32), {}),
    ("products", "products", (2, 8, 8, 8, 128), {}),
    ("products", "products", (4, 32, 32, 64), {"s": 3}),
    ("products", "transposed", (4, 32, 32, 64), {"s": 3, "k": 5}),
    ("products", "transposed", (32, 7, 7, 64), {"s": 3}),
    ("transposed", "matrices", (1, 64, 64, 256), {"interpolation": "linear"}),
    ("transposed", "matrices", (1, 64, 64, 256), {"interpolation": "linear", "s": 4, "k": 5}),
    ("transposed", "transposed", (1, 64, 64, 256), {"interpolation": "linear", "k": 7}),
    ("transposed", "transposed", (4, 32, 32, 64), {"interpolation": "linear"}),
    ("transposed", "transposed", (1, 72, 72, 256), {"interpolation": "linear", "s": 4}),
    ("rows", "resize", (1, 256, 256, 16), {"interpolation": "linear", "s": 3, "groups": 2}),
    ("rows", "transposed", (1, 256, 256, 16), {"interpolation": "linear"}),
    ("transposed", "transposed", (1, 256, 256, 16), {"interpolation": "linear", "s": 3}),
    ("resize", "transposed", (2, 128, 128, 32), {"interpolation": "linear", "s": 3}),
    # Borders made apart need known lengths, but for products, which know zeros alone.
    ("products", "products", (8, None, None, 64), {"interpolation": "linear", "s": 4}),
    ("products", "products", (8, None, None, 128), {"interpolation": "linear"}),
    ("resize", "resize", (8, None, None, 64), {"interpolation": "linear"}),
    ("resize", "resize", (8, None, None, 64), {"interpolation": "linear", "s": 4, "k": 7}),
    ("resize", "resize", (8, None, None, 128), {"interpolation": "linear", "dilation": 2}),
    ("transposed", "transposed", (8, None, None, 64),
     {"interpolation": "linear", "s": 4, "padding": "edge"}),
    ("matrices", "matrices", (8, 16, 16, 512), {"interpolation": "cubic"}),
    ("rows", "transposed", (1, 128, 128, 16), {"interpolation": "lanczos3", "s": 8}),
    ("resize", "transposed", (1, 256, 256, 16), {"interpolation": "lanczos5", "s": 3}),
    ("resize", "transposed", (1, 256, 256, 16), {"interpolation": "lanczos5", "s": 4}),
    ("rows", "resize", (1, 256, 256, 16), {"interpolation": "lanczos3", "groups": 2}),
    ("resize", "matrices", (4, 32, 32, 64), {"interpolation": "lanczos3"}),
    ("matrices", "matrices", (4, 32, 32, 64), {"interpolation": "lanczos3", "k": 5}),
    ("matrices", "matrices", (2, 56, 56, 128), {"interpolation": "lanczos3"}),
    ("resize", "resize", (4, 40, 40, 64), {"interpolation": "lanczos5"}),
    ("resize", "resize", (8, 200, 64), {"interpolation": "linear"}),
], "jax": [
    ("products", "one_product", (32, 7, 7, 64), {}),
    ("products", "one_product", (4, 32, 32, 64), {"k": 5}),
    ("products", "products", (4, 32, 32, 64), {"k": 6}),
    ("products", "products", (4, 32, 32, 64), {"k": 1}),
    ("products", "one_product", (4, 2048, 64), {}),
    ("products", "products", (1, 16, 16, 16, 32), {}),
    ("phases", "phases", (1, 256, 256, 16), {"k": 5}),
    ("phases", "phases", (8, 14, 14, 64), {"groups": 4}),
    ("resize", "resize", (1, 7, 7, 64), {"groups": 4}),
    ("resize", "resize", (1, 64, 64, 256), {"dilation": 6, "groups": 4}),
    ("products", "one_product", (1, 64, 64, 256), {"dilation": 6}),
    ("resize", "resize", (8, 14, 14, 64), {"k": 13}),
    ("products", "matrices", (4, 32, 32, 64), {"interpolation": "linear"}),
    ("products", "matrices", (2, 64, 64, 64), {"interpolation": "linear"}),
    ("products", "products", (2, 65, 64, 64), {"interpolation": "linear"}),
    ("phases", "phases", (1, 256, 256, 16), {"interpolation": "linear", "k": 5}),
    ("phases", "phases", (1, 256, 256, 16), {"interpolation": "cubic"}),
    ("products", "products", (1, 256, 256, 16), {"interpolation": "cubic", "s": 4}),
    ("products", "matrices", (4, 32, 32, 64), {"interpolation": "cubic"}),
    ("resize", "matrices", (4, 32, 32, 64), {"interpolation": "cubic", "k": 5}),
    ("matrices", "matrices", (4, 32, 32, 64), {"interpolation": "lanczos5"}),
    ("matrices", "matrices", (1, 64, 64, 256), {"interpolation": "lanczos5", "k": 5}),
    ("resize", "matrices", (1, 256, 256, 16), {"interpolation": "lanczos5"}),
    ("resize", "resize", (1, 260, 260, 16), {"interpolation": "lanczos5"}),
    ("resize", "resize", (1, 64, 64, 32), {"interpolation": "lanczos5"}),
    ("products", "products", (8, 2000, 16), {"interpolation": "cubic"}),
    ("products", "products", (8, 2000, 16), {"interpolation": "lanczos5"}),
    ("products", "products", (1, 256, 256, 16), {"interpolation": "cubic", "dilation": 3}),
    ("resize", "resize", (1, 64, 64, 64), {"interpolation": "lanczos5", "k": 11}),
    ("resize", "resize", (4, 32, 32, 64), {"interpolation": "cubic", "k": 13}),
    # Matrices need known lengths.
    ("products", "products", (8, None, None, 64), {"interpolation": "cubic"}),
    ("resize", "resize", (8, None, None, 64), {"interpolation": "lanczos5"}),
], "torch": [
    ("resize", "resize", (1, 7, 7, 64), {}),
    ("transposed", "transposed", (32, 7, 7, 64), {}),
    ("products", "products", (32, 7, 7, 64), {"k": 1}),
    ("phases", "phases", (1, 16, 16, 16, 64), {"s": 3}),
    ("resize", "resize", (4, 7, 7, 7, 32), {}),
    ("products", "products", (1, 64, 64, 256), {"dilation": 6}),
    ("products", "products", (4, 2048, 64), {"dilation": 16}),
    ("resize", "resize", (1, 64, 64, 256), {"dilation": 6, "k": 13}),
    ("phases", "phases", (1, 256, 256, 16), {"dilation": 3}),
    ("resize", "resize", (1, 256, 256, 16), {"dilation": 6}),
    ("phases", "phases", (1, 64, 64, 256), {"groups": 4}),
    ("resize", "resize", (1, 64, 64, 256), {"dilation": 3, "groups": 4}),
    ("transposed", "transposed", (4, 32, 32, 64), {"interpolation": "linear"}),
    ("matrices", "matrices", (32, 7, 7, 64), {"interpolation": "linear"}),
    ("resize", "resize", (32, 7, 7, 64), {"interpolation": "linear", "k": 5}),
    ("matrices", "matrices", (32, 7, 7, 64), {"interpolation": "cubic", "k": 5, "s": 4}),
    ("resize", "resize", (32, 10, 10, 64), {"interpolation": "linear"}),
    ("resize", "resize", (1, 7, 7, 512), {"interpolation": "linear"}),
    ("products", "products", (4, 2048, 64), {}),
    ("phases", "phases", (16, 2048, 16), {"s": 4}),
    ("resize", "resize", (16, 128, 64), {}),
    ("products", "products", (16, 128, 64), {"s": 3}),
    ("resize", "resize", (16, 128, 64), {"s": 3, "k": 5}),
]}  # fmt: skip


def task_of(shape, changes):
    asked = {
        "interpolation": "nearest", "s": 2, "k": 3, "padding": "same", "dilation": 1, "groups": 1
    } | changes  # fmt: skip
    rank, extent = len(shape) - 2, (asked["k"] - 1) * asked["dilation"] + 1
    return Task(
        size=(asked["s"],) * rank,
        interpolation=asked["interpolation"],
        padding=asked["padding"],
        widths=(pad_widths(extent, asked["padding"]),) * rank,
        kernel_size=(asked["k"],) * rank,
        dilation_rate=(asked["dilation"],) * rank,
        groups=asked["groups"],
        data_format="channels_last",
    )


def like_a_tensor(shape, dtype="float32"):
    # No more of it is looked at.
    return SimpleNamespace(shape=shape, dtype=dtype, device=SimpleNamespace(type="cpu"))


@pytest.mark.parametrize(("forward", "backward", "shape", "changes"), CHOICES[BACKEND])
def test_the_ways_chosen_are_those_that_were_quickest(forward, backward, shape, changes):
    task = task_of(shape, changes)
    assert operations._choose(like_a_tensor(shape), task) == (forward, backward)
    assert operations._choose(like_a_tensor(shape, "float64"), task) == (forward, backward)


def test_what_was_not_measured_is_enlarged_first(monkeypatch):
    shape, careful = (32, 7, 7, 64), ("resize", "resize")
    task = task_of(shape, {})
    assert operations._choose(like_a_tensor(shape), task) != careful
    for dtype in ("float16", "bfloat16"):
        assert operations._choose(like_a_tensor(shape, dtype), task) == careful
    assert operations._choose(like_a_tensor(shape), task_of(shape, {"s": 1})) == careful
    monkeypatch.setattr(operations, "on_cpu", lambda _: False)
    assert operations._choose(like_a_tensor(shape), task) == careful


def test_passes_that_go_two_ways_compile_and_are_exported(tmp_path):
    if BACKEND != "tensorflow":
        pytest.skip("chosen on TensorFlow only")
    import tensorflow as tf

    case = two_way_case("cubic")
    x, kernel = case.input().astype("float32"), case.weights()[0].astype("float32")
    tensors = [ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)]
    expected = expected_output(x, kernel, 0, **definition(case))
    cotangent = np.random.default_rng(1).standard_normal(expected.shape)
    to_input, to_kernel, _ = upsample_conv_gradients(x, kernel, cotangent, **definition(case))
    cotangent = ops.convert_to_tensor(cotangent, "float32")

    compiled = jitted(operation(case))
    module = tf.Module()
    signature = [tf.TensorSpec(x.shape), tf.TensorSpec(kernel.shape)]
    module.run = tf.function(operation(case), input_signature=signature)
    tf.saved_model.save(module, str(tmp_path))
    for function in (compiled, tf.saved_model.load(str(tmp_path)).run):
        close(to_numpy(function(*tensors)), expected, "float32")
        slopes = gradients(function, tensors, cotangent)
        close(slopes[0], to_input, "float32")
        close(slopes[1], to_kernel, "float32")


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
@pytest.mark.parametrize("method", [*METHODS, None])
def test_an_empty_batch_stays_empty(method, interpolation):
    # As many channels as have TensorFlow take matrices for short axes.
    x, kernel = ops.zeros((0, 7, 7, 64)), ops.zeros((3, 3, 64, 2))
    if method in ("phases", "rows", "transposed") and interpolation == "linear":
        x = ops.zeros((0, 16, 16, 64))
    found = upsample_conv(
        x, kernel, 2, interpolation=interpolation, data_format="channels_last", method=method
    )
    assert tuple(found.shape) == (0, 2 * x.shape[1], 2 * x.shape[2], 2)


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
@pytest.mark.parametrize("method", METHODS)
def test_no_kernel_is_smaller_than_its_stride(method, interpolation):
    # The gradient of such a transposed convolution ends the process, on some maps.
    if BACKEND != "tensorflow":
        pytest.skip("reads TensorFlow's graph")
    import tensorflow as tf

    case = replace(plain_case("same", "channels_last", interpolation), size=(3, 4))

    @tf.function
    def run(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = operation(case, method)(x, kernel)
        return tape.gradient(y, [x, kernel])

    graph = run.get_concrete_function(*map(ops.zeros, [(1, 16, 15, 4), (3, 2, 4, 3)])).graph
    for op in graph.get_operations():
        if op.type.startswith("Conv2D"):
            kernel = op.outputs[0] if op.type == "Conv2DBackpropFilter" else op.inputs[1]
            strides = op.get_attr("strides")[1:3]
            assert all(k >= s for k, s in zip(kernel.shape, strides, strict=False)), op


@pytest.mark.parametrize("method", METHODS)
def test_litert_can_turn_every_tensor(method):
    if BACKEND != "tensorflow":
        pytest.skip("reads TensorFlow's graph")
    import tensorflow as tf

    case = plain_case("same", "channels_last", "linear")
    function = tf.function(lambda *tensors: operation(case, method)(*tensors))
    graph = function.get_concrete_function(*map(ops.zeros, [(1, 16, 15, 4), (3, 2, 4, 3)])).graph
    turned = [op.outputs[0].shape.rank for op in graph.get_operations() if op.type == "Transpose"]
    assert max(turned, default=0) <= 6


def test_every_method_is_documented():
    assert all(f'`"{method}"`' in upsample_conv.__doc__ for method in METHODS)
    assert list(operations.METHODS) == METHODS


@given(case=conv_cases(most_groups=1, most_dilation=1, most_rank=2, shortest=12))
@pytest.mark.parametrize("method", ["phases", "rows", "transposed"])
def test_borders_made_apart_are_the_definition(method, case):
    check(case, method)


def plain_case(padding, data_format, interpolation="nearest"):
    """A case that every method can do; of others than nearest, products only with zeros around."""
    return ConvCase(
        spatial=(16, 15),
        size=(2, 3),
        interpolation=interpolation,
        channels=4,
        seed=0,
        data_format=data_format,
        dtype="float32",
        kernel_size=(3, 2),
        dilation=(1, 1),
        filters=3,
        padding=padding,
    )


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


UNKNOWN_LENGTHS = [
    (method, "nearest", padding)
    for method in METHODS
    if method != "matrices"
    for padding in ("same", "valid", "wrap")
] + [
    (method, "linear", padding)
    for method in ("products", "one_product")
    for padding in ("same", "valid")
]


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


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_passes_that_go_two_ways_take_unknown_lengths(interpolation, size):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's graphs run with lengths unknown")
    import tensorflow as tf

    case = two_way_case(interpolation, spatial=(5, 6), size=size, channels=64)
    x, (kernel, _) = case.input(), case.weights()
    expected = expected_output(x, kernel, 0, **definition(case))
    cotangent = np.random.default_rng(1).standard_normal(expected.shape)
    to_input, to_kernel, _ = upsample_conv_gradients(x, kernel, cotangent, **definition(case))
    tensors = [ops.convert_to_tensor(array, "float32") for array in (x, kernel, cotangent)]

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, n)) for n in (64, 3)])
    def run(x, cotangent):
        with tf.GradientTape() as tape:
            tape.watch([x, tensors[1]])
            y = operation(case)(x, tensors[1])
        return y, *tape.gradient(y, [x, tensors[1]], cotangent)

    found = run(tensors[0], tensors[2])
    for one, wanted in zip(found, (expected, to_input, to_kernel), strict=True):
        close(to_numpy(one), wanted, "float32")


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
        found = upsample_conv(x, kernel, 2, method=method)
        assert keras.backend.standardize_dtype(found.dtype) == dtype
        return np.sqrt(np.mean((to_numpy(found) - exact) ** 2))

    # The other ways round in between, and are not taken unless they are asked for.
    assert error("phases") <= error("resize")
    assert error(None) == error("resize")


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


def test_integers_are_convolved_in_the_dtype_of_the_kernel():
    x = np.array([[[3], [5]]], dtype="uint8")
    found = upsample_conv(x, ops.full((1, 1, 1), 0.5), 2, data_format="channels_last")
    np.testing.assert_allclose(to_numpy(found)[0, :, 0], [1.5, 1.5, 2.5, 2.5])


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_one_step_never_holds_the_enlarged_input(interpolation):
    # 128 channels in and 2 out: the enlarged input would be by far the largest tensor.
    x, kernel = ops.ones((1, 64, 64, 128)), ops.ones((3, 3, 128, 2))
    enlarged = 4 * 64 * 64 * 128

    def largest(method):
        def run(x, kernel):
            return upsample_conv(x, kernel, interpolation=interpolation, method=method)

        return max(tensor_sizes(run, x, kernel))

    assert largest("resize") >= enlarged  # what is looked for would be seen
    for method in (*ONE_STEP, None):
        if BACKEND == "torch" and method == "matrices":
            continue  # a copy of the input for every tap of an axis; not chosen there
        # One axis is enlarged first for rows: half of it, and what it is padded with.
        assert largest(method) < enlarged * (0.6 if method == "rows" else 0.5)


@pytest.mark.parametrize("method", METHODS)
def test_the_bias_goes_to_the_channels_where_an_axis_is_as_long(method):
    # `ops.add` on TensorFlow takes a vector as long as the last axis for the bias of that axis.
    x, kernel = ops.zeros((1, 4, 4, 4)), ops.zeros((3, 3, 4, 8))
    found = upsample_conv(
        x, kernel, 2, bias=ops.arange(8, dtype="float32"), data_format="channels_first",
        method=method,
    )  # fmt: skip
    expected = np.broadcast_to(np.arange(8).reshape(1, 8, 1, 1), (1, 8, 8, 8))
    np.testing.assert_array_equal(to_numpy(found), expected)


@pytest.mark.parametrize(
    ("method", "before"),
    [
        ("resize", "Conv2D"),
        ("phases", "Conv2D"),
        ("rows", "Conv2D"),
        ("transposed", "DepthwiseConv2dNative"),
        ("products", "MatMul"),
    ],
)
def test_the_bias_stands_where_tensorflow_joins_it_to_what_comes_before(method, before):
    if BACKEND != "tensorflow":
        pytest.skip("reads TensorFlow's graph")
    import tensorflow as tf

    graph = tf.function(
        lambda *tensors: operation(plain_case("same", "channels_last"), method)(*tensors)
    )
    graph = graph.get_concrete_function(*map(ops.zeros, [(1, 16, 15, 4), (3, 2, 4, 3), (3,)])).graph
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
        return upsample_conv(x, kernel, method="phases")

    assert products(run, x, kernel) > 0  # what is looked for would be seen
    assert products(lambda x: run(x, kernel), x) == 0


def test_the_gradients_of_one_product_are_one_product_each():
    if BACKEND != "jax":
        pytest.skip("reads what XLA makes of the gradients")
    import jax

    x, kernel = ops.ones((2, 16, 16, 8)), ops.ones((3, 3, 8, 4))
    of_output = jax.random.normal(jax.random.key(0), (2, 32, 32, 4))

    def products(function):
        return jax.jit(function).lower(x, kernel).compile().as_text().count(" dot(")

    def run(x, kernel):
        return upsample_conv(x, kernel, data_format="channels_last")

    def gradients(x, kernel):
        return jax.vjp(run, x, kernel)[1](of_output)

    assert products(run) == 9
    assert products(gradients) == 2


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


def test_bad_arguments_are_refused_before_the_backend_sees_them():
    x, kernel = ops.zeros((1, 2, 2, 1)), ops.zeros((5, 5, 1, 1))
    with pytest.raises(ValueError, match="spans 5 samples and the upsampled map has 4"):
        upsample_conv(x, kernel, 2, padding="valid")
    with pytest.raises(ValueError, match="`padding='reflect'` would add 4 samples to an axis of 4"):
        upsample_conv(x, kernel, 2, padding="reflect", dilation_rate=2)
    with pytest.raises(ValueError, match=r"kernel of shape \(\*kernel_size.*Received .*\(5, 5\)"):
        upsample_conv(x, ops.zeros((5, 5)), 2)
    with pytest.raises(ValueError, match=r"with 1 channels, and a kernel .* for 2"):
        upsample_conv(x, ops.zeros((5, 5, 2, 1)), 2)
    with pytest.raises(
        ValueError, match=r"bias of shape \(1,\), .* Received a bias of shape \(2,\)"
    ):
        upsample_conv(x, kernel, 2, bias=ops.zeros(2))
    with pytest.raises(ValueError, match=r"input with 4 axes .batch, height, width, channels"):
        upsample_conv(ops.zeros((1, 2, 1)), kernel, 2)
    with pytest.raises(ValueError, match=r"divisible by the groups.* 4 channels .* 2 groups for 3"):
        upsample_conv(ops.zeros((1, 4, 4, 4)), ops.zeros((3, 3, 2, 3)), 2)
    with pytest.raises(ValueError, match=r"axis of the kernel must have something.*\(3, 3, 0, 1\)"):
        upsample_conv(x, ops.zeros((3, 3, 0, 1)), 2)
    with pytest.raises(ValueError, match=r"at least one sample. .*\(1, 0, 2, 1\)"):
        upsample_conv(ops.zeros((1, 0, 2, 1)), kernel, 2, interpolation="cubic")
    with pytest.raises(TypeError, match=r"real numbers\. Received an input of dtype .*complex64"):
        upsample_conv(np.zeros((1, 4, 4, 1), "complex64"), kernel, 2)
    with pytest.raises(TypeError, match=r"real numbers\. Received a bias of dtype .*complex64"):
        upsample_conv(x, kernel, 2, bias=np.zeros(1, "complex64"))
    with pytest.raises(TypeError, match=r"must be of floats\. Received one of dtype int32"):
        upsample_conv(x, ops.zeros((3, 3, 1, 1), dtype="int32"), 2)
    with pytest.raises(ValueError, match="Unknown `padding`"):
        upsample_conv(x, kernel, 2, padding="zeros")
    with pytest.raises(TypeError, match="`dilation_rate` must be a positive integer"):
        upsample_conv(x, kernel, 2, dilation_rate=1.5)
    with pytest.raises(ValueError, match=r"method='phases' cannot do .*Possible here: 'resize'"):
        upsample_conv(x, kernel, 2, interpolation="linear", method="phases")
    with pytest.raises(ValueError, match="one of: 'resize', 'phases', 'rows', 'matrices', 'prod"):
        upsample_conv(x, kernel, 2, method="fast")
