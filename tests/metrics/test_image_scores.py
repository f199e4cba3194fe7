import contextlib

import numpy as np
import pytest
from keras import ops

from keras_upsampling import checkerboard_score, detect_stride
from keras_upsampling.maths import harmonics
from keras_upsampling.metrics import map_regions, regionwise
from keras_upsampling.ops import checkerboard
from tests import checkerboard_oracle as oracle
from tests.backends import evaluate, to_numpy


def images(shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    for axis in range(1, len(shape) - 1):
        x = np.cumsum(x, axis=axis)
    return 0.5 + 0.2 * x / abs(x).max() + 0.01 * rng.standard_normal(shape)


def tiles(shape, size, seed=0):
    tile = np.random.default_rng(seed).standard_normal((size,) * (len(shape) - 2))
    tile = (tile - tile.mean()) / tile.std()
    repeats = [-(-n // size) for n in shape[1:-1]]
    return np.tile(tile, repeats)[tuple(map(slice, shape[1:-1]))][None, ..., None]


@pytest.mark.parametrize("shape", [(3, 90, 2), (3, 40, 44, 3), (2, 20, 20, 20, 1)])
def test_each_image_has_its_score(shape):
    clean = images(shape)
    clean[1] += 0.05 * tiles(shape, 2)[0]
    score = checkerboard_score(clean, 2, data_format="channels_last")
    assert all(isinstance(values, np.ndarray) and values.shape == shape[:1] for values in score)
    assert score.detected.tolist() == [i == 1 for i in range(shape[0])]
    np.testing.assert_allclose(score.amplitude[1], 0.05, rtol=0.1)


def test_channels_first_and_other_ranges_have_the_same_score():
    x = images((2, 30, 32, 3)) + 0.01 * tiles((2, 30, 32, 3), 2)
    expected = checkerboard_score(x, 2, data_format="channels_last")
    first = checkerboard_score(np.moveaxis(x, -1, 1), 2, data_format="channels_first")
    scaled = checkerboard_score(255 * x, 2, data_range=255, data_format="channels_last")
    for score, unit in ((first, 1), (scaled, 255)):
        np.testing.assert_allclose(score.db, expected.db, rtol=0, atol=0.02)
        np.testing.assert_allclose(score.amplitude / unit, expected.amplitude, rtol=1e-3)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 8])
def test_stride_is_detected(size):
    shape = (3, 64, 64, 1)
    x = images(shape)
    x[0] += 0.02 * tiles(shape, size)[0]
    result = detect_stride(x, data_format="channels_last")
    assert result.stride.tolist() == [size, 1, 1]
    assert list(result.levels) == [2, 3, 4, 5, 6, 7, 8]
    assert result.levels[size].detected.tolist() == [True, False, False]


def test_noise_has_no_stride():
    # 1 % by chance, for any number of periods.
    noise = np.random.default_rng(0).normal(0.5, 0.1, (500, 48, 48, 1))
    assert np.mean(detect_stride(noise, data_format="channels_last").stride > 1) < 0.025


def test_strides_of_two_layers_are_combined():
    shape = (1, 64, 64, 1)
    x = images(shape) + 0.02 * (tiles(shape, 2) + tiles(shape, 3))
    result = detect_stride(x, data_format="channels_last")
    assert result.stride.tolist() == [6]
    assert [period for period, level in result.levels.items() if level.detected[0]] == [2, 3]


def test_small_images_are_tested_for_short_periods_only():
    x = np.random.default_rng(0).normal(0.5, 0.1, (1, 20, 24, 1))
    assert list(detect_stride(x, data_format="channels_last").levels) == [2, 3]
    with pytest.raises(ValueError, match="size 2 needs an axis of 10 samples"):
        detect_stride(x[:, :8], data_format="channels_last")


def test_inputs_are_not_modified():
    x = (images((1, 40, 40, 1)) + 0.1 * tiles((1, 40, 40, 1), 2)).astype("float32")
    copy = x.copy()
    detect_stride(x, data_format="channels_last")
    np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize(
    ("shape", "data_format", "remedy"),
    [
        ((40, 30, 3), "channels_last", r"images\[None\]"),
        ((30, 36, 1), "channels_last", r"images\[None\]"),
        ((300, 30, 3), "channels_last", r"images\[None\]"),
        ((4, 40, 30), "channels_first", r"images\[None\]"),
        ((5, 28, 28), "channels_last", r"images\[..., None\]"),
        ((5, 28, 28), "channels_first", r"images\[:, None\]"),
    ],
)
def test_arrays_that_could_be_images_without_an_axis_are_refused(shape, data_format, remedy):
    x = np.random.default_rng(0).normal(0.5, 0.1, shape)
    for measure in (checkerboard_score, detect_stride):
        with pytest.raises(
            ValueError, match=rf"could be .*pass {remedy}\. If they are a batch of signals, pass"
        ):
            measure(x, data_format=data_format)
    by_size = checkerboard_score(x, (2,), data_format=data_format)
    by_rank = detect_stride(x, data_format=data_format, rank=1).levels[2]
    assert len(by_size.db) == len(by_rank.db) == shape[0]
    np.testing.assert_allclose(by_rank.db, by_size.db, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 500, 1), (2, 60, 2), (9, 30, 3), (40, 200, 1), (20, 64, 2)])
def test_signals_are_recognised_by_their_shape(shape):
    x = np.random.default_rng(0).normal(0.5, 0.1, shape)
    assert len(checkerboard_score(x, 2, data_format="channels_last").db) == shape[0]


def test_wrong_rank_is_refused():
    with pytest.raises(ValueError, match=r"rank=2 and images of shape \(2, 40, 1\)"):
        detect_stride(np.zeros((2, 40, 1)), rank=2, data_format="channels_last")


def test_offsets_and_ranges_of_any_size_are_measured():
    x = images((2, 30, 30, 1)) + 0.01 * tiles((2, 30, 30, 1), 2)
    expected = checkerboard_score(x, 2, data_format="channels_last")
    # An offset at which float32 has steps of 0.06, and values outside the range of float32.
    for offset, scale in ((1e6, 1.0), (0, 1e300), (0, 1e-300)):
        score = checkerboard_score(
            offset + scale * x, 2, data_range=scale, data_format="channels_last"
        )
        np.testing.assert_allclose(score.db, expected.db, rtol=0, atol=1e-3)
        np.testing.assert_allclose(score.amplitude / scale, expected.amplitude, rtol=1e-3)
    with pytest.raises(ValueError, match="spans inf, far more than data_range"):
        checkerboard_score(np.where(x > 0.5, 1.7e308, -1.7e308), 2, data_format="channels_last")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float64", "bool"])
def test_every_real_dtype_is_measured(dtype):
    x = (np.random.default_rng(0).random((1, 24, 24, 1)) > 0.5).astype(dtype)
    expected = checkerboard_score(x.astype("float32"), 2, data_format="channels_last")
    score = checkerboard_score(x, 2, data_format="channels_last")
    np.testing.assert_array_equal(score.db, expected.db)


def test_tensors_of_half_precision_are_measured():
    x = ops.convert_to_tensor(images((1, 24, 24, 1)), dtype="bfloat16")
    array = ops.convert_to_numpy(ops.cast(x, "float32"))
    np.testing.assert_array_equal(
        checkerboard_score(x, 2, data_format="channels_last").db,
        checkerboard_score(array, 2, data_format="channels_last").db,
    )


@contextlib.contextmanager
def small_limits(max_length, max_samples, region_samples):
    """Lower the limits, so that small maps count as large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harmonics, "_MAX_LENGTH", max_length)
        patch.setattr(harmonics, "MAX_SAMPLES", max_samples)
        patch.setattr(regionwise, "MAX_SAMPLES", max_samples)
        patch.setattr(map_regions, "REGION_SAMPLES", region_samples)
        yield


# The shapes are in no other test, because JAX caches compiled functions by shape.
@pytest.mark.parametrize("with_reference", [False, True])
@pytest.mark.parametrize(
    ("shape", "size", "region_samples"),
    [
        ((1, 1807, 2), (2,), 900),
        ((1, 63, 119, 1), (3, 1), 4000),
        ((1, 17, 16, 19, 1), (2, 2, 2), 20_000),
    ],
)
def test_large_maps_have_the_score_of_the_definition(shape, size, region_samples, with_reference):
    x = images(shape)
    places = np.ix_(*(np.arange(n) % s for n, s in zip(shape[1:-1], size, strict=True)))
    x += 0.01 * np.random.default_rng(3).standard_normal(size)[places][None, ..., None]
    x = x.astype("float32")
    reference = x + 0.02 * np.random.default_rng(4).standard_normal(shape).astype("float32")
    options = {
        "reference": reference if with_reference else None,
        "data_format": "channels_last",
    }
    with small_limits(max_length=301, max_samples=3000, region_samples=region_samples):
        score = checkerboard_score(x, size, **options)
        at_once = evaluate(
            lambda x, reference: checkerboard(
                x,
                size,
                reference=reference if with_reference else None,
                data_format="channels_last",
            ),
            *(ops.convert_to_tensor(array) for array in (x, reference)),
        )
        lengths = [n - 2 * with_reference for n in shape[1:-1]]
        pieces = harmonics.Pieces.of(lengths, size)
    assert pieces.number > 1
    for values, expected_values in zip(score, at_once, strict=True):
        np.testing.assert_allclose(values, to_numpy(expected_values), rtol=2e-3, atol=1e-6)
    for i in range(shape[0]):
        expected = [
            oracle.score(
                x[i, ..., c],
                size,
                reference=reference[i, ..., c] if with_reference else None,
                counts=pieces.counts,
            )
            for c in range(shape[-1])
        ]
        line, band, square, *ratios_to_faint, _ = np.mean(expected, axis=0)
        np.testing.assert_allclose(score.db[i], 10 * np.log10(line), rtol=0, atol=0.001)
        np.testing.assert_allclose(score.band_db[i], 10 * np.log10(band), rtol=0, atol=0.001)
        np.testing.assert_allclose(score.amplitude[i], np.sqrt(max(square, 0)), rtol=0.005)
        chance = oracle.p_value(*ratios_to_faint, pieces.lengths, size, pieces.number)
        np.testing.assert_allclose(
            np.log10(score.p_value[i]), np.log10(max(chance, 1e-7)), rtol=0, atol=0.1
        )


def test_pieces_have_the_score_of_the_complete_map():
    noise = np.random.default_rng(0).normal(0.5, 0.05, (3, 6011, 1))
    noise[1, ::2] += 0.02
    noise[2] += 0.02 * np.sin(np.arange(6011) / 500)[:, None] * (-1.0) ** np.arange(6011)[:, None]
    complete = checkerboard_score(noise, 2, data_format="channels_last")
    with small_limits(max_length=1009, max_samples=2**24, region_samples=2**22):
        pieces = checkerboard_score(noise[:, :-1], 2, data_format="channels_last")
    np.testing.assert_allclose(pieces.db[:2], complete.db[:2], rtol=0, atol=0.3)
    assert max(pieces.db[2], complete.db[2]) < -10  # the pattern has no uniform component
    np.testing.assert_allclose(pieces.band_db, complete.band_db, rtol=0, atol=0.3)
    np.testing.assert_allclose(pieces.amplitude, complete.amplitude, rtol=0.03, atol=1e-4)
    assert (pieces.p_value < 0.01).tolist() == (complete.p_value < 0.01).tolist()
    assert pieces.detected.tolist() == complete.detected.tolist() == [False, True, False]


def test_strides_of_large_maps_are_detected():
    x = images((1, 803, 1)) + 0.05 * tiles((1, 803, 1), 6)
    with small_limits(max_length=450, max_samples=2**24, region_samples=450):
        result = detect_stride(x, data_format="channels_last")
    assert result.stride.tolist() == [6]


@pytest.mark.parametrize("shape", [(1, 40013, 1), (1, 96, 224, 1), (300, 64, 1)])
def test_only_a_region_is_on_the_device_at_once(shape, monkeypatch):
    sizes, original = [], regionwise.tensor

    def tensor(x):
        sizes.append(np.size(x))
        return original(x)

    monkeypatch.setattr(regionwise, "tensor", tensor)
    with small_limits(max_length=2**16, max_samples=8000, region_samples=4000):
        checkerboard_score(images(shape).astype("float32"), 2, data_format="channels_last")
    # Regions have margins on all sides.
    assert max(sizes) < 8000 * (1.1 if len(shape) == 3 else 1.5)
    assert len(sizes) > 3


def test_bad_values_are_refused_with_the_name_of_the_argument():
    x = images((3, 24, 24, 1))
    with pytest.raises(ValueError, match=r"spans \d+.* data_range=1\. .*such as data_range=255"):
        checkerboard_score((255 * x).clip(0, 255).round().astype("uint8"), 2)
    checkerboard_score(1.5 * x, 2, data_format="channels_last")  # decoders overshoot
    for bad in (np.nan, np.inf):
        broken = x.copy()
        broken[1, 3, 3] = bad
        with pytest.raises(ValueError, match=r"NaN or an infinity in images\[1\]"):
            checkerboard_score(broken, 2)
        with pytest.raises(ValueError, match=r"NaN or an infinity in reference\[1\]"):
            checkerboard_score(x, 2, reference=broken)
        with pytest.raises(ValueError, match=r"images\[1\]"):
            detect_stride(broken)
    for measure in (checkerboard_score, detect_stride):
        with pytest.raises(ValueError, match="`data_range` must be a number above 0"):
            measure(x, data_range=-1)
        for data_range in ("1", None, np.ones(2)):
            with pytest.raises(TypeError, match="`data_range` must be a number above 0"):
                measure(x, data_range=data_range)
        with pytest.raises(TypeError, match=r"`images` must be real numbers.*complex64"):
            measure(x.astype("complex64"))
        with pytest.raises(TypeError, match=r"`images` must be an array of numbers.*dtype"):
            measure(np.array([["one"]]))
    with pytest.raises(TypeError, match=r"`reference` must be real numbers.*complex128"):
        checkerboard_score(x, 2, reference=1j * x, data_format="channels_last")
    with pytest.raises(ValueError, match=r"\(24, 24\)\. Use .* for one grey image"):
        detect_stride(x[0, ..., 0])
    with pytest.raises(ValueError, match="`images` must not be empty"):
        detect_stride(np.float32(1))
    with pytest.raises(ValueError, match=r"`images` must not be empty"):
        checkerboard_score(x[:0], 2)
