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
    """Draw positions inside and outside a map, away from pixels, where the gradient jumps."""
    lengths = np.array(spatial)
    pixels = rng.integers(-2, lengths + 1, size=(*shape, 2))
    return pixels + rng.uniform(0.05, 0.95, size=pixels.shape)


def random_pixels(positions):
    """Return a pixel for every row and every column of the output, inside or outside the map."""
    rng = np.random.default_rng(0)
    return tuple(rng.integers(-3, 4, n).astype("int32") for n in positions.shape[1:3])


def offsets_from(pixels, positions):
    rows, columns = pixels
    return positions - np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)[:, :, None]


def values_and_gradients(x, positions, cotangent, data_format, dtype):
    """Return values and gradients for arrays with channels last."""
    channels_first = data_format == "channels_first"
    x, cotangent = (np.moveaxis(a, -1, 1) if channels_first else a for a in (x, cotangent))
    pixels = random_pixels(positions)
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
    if channels_first:
        value, to_x = (np.moveaxis(a, 1, -1) for a in (value, to_x))
    return value, to_x, to_positions


@settings(max_examples=7)
@given(
    spatial=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    output_size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    groups=st.integers(1, 3),
    depth=st.integers(1, 2),
    data_format=st.sampled_from(DATA_FORMATS),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_match_the_oracle(
    spatial, output_size, groups, depth, data_format, dtype, seed
):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, *spatial, groups * depth))
    positions = positions_near(rng, spatial, (2, *output_size, groups))
    cotangent = rng.standard_normal((2, *output_size, groups * depth))
    result = values_and_gradients(x, positions, cotangent, data_format, dtype)
    expected = (
        dynamic_oracle.sample(x, positions),
        *dynamic_oracle.sample_gradients(x, positions, cotangent),
    )
    for array, expected_array in zip(result, expected, strict=True):
        scale = max(1, abs(expected_array).max())
        np.testing.assert_allclose(array, expected_array, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.skipif(BACKEND != "torch", reason="compares with PyTorch's own sampler")
@pytest.mark.parametrize("groups", [1, 3])
def test_values_and_gradients_equal_those_of_pytorch(groups):
    import torch

    rng = np.random.default_rng(groups)
    batch, height, width, depth, rows, columns = 2, 4, 6, 2, 5, 7
    x = rng.standard_normal((batch, height, width, groups * depth))
    positions = positions_near(rng, (height, width), (batch, rows, columns, groups))
    cotangent = rng.standard_normal((batch, rows, columns, groups * depth))

    def grid_sample(x, positions):
        x = x.reshape(batch, height, width, groups, depth).permute(0, 3, 4, 1, 2)
        grid = positions.permute(0, 3, 1, 2, 4).flip(-1)
        grid = (2 * grid + 1) / torch.tensor([width, height]) - 1
        y = torch.nn.functional.grid_sample(
            x.flatten(0, 1), grid.flatten(0, 1), "bilinear", "border", align_corners=False
        )
        return y.reshape(batch, groups * depth, rows, columns).permute(0, 2, 3, 1)

    tensors = [torch.tensor(array) for array in (x, positions)]
    expected, slopes = value_and_gradients(grid_sample, tensors, torch.tensor(cotangent))
    result = values_and_gradients(x, positions, cotangent, "channels_last", "float64")
    for array, expected_array in zip(result, (expected, *slopes), strict=True):
        np.testing.assert_allclose(array, expected_array, rtol=0, atol=1e-12)


def test_at_a_pixel_the_value_is_the_pixel_and_the_slope_that_towards_the_next():
    x = np.array([1.0, 3.0, 4.0]).reshape(1, 1, 3, 1)
    positions = np.array([[0.0, -1.0], [0, 0], [0, 1], [0, 2], [0, 3]]).reshape(1, 1, 5, 1, 2)
    value, _, slope = values_and_gradients(
        x, positions, np.ones((1, 1, 5, 1)), "channels_last", "float32"
    )
    np.testing.assert_array_equal(value.ravel(), [1, 1, 3, 4, 4])
    np.testing.assert_array_equal(slope[..., 1].ravel(), [0, 2, 1, 0, 0])


@pytest.mark.parametrize("far", [3e9, 1e30, -3e9, np.nan])
def test_positions_beyond_integers_return_the_edge_and_nan_returns_nan(far):
    x = np.array([1.0, 3.0]).reshape(1, 1, 2, 1)
    offsets = np.array([0.0, far]).reshape(1, 1, 1, 1, 2)
    pixels = np.zeros((2, 1), "int32")
    result = evaluate(
        lambda x, offsets: sample(x, tuple(pixels), offsets, data_format="channels_last"),
        *(ops.convert_to_tensor(a, dtype="float32") for a in (x, offsets)),
    )
    expected = np.nan if np.isnan(far) else 3.0 if far > 0 else 1.0
    np.testing.assert_array_equal(to_numpy(result).item(), expected)


def test_positions_keep_their_fraction_on_long_axes():
    # As one float32, 2**20 + 1/64 would have a fraction of 0 or 1/8.
    x = np.tile([0.0, 64.0], 2**19 + 1).reshape(1, 1, -1, 1)
    pixels = np.zeros(1, "int32"), np.array([2**20], "int32")
    offsets = np.array([0, 1 / 64]).reshape(1, 1, 1, 1, 2)
    result = evaluate(
        lambda x, offsets: sample(x, pixels, offsets, data_format="channels_last"),
        *(ops.convert_to_tensor(a, dtype="float32") for a in (x, offsets)),
    )
    np.testing.assert_array_equal(to_numpy(result).item(), 1.0)


def test_the_flat_index_of_large_maps_does_not_overflow():
    if BACKEND == "jax":
        pytest.skip("JAX's integers have 32 bits; larger maps raise an error")
    index = flat_index(
        tuple(ops.convert_to_tensor(i, "int64") for i in (1, 65_535, 65_535, 2)),
        (65_536, 65_536, 3),
    )
    assert int(index) == 2 * 65_536**2 * 3 - 1


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has 64-bit indices")
def test_more_pixels_than_the_backend_can_index_raise_an_error():
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
