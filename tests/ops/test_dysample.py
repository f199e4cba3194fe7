import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.ops.dysample import dysample
from tests import dynamic_oracle
from tests.backends import evaluate, float64_allowed, to_numpy
from tests.strategies import DATA_FORMATS, DTYPES

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


@settings(max_examples=5)
@given(
    spatial=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.integers(1, 3),
    start=st.sampled_from(["nearest", "linear"]),
    data_format=st.sampled_from(DATA_FORMATS),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_values_match_the_oracle(spatial, size, groups, start, data_format, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, *spatial, 2 * groups))
    count = 2 * groups * np.prod(size)
    kernel, bias = rng.standard_normal((2 * groups, count)), rng.standard_normal(count)
    options = {"size": size, "groups": groups, "start": start}
    expected = dynamic_oracle.dysample(x, kernel, bias, **options)
    if data_format == "channels_first":
        x, expected = np.moveaxis(x, -1, 1), np.moveaxis(expected, -1, 1)
    with float64_allowed():
        tensors = [ops.convert_to_tensor(a, dtype=dtype) for a in (x, kernel[None, None], bias)]
        result = evaluate(
            lambda *arguments: dysample(*arguments, **options, data_format=data_format), *tensors
        )
        result = to_numpy(result)
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE[dtype])
