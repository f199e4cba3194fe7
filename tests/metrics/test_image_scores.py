import contextlib

import numpy as np
import pytest
from keras import ops

from keras_upsampling import checkerboard_score, detect_stride
from keras_upsampling.maths import harmonics
from keras_upsampling.metrics import blocks_of_maps, blockwise
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
def test_what_could_be_pictures_without_an_axis_is_refused(shape, data_format, remedy):
    x = np.random.default_rng(0).normal(0.5, 0.1, shape)
    for measure in (checkerboard_score, detect_stride):
        with pytest.raises(ValueError, match=rf"could be .*pass {remedy}\. If they are a batch of signals, pass"):
            measure(x, data_format=data_format)
    found = checkerboard_score(x, (2,), data_format=data_format)
    asked = detect_stride(x, data_format=data_format, rank=1).levels[2]
    assert len(found.db) == len(asked.db) == shape[0]
    np.testing.assert_allclose(asked.db, found.db, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 500, 1), (2, 60, 2), (9, 30, 3), (40, 200, 1), (20, 64, 2)])
def test_signals_need_no_more_than_their_shape(shape):
    x = np.random.default_rng(0).normal(0.5, 0.1, shape)
    assert len(checkerboard_score(x, 2, data_format="channels_last").db) == shape[0]


def test_a_rank_that_the_images_have_not_is_refused():
    with pytest.raises(ValueError, match=r"rank=2 and images of shape \(2, 40, 1\)"):
        detect_stride(np.zeros((2, 40, 1)), rank=2, data_format="channels_last")


def test_offsets_and_ranges_of_any_size_are_measured():
    x = images((2, 30, 30, 1)) + 0.01 * tiles((2, 30, 30, 1), 2)
    expected = checkerboard_score(x, 2, data_format="channels_last")
    # A sample after another: offsets that float32 would round to 0.06, and values it cannot hold.
    for offset, scale in ((1e6, 1.0), (0, 1e300), (0, 1e-300)):
        found = checkerboard_score(
            offset + scale * x, 2, data_range=scale, data_format="channels_last"
        )
        np.testing.assert_allclose(found.db, expected.db, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found.amplitude / scale, expected.amplitude, rtol=1e-3)
    with pytest.raises(ValueError, match="spans inf, far more than data_range"):
        checkerboard_score(np.where(x > 0.5, 1.7e308, -1.7e308), 2, data_format="channels_last")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float64", "bool"])
def test_every_real_dtype_is_measured(dtype):
    x = (np.random.default_rng(0).random((1, 24, 24, 1)) > 0.5).astype(dtype)
    expected = checkerboard_score(x.astype("float32"), 2, data_format="channels_last")
    found = checkerboard_score(x, 2, data_format="channels_last")
    np.testing.assert_array_equal(found.db, expected.db)


def test_tensors_of_half_precision_are_measured():
    x = ops.convert_to_tensor(images((1, 24, 24, 1)), dtype="bfloat16")
    exact = ops.convert_to_numpy(ops.cast(x, "float32"))
    np.testing.assert_array_equal(
        checkerboard_score(x, 2, data_format="channels_last").db,
        checkerboard_score(exact, 2, data_format="channels_last").db,
    )


@contextlib.contextmanager
def small_blocks(longest, most, block):
    """Limits so low that small maps are large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harmonics, "_MAX_LENGTH", longest)
        patch.setattr(harmonics, "MAX_SAMPLES", most)
        patch.setattr(blockwise, "MAX_SAMPLES", most)
        patch.setattr(blocks_of_maps, "REGION_SAMPLES", block)
        yield


# Of lengths that no other test has, since JAX keeps what it compiled for a shape.
@pytest.mark.parametrize("with_reference", [False, True])
@pytest.mark.parametrize(
    ("shape", "size", "block"),
    [
        ((1, 1807, 2), (2,), 900),
        ((1, 63, 119, 1), (3, 1), 4000),
        ((1, 17, 16, 19, 1), (2, 2, 2), 20_000),
    ],
)
def test_large_maps_are_measured_block_by_block(shape, size, block, with_reference):
    x = images(shape)
    places = np.ix_(*(np.arange(n) % s for n, s in zip(shape[1:-1], size, strict=True)))
    x += 0.01 * np.random.default_rng(3).standard_normal(size)[places][None, ..., None]
    x = x.astype("float32")
    seen = x + 0.02 * np.random.default_rng(4).standard_normal(shape).astype("float32")
    options = {
        "reference": seen if with_reference else None,
        "data_format": "channels_last",
    }
    with small_blocks(longest=301, most=3000, block=block):
        found = checkerboard_score(x, size, **options)
        at_once = evaluate(
            lambda x, seen: checkerboard(
                x, size, reference=seen if with_reference else None, data_format="channels_last"
            ),
            *(ops.convert_to_tensor(part) for part in (x, seen)),
        )
        lengths = [n - 2 * with_reference for n in shape[1:-1]]
        pieces = harmonics.Pieces.of(lengths, size)
    assert pieces.number > 1
    for one, other in zip(found, at_once, strict=True):
        np.testing.assert_allclose(one, to_numpy(other), rtol=2e-3, atol=1e-6)
    for i in range(shape[0]):
        expected = [
            oracle.score(
                x[i, ..., c],
                size,
                reference=seen[i, ..., c] if with_reference else None,
                counts=pieces.counts,
            )
            for c in range(shape[-1])
        ]
        line, band, square, *over_faint, _ = np.mean(expected, axis=0)
        np.testing.assert_allclose(found.db[i], 10 * np.log10(line), rtol=0, atol=0.001)
        np.testing.assert_allclose(found.band_db[i], 10 * np.log10(band), rtol=0, atol=0.001)
        np.testing.assert_allclose(found.amplitude[i], np.sqrt(max(square, 0)), rtol=0.005)
        chance = oracle.p_value(*over_faint, pieces.lengths, size, pieces.number)
        np.testing.assert_allclose(
            np.log10(found.p_value[i]), np.log10(max(chance, 1e-7)), rtol=0, atol=0.1
        )


def test_pieces_say_what_the_whole_does():
    noise = np.random.default_rng(0).normal(0.5, 0.05, (3, 6011, 1))
    noise[1, ::2] += 0.02
    noise[2] += 0.02 * np.sin(np.arange(6011) / 500)[:, None] * (-1.0) ** np.arange(6011)[:, None]
    whole = checkerboard_score(noise, 2, data_format="channels_last")
    with small_blocks(longest=1009, most=2**24, block=2**22):
        pieces = checkerboard_score(noise[:, :-1], 2, data_format="channels_last")
    np.testing.assert_allclose(pieces.db[:2], whole.db[:2], rtol=0, atol=0.3)
    assert max(pieces.db[2], whole.db[2]) < -10  # nothing of one phase
    np.testing.assert_allclose(pieces.band_db, whole.band_db, rtol=0, atol=0.3)
    np.testing.assert_allclose(pieces.amplitude, whole.amplitude, rtol=0.03, atol=1e-4)
    assert (pieces.p_value < 0.01).tolist() == (whole.p_value < 0.01).tolist()
    assert pieces.detected.tolist() == whole.detected.tolist() == [False, True, False]


def test_strides_of_large_maps_are_found():
    x = images((1, 803, 1)) + 0.05 * tiles((1, 803, 1), 6)
    with small_blocks(longest=450, most=2**24, block=450):
        found = detect_stride(x, data_format="channels_last")
    assert found.stride.tolist() == [6]


@pytest.mark.parametrize("shape", [(1, 40013, 1), (1, 96, 224, 1), (300, 64, 1)])
def test_no_more_is_held_at_once_than_a_part(shape, monkeypatch):
    sizes, made = [], blockwise.tensor

    def tensor(x):
        sizes.append(np.size(x))
        return made(x)

    monkeypatch.setattr(blockwise, "tensor", tensor)
    with small_blocks(longest=2**16, most=8000, block=4000):
        checkerboard_score(images(shape).astype("float32"), 2, data_format="channels_last")
    # Boxes have margins on all sides.
    assert max(sizes) < 8000 * (1.1 if len(shape) == 3 else 1.5)
    assert len(sizes) > 3


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
