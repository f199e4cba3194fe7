import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.ops.sample import flat_index, sample
from tests import dynamic_oracle
from tests.backends import BACKEND, evaluate, float64_allowed, to_numpy, value_and_gradients
from tests.strategies import DATA_FORMATS, DTYPES

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def positions_near(rng, spatial, shape):
    """Positions in and around a map; away from the pixels, where the gradient jumps."""
    lengths = np.array(spatial)
    whole = rng.integers(-2, lengths + 1, size=(*shape, 2))
    return whole + rng.uniform(0.05, 0.95, size=whole.shape)


def pixels_of(positions):
    """Some pixel for every row and every column of the output, in or outside of the map."""
    rng = np.random.default_rng(0)
    return tuple(rng.integers(-3, 4, n).astype("int32") for n in positions.shape[1:3])


def offsets_from(pixels, positions):
    rows, columns = pixels
    return positions - np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)[:, :, None]


def both(x, positions, cotangent, data_format, dtype):
    """Values and gradients, of arrays with channels last."""
    first = data_format == "channels_first"
    x, cotangent = (np.moveaxis(a, -1, 1) if first else a for a in (x, cotangent))
    pixels = pixels_of(positions)
    offsets = offsets_from(pixels, positions)
    with float64_allowed():
        x, offsets, cotangent = (
            ops.convert_to_tensor(a, dtype=dtype) for a in (x, offsets, cotangent)
        )
        value, (to_x, to_positions) = value_and_gradients(
            lambda x, offsets: sample(x, pixels, offsets, data_format=data_format),
            [x, offsets],
            cotangent,
        )
    if first:
        value, to_x = (np.moveaxis(a, 1, -1) for a in (value, to_x))
    return value, to_x, to_positions


@settings(max_examples=7)
@given(
    spatial=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    places=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    groups=st.integers(1, 3),
    depth=st.integers(1, 2),
    data_format=st.sampled_from(DATA_FORMATS),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_the_definition(
    spatial, places, groups, depth, data_format, dtype, seed
):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, *spatial, groups * depth))
    positions = positions_near(rng, spatial, (2, *places, groups))
    cotangent = rng.standard_normal((2, *places, groups * depth))
    found = both(x, positions, cotangent, data_format, dtype)
    expected = (
        dynamic_oracle.sample(x, positions),
        *dynamic_oracle.sample_gradients(x, positions, cotangent),
    )
    for one, other in zip(found, expected, strict=True):
        scale = max(1, abs(other).max())
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.skipif(BACKEND != "torch", reason="compares with PyTorch's own sampler")
@pytest.mark.parametrize("groups", [1, 3])
def test_it_is_the_sampler_of_pytorch(groups):
    import torch

    rng = np.random.default_rng(groups)
    batch, height, width, depth, rows, columns = 2, 4, 6, 2, 5, 7
    x = rng.standard_normal((batch, height, width, groups * depth))
    positions = positions_near(rng, (height, width), (batch, rows, columns, groups))
    cotangent = rng.standard_normal((batch, rows, columns, groups * depth))

    def theirs(x, positions):
        x = x.reshape(batch, height, width, groups, depth).permute(0, 3, 4, 1, 2)
        grid = positions.permute(0, 3, 1, 2, 4).flip(-1)
        grid = (2 * grid + 1) / torch.tensor([width, height]) - 1
        y = torch.nn.functional.grid_sample(
            x.flatten(0, 1), grid.flatten(0, 1), "bilinear", "border", align_corners=False
        )
        return y.reshape(batch, groups * depth, rows, columns).permute(0, 2, 3, 1)

    tensors = [torch.tensor(array) for array in (x, positions)]
    expected, slopes = value_and_gradients(theirs, tensors, torch.tensor(cotangent))
    found = both(x, positions, cotangent, "channels_last", "float64")
    for one, other in zip(found, (expected, *slopes), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_at_the_pixels_it_copies_and_its_slope_is_that_towards_the_next():
    x = np.array([1.0, 3.0, 4.0]).reshape(1, 1, 3, 1)
    positions = np.array([[0.0, -1.0], [0, 0], [0, 1], [0, 2], [0, 3]]).reshape(1, 1, 5, 1, 2)
    value, _, slope = both(x, positions, np.ones((1, 1, 5, 1)), "channels_last", "float32")
    np.testing.assert_array_equal(value.ravel(), [1, 1, 3, 4, 4])
    np.testing.assert_array_equal(slope[..., 1].ravel(), [0, 2, 1, 0, 0])


@pytest.mark.parametrize("far", [3e9, 1e30, -3e9, np.nan])
def test_positions_that_no_integer_holds_give_the_edge_or_nan_and_no_error(far):
    x = np.array([1.0, 3.0]).reshape(1, 1, 2, 1)
    offsets = np.array([0.0, far]).reshape(1, 1, 1, 1, 2)
    pixels = np.zeros((2, 1), "int32")
    found = evaluate(
        lambda x, offsets: sample(x, tuple(pixels), offsets, data_format="channels_last"),
        *(ops.convert_to_tensor(a, dtype="float32") for a in (x, offsets)),
    )
    expected = np.nan if np.isnan(far) else 3.0 if far > 0 else 1.0
    np.testing.assert_array_equal(to_numpy(found).item(), expected)


def test_far_from_the_start_a_position_keeps_its_fraction():
    # As one float32, 2**20 + 1/64 has a fraction of 0 or 1/8.
    x = np.tile([0.0, 64.0], 2**19 + 1).reshape(1, 1, -1, 1)
    pixels = np.zeros(1, "int32"), np.array([2**20], "int32")
    offsets = np.array([0, 1 / 64]).reshape(1, 1, 1, 1, 2)
    found = evaluate(
        lambda x, offsets: sample(x, pixels, offsets, data_format="channels_last"),
        *(ops.convert_to_tensor(a, dtype="float32") for a in (x, offsets)),
    )
    np.testing.assert_array_equal(to_numpy(found).item(), 1.0)


def test_the_flat_index_of_large_maps_does_not_overflow():
    if BACKEND == "jax":
        pytest.skip("JAX's integers have 32 bits; larger maps are refused")
    index = flat_index(
        tuple(ops.convert_to_tensor(i, "int64") for i in (1, 65_535, 65_535, 2)),
        (65_536, 65_536, 3),
    )
    assert int(index) == 2 * 65_536**2 * 3 - 1


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch counts them")
def test_more_pixels_than_the_backend_can_count_are_refused():
    def run(x, offsets):
        return sample(x, ([0], [0]), offsets, data_format="channels_last")

    def shape_of_output(*shapes):
        if BACKEND == "jax":
            import jax

            return jax.eval_shape(
                run, *(jax.ShapeDtypeStruct(shape, "float32") for shape in shapes)
            )
        import tensorflow as tf

        traced = tf.function(run, autograph=False)
        return traced.get_concrete_function(*map(tf.TensorSpec, shapes))

    shape_of_output((3, 2**14, 2**14, 2), (3, 1, 1, 1, 2))
    with pytest.raises(ValueError, match=r"at most 2147483647 pixels.*smaller batches or tiles"):
        shape_of_output((4, 2**15, 2**15, 2), (4, 1, 1, 1, 2))
