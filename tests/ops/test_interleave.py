from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.ops.interleave import interleave
from tests.backends import evaluate, to_numpy
from tests.strategies import DATA_FORMATS


@given(
    size=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    groups=st.integers(1, 2),
    data_format=st.sampled_from(DATA_FORMATS),
)
def test_channel_order_is_group_phase_depth(size, groups, data_format):
    spatial, depth = (2, 3, 2)[: len(size)], 2
    x = np.random.default_rng(0).standard_normal((2, *spatial, groups * np.prod(size) * depth))
    expected = np.zeros((2, *np.multiply(spatial, size), groups * depth))
    for position in product(*map(range, expected.shape[1:-1])):
        source = tuple(p // s for p, s in zip(position, size, strict=True))
        phase = np.ravel_multi_index([p % s for p, s in zip(position, size, strict=True)], size)
        for group, d in product(range(groups), range(depth)):
            channel = (group * np.prod(size) + phase) * depth + d
            value = x[(slice(None), *source, channel)]
            expected[(slice(None), *position, group * depth + d)] = value
    if data_format == "channels_first":
        x, expected = np.moveaxis(x, -1, 1), np.moveaxis(expected, -1, 1)
    result = evaluate(
        lambda x: interleave(x, size, groups, data_format), ops.convert_to_tensor(x, "float32")
    )
    np.testing.assert_allclose(to_numpy(result), expected, atol=1e-6)
