"""No method adds up gradients by a scatter, whose order of additions differs between runs."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.contenders import model, upsample_conv_layer
from keras_upsampling.bench.programs import program_of
from keras_upsampling.bench.timing import tensors
from keras_upsampling.ops import resample
from tests.backends import BACKEND, gradient_operations
from tests.ops.one_step import METHODS, by_method
from tests.strategies import INTERPOLATIONS

# Operations that several threads of a GPU may use to add to the same number.
_ADDING = re.compile(
    r"scatter|segment|index_put|index_add|embedding|(resize|upsample).*(grad|back)"
)
# The gradient of the backend's own routine for linear interpolation.
_ROUTINE = {
    "tensorflow": {"ResizeBilinearGrad"},
    "torch": {"aten::upsample_bilinear2d_backward"},
}.get(BACKEND, set())


def adding(function, *tensors):
    """Return the operations of the gradients of `function` whose additions have no fixed order."""
    names = gradient_operations(function, *tensors)
    return {name for name in names if _ADDING.search(name.lower())}


def test_the_gradient_of_a_gather_is_found():
    assert adding(lambda x: ops.take(x, [0, 0, 1], axis=1), ops.ones((2, 3)))


@pytest.mark.parametrize("method", METHODS)
def test_methods_have_no_scatter_in_their_gradients(method):
    x, kernel, bias = ops.ones((2, 24, 20, 4)), ops.ones((3, 3, 4, 5)), ops.ones(5)

    def found(interpolation):
        def function(x, kernel, bias):
            return by_method(method)(
                x,
                kernel,
                bias=bias,
                interpolation=interpolation,
                data_format="channels_last",
            )

        return adding(function, x, kernel, bias)

    assert found("nearest") == found("cubic") == set()
    # Only `resize` upsamples by the backend's own routine.
    assert found("linear") == (_ROUTINE if method == "resize" else set())


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resampling_has_no_scatter_but_in_the_linear_routine(interpolation):
    found = adding(
        lambda x: resample(x, 2, interpolation=interpolation, data_format="channels_last"),
        ops.ones((2, 12, 10, 4)),
    )
    assert found == (_ROUTINE if interpolation == "linear" else set())


@pytest.mark.parametrize("method", METHODS)
def test_two_runs_have_equal_gradients(method):
    case = Case(4, (24, 20), 8, 6, 2, 3, "linear", "float32")
    x, cotangent = tensors(case)
    program = program_of(model(case, upsample_conv_layer(case, method)), x, cotangent)
    first, second = (
        [ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(program.run())]
        for _ in range(2)
    )
    assert len(first) == 4  # the output, and the gradients of input, kernel and bias
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
