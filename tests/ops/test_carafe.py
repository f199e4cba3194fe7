import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.ops.carafe import carafe, reassemble
from tests import dynamic_oracle
from tests.backends import (
    BACKEND,
    evaluate,
    float64_allowed,
    gradients,
    to_numpy,
    value_and_gradients,
)
from tests.strategies import DATA_FORMATS, DTYPES

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


@settings(max_examples=7)
@given(
    spatial=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel_size=st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3, 5])),
    groups=st.integers(1, 3),
    depth=st.integers(1, 2),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_match_the_oracle(
    spatial, size, kernel_size, groups, depth, dtype, seed
):
    rng = np.random.default_rng(seed)
    options = {"size": size, "kernel_size": kernel_size, "groups": groups}
    x = rng.standard_normal((2, *spatial, groups * depth))
    count = np.prod(size) * groups * np.prod(kernel_size)
    logits = 3 * rng.standard_normal((2, *spatial, count))
    expected = dynamic_oracle.reassemble(x, logits, **options)
    cotangent = rng.standard_normal(expected.shape)
    expected_gradients = dynamic_oracle.reassemble_gradients(x, logits, cotangent, **options)
    with float64_allowed():
        x, logits, cotangent = (
            ops.convert_to_tensor(array, dtype=dtype) for array in (x, logits, cotangent)
        )
        result, slopes = value_and_gradients(
            lambda x, logits: reassemble(x, logits, **options), [x, logits], cotangent
        )
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE[dtype])
    for slope, expected_slope in zip(slopes, expected_gradients, strict=True):
        # Gradients are sums over the phases, and those of the map over the taps too.
        scale = max(1, abs(expected_slope).max())
        np.testing.assert_allclose(slope, expected_slope, rtol=0, atol=TOLERANCE[dtype] * scale)


@settings(max_examples=4)
@given(
    spatial=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel_size=st.tuples(st.sampled_from([1, 3]), st.sampled_from([3, 5])),
    encoder_kernel_size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.integers(1, 2),
    data_format=st.sampled_from(DATA_FORMATS),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_the_weights_are_computed_by_two_convolutions_of_the_map(
    spatial, size, kernel_size, encoder_kernel_size, groups, data_format, dtype, seed
):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, *spatial, 2 * groups))
    count = np.prod(size) * groups * np.prod(kernel_size)
    weights = [
        rng.standard_normal((1, 1, 2 * groups, 3)),
        rng.standard_normal(3),
        rng.standard_normal((*encoder_kernel_size, 3, count)) / 3,
        rng.standard_normal(count),
    ]
    options = {"size": size, "kernel_size": kernel_size, "groups": groups}
    expected = dynamic_oracle.carafe(x, weights, **options)
    if data_format == "channels_first":
        x, expected = np.moveaxis(x, -1, 1), np.moveaxis(expected, -1, 1)

    def run(x, *weights):
        return carafe(x, weights[:2], weights[2:], **options, data_format=data_format)

    with float64_allowed():
        tensors = [ops.convert_to_tensor(array, dtype=dtype) for array in (x, *weights)]
        result = to_numpy(evaluate(run, *tensors))
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE[dtype])


def test_the_weights_of_each_phase_sum_to_one():
    # The gradient of the sum of one phase then sums to the number of input pixels.
    x = np.ones((4, 3, 4, 1), "float32")
    logits = 3 * np.random.default_rng(0).standard_normal((4, 3, 4, 4 * 25))
    cotangent = np.zeros((4, 6, 8, 1), "float32")
    for phase in range(4):
        cotangent[phase, phase // 2 :: 2, phase % 2 :: 2] = 1
    slopes = gradients(
        lambda x, logits: reassemble(x, logits, (2, 2), (5, 5), 1),
        [ops.convert_to_tensor(x), ops.convert_to_tensor(logits, dtype="float32")],
        ops.convert_to_tensor(cotangent),
    )
    np.testing.assert_allclose(slopes[0].sum((1, 2, 3)), 12, rtol=1e-6)
    np.testing.assert_allclose(slopes[1], 0, atol=1e-6)  # the mean of a constant is constant


def test_taps_outside_have_no_weight_even_with_large_logits():
    logits = np.zeros((1, 1, 1, 9), "float32")
    logits[..., :4] = logits[..., 5:] = 1e4
    x = np.full((1, 1, 1, 1), 2.0, "float32")
    result, slopes = value_and_gradients(
        lambda x, logits: reassemble(x, logits, (1, 1), (3, 3), 1),
        [ops.convert_to_tensor(x), ops.convert_to_tensor(logits)],
        ops.ones((1, 1, 1, 1)),
    )
    assert result.item() == 2
    assert slopes[0].item() == 1
    np.testing.assert_array_equal(slopes[1], 0)


def test_ranks_are_low_enough_for_litert():
    if BACKEND != "tensorflow":
        pytest.skip("reads TensorFlow's graph")
    import tensorflow as tf

    shapes = [(2, 4, 5, 6), (2, 4, 5, 6 * 2 * 15)]
    function = tf.function(lambda x, logits: reassemble(x, logits, (2, 3), (3, 5), 2))
    graph = function.get_concrete_function(*map(ops.zeros, shapes)).graph
    ranks = {"Transpose": [], "BatchMatMulV2": []}
    for op in graph.get_operations():
        if op.type in ranks:
            ranks[op.type].append(op.outputs[0].shape.rank)
    assert max(ranks["Transpose"]) <= 6
    assert max(ranks["BatchMatMulV2"]) <= 5
