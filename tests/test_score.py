import numpy as np
import pytest

from keras_upsampling import checkerboard_score, detect_stride


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
def test_it_gives_an_entry_for_each_image(shape):
    clean = images(shape)
    clean[1] += 0.05 * tiles(shape, 2)[0]
    score = checkerboard_score(clean, 2, data_format="channels_last")
    assert all(isinstance(part, np.ndarray) and part.shape == shape[:1] for part in score)
    assert score.detected.tolist() == [i == 1 for i in range(shape[0])]
    np.testing.assert_allclose(score.amplitude[1], 0.05, rtol=0.1)


def test_channels_first_and_other_ranges_give_the_same():
    x = images((2, 30, 32, 3)) + 0.01 * tiles((2, 30, 32, 3), 2)
    base = checkerboard_score(x, 2, data_format="channels_last")
    first = checkerboard_score(np.moveaxis(x, -1, 1), 2, data_format="channels_first")
    wide = checkerboard_score(255 * x, 2, data_range=255, data_format="channels_last")
    for other, unit in ((first, 1), (wide, 255)):
        np.testing.assert_allclose(other.db, base.db, rtol=0, atol=0.02)
        np.testing.assert_allclose(other.amplitude / unit, base.amplitude, rtol=1e-3)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 8])
def test_the_stride_is_found(size):
    shape = (3, 64, 64, 1)
    x = images(shape)
    x[0] += 0.02 * tiles(shape, size)[0]
    found = detect_stride(x, data_format="channels_last")
    assert found.stride.tolist() == [size, 1, 1]
    assert list(found.levels) == [2, 3, 4, 5, 6, 7, 8]
    assert found.levels[size].detected.tolist() == [True, False, False]


def test_noise_has_no_stride():
    # One in a hundred by chance, whatever the number of periods.
    noise = np.random.default_rng(0).normal(0.5, 0.1, (500, 48, 48, 1))
    assert np.mean(detect_stride(noise, data_format="channels_last").stride > 1) < 0.025


def test_strides_of_two_layers_make_one():
    shape = (1, 64, 64, 1)
    x = images(shape) + 0.02 * (tiles(shape, 2) + tiles(shape, 3))
    found = detect_stride(x, data_format="channels_last")
    assert found.stride.tolist() == [6]
    assert [d for d, level in found.levels.items() if level.detected[0]] == [2, 3]


def test_small_images_are_asked_for_short_periods_only():
    x = np.random.default_rng(0).normal(0.5, 0.1, (1, 20, 24, 1))
    assert list(detect_stride(x, data_format="channels_last").levels) == [2, 3]
    with pytest.raises(ValueError, match="size 2 needs an axis of 10 samples"):
        detect_stride(x[:, :8], data_format="channels_last")


def test_what_is_given_is_not_changed():
    x = (images((1, 40, 40, 1)) + 0.1 * tiles((1, 40, 40, 1), 2)).astype("float32")
    kept = x.copy()
    detect_stride(x, data_format="channels_last")
    np.testing.assert_array_equal(x, kept)


def test_bad_values_are_refused_by_name():
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
    with pytest.raises(ValueError, match="`data_range` must be positive"):
        checkerboard_score(x, 2, data_range=-1)
    with pytest.raises(ValueError, match=r"one, two or three spatial axes.*\(24, 24\)"):
        detect_stride(x[0, ..., 0])
    with pytest.raises(ValueError, match="`images` must hold something"):
        detect_stride(np.float32(1))
    with pytest.raises(ValueError, match=r"`images` must hold something"):
        checkerboard_score(x[:0], 2)
