"""The forward pass of one method with the gradient of another."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from keras_upsampling.ops._upsample_conv.method import run
from keras_upsampling.ops.upsample_convolution import prepare
from tests.backends import (
    BACKEND,
    gradients,
    jitted,
    to_numpy,
    value_and_gradients,
)
from tests.ops.one_step import (
    METHOD_RECORDS,
    METHODS,
    assert_close,
    by_method,
    check,
    operation,
    oracle_options,
    plain_case,
)
from tests.oracle import upsample_conv as expected_output
from tests.oracle import upsample_conv_gradients

PAIRS = list(itertools.permutations(METHODS, 2))


@pytest.mark.parametrize(("forward", "backward"), PAIRS)
def test_passes_by_two_methods_match_the_oracle(forward, backward):
    check(plain_case("same", "channels_first", "linear"), forward, backward)


@pytest.mark.parametrize(("forward", "backward"), PAIRS)
def test_every_pass_uses_its_own_method(forward, backward):
    called = []

    def recording(name):
        def function(*arguments):
            called.append(name)
            return METHOD_RECORDS[name].run(*arguments)

        return replace(METHOD_RECORDS[name], run=function)

    case = plain_case("same", "channels_last")
    tensors = [ops.convert_to_tensor(a, "float32") for a in (case.input(), case.weights()[0])]

    def function(x, kernel):
        task = prepare(x, kernel, None, case.size, "nearest", "same", "channels_last", 1)
        return run(recording(forward), recording(backward), *task)

    y = function(*tensors)
    assert called == [forward]
    called.clear()
    value_and_gradients(function, tensors, ops.ones_like(y))
    # On PyTorch the gradient is that of the forward method.
    assert called == ([forward] if BACKEND == "torch" else [forward, backward])


def test_forward_mode_derivatives_work():
    if BACKEND != "jax":
        pytest.skip("only JAX has forward mode here")
    import jax

    case = plain_case("same", "channels_last", "cubic")
    function = operation(case, "one_product", "matrices")
    x, kernel = (ops.convert_to_tensor(a, "float32") for a in (case.input(), case.weights()[0]))
    direction = ops.flip(x, axis=0)
    # The operation is linear in its input.
    y, slope = jax.jvp(lambda x: function(x, kernel), (x,), (direction,))
    assert_close(to_numpy(y), to_numpy(function(x, kernel)), "float32")
    assert_close(to_numpy(slope), to_numpy(function(direction, kernel)), "float32")


def test_passes_by_two_methods_compile_and_export(tmp_path):
    if BACKEND != "tensorflow":
        pytest.skip("writes a SavedModel")
    import tensorflow as tf

    case = plain_case("same", "channels_last", "cubic")
    function = operation(case, "phases", "transposed")
    x, kernel = case.input().astype("float32"), case.weights()[0].astype("float32")
    tensors = [ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)]
    expected = expected_output(x, kernel, 0, **oracle_options(case))
    cotangent = np.random.default_rng(1).standard_normal(expected.shape)
    to_input, to_kernel, _ = upsample_conv_gradients(x, kernel, cotangent, **oracle_options(case))
    cotangent = ops.convert_to_tensor(cotangent, "float32")

    compiled = jitted(function)
    module = tf.Module()
    signature = [tf.TensorSpec(x.shape), tf.TensorSpec(kernel.shape)]
    module.run = tf.function(function, input_signature=signature)
    tf.saved_model.save(module, str(tmp_path))
    for program in (compiled, tf.saved_model.load(str(tmp_path)).run):
        assert_close(to_numpy(program(*tensors)), expected, "float32")
        slopes = gradients(program, tensors, cotangent)
        assert_close(slopes[0], to_input, "float32")
        assert_close(slopes[1], to_kernel, "float32")


@pytest.mark.parametrize(
    ("forward", "backward", "interpolation"),
    [
        ("phases", "transposed", "nearest"),
        ("resize", "phases", "nearest"),
        ("one_product", "resize", "linear"),
    ],
)
def test_passes_by_two_methods_support_unknown_lengths(forward, backward, interpolation):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow's graphs run with unknown lengths")
    import tensorflow as tf

    case = plain_case("same", "channels_last", interpolation)
    x, (kernel, _) = case.input(), case.weights()
    expected = expected_output(x, kernel, 0, **oracle_options(case))
    cotangent = np.random.default_rng(1).standard_normal(expected.shape)
    to_input, to_kernel, _ = upsample_conv_gradients(x, kernel, cotangent, **oracle_options(case))
    tensors = [ops.convert_to_tensor(array, "float32") for array in (x, kernel, cotangent)]

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, n)) for n in (4, 3)])
    def run(x, cotangent):
        with tf.GradientTape() as tape:
            tape.watch([x, tensors[1]])
            y = operation(case, forward, backward)(x, tensors[1])
        return y, *tape.gradient(y, [x, tensors[1]], cotangent)

    result = run(tensors[0], tensors[2])
    for tensor, wanted in zip(result, (expected, to_input, to_kernel), strict=True):
        assert_close(to_numpy(tensor), wanted, "float32")


def test_each_gradient_of_one_product_is_one_product():
    if BACKEND != "jax":
        pytest.skip("reads what XLA makes of the gradients")
    import jax

    x, kernel = ops.ones((2, 16, 16, 8)), ops.ones((3, 3, 8, 4))
    output_gradient = jax.random.normal(jax.random.key(0), (2, 32, 32, 4))

    def products(function):
        return jax.jit(function).lower(x, kernel).compile().as_text().count(" dot(")

    def run(x, kernel):
        return by_method("one_product")(x, kernel, data_format="channels_last")

    def gradients(x, kernel):
        return jax.vjp(run, x, kernel)[1](output_gradient)

    assert products(run) == 1
    assert products(gradients) == 2
