import numpy as np
import pytest
from keras import ops

from keras_upsampling.ops import upsample_conv
from tests.backends import evaluate, to_numpy
from tests.reference import CASES, PATH, SHAPES


@pytest.fixture(scope="module")
def reference():
    with np.load(PATH) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(("rank", "interpolation", "padding"), CASES)
def test_backend_reproduces_stored_outputs(reference, rank, interpolation, padding):
    _, size, _, dilation, _ = SHAPES[rank]
    output = evaluate(
        lambda x, kernel: upsample_conv(
            x,
            kernel,
            size,
            interpolation=interpolation,
            padding=padding,
            data_format="channels_last",
            dilation_rate=dilation,
        ),
        ops.convert_to_tensor(reference[f"x{rank}"], dtype="float32"),
        ops.convert_to_tensor(reference[f"kernel{rank}"], dtype="float32"),
    )
    expected = reference[f"y{rank}_{interpolation}_{padding}"]
    np.testing.assert_allclose(to_numpy(output), expected, atol=1e-5 * abs(expected).max())
