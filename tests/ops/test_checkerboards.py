import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.maths.harmonics import MeanRatio, harmonics, shortest_length
from keras_upsampling.ops._checkerboard.chance import f_survival
from keras_upsampling.ops._checkerboard.score import CheckerboardScore
from keras_upsampling.ops.checkerboards import checkerboard, checkerboard_level, weighted_maps
from tests import checkerboard_oracle as oracle
from tests.backends import (
    BACKEND,
    evaluate,
    float64_allowed,
    gradients,
    jax_compiled,
    jitted,
    tensor_sizes,
    to_numpy,
)


def images(shape, seed=0, noise=0.05):
    """Smooth hills with some noise, similar to photographs for the score."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    for axis in range(1, len(shape) - 1):
        x = np.cumsum(x, axis=axis)
    return 0.5 + 0.2 * x / abs(x).max() + noise * rng.standard_normal(shape)


def pattern(shape, size, seed=0):
    """A random pattern of period `size` along the spatial axes, of root mean square 1."""
    tile = np.random.default_rng(seed).standard_normal(size)
    tile = (tile - tile.mean()) / tile.std()
    lengths = shape[1:-1]
    repeats = [-(-n // s) for n, s in zip(lengths, size, strict=True)]
    return np.tile(tile, repeats)[tuple(map(slice, lengths))][None, ..., None]


@functools.cache
def score_function(size, data_range):
    """Return the score as a function of images and a reference; cached with its compilation."""

    def run(x, reference=None):
        return checkerboard(
            x, size, reference=reference, data_range=data_range, data_format="channels_last"
        )

    return jax_compiled(run)


def measured(x, size, data_range=1.0, reference=None):
    inputs = [x] if reference is None else [x, reference]
    inputs = [array.astype("float32") for array in inputs]
    return CheckerboardScore(*map(to_numpy, score_function(size, data_range)(*inputs)))


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 3))
    size = draw(
        st.tuples(*[st.integers(1, {1: 5, 2: 4, 3: 2}[rank])] * rank).filter(lambda s: max(s) > 1)
    )
    shortest = [shortest_length(s, rank) + 2 for s in size]
    extra = draw(st.tuples(*[st.integers(0, {1: 60, 2: 25, 3: 3}[rank])] * rank))
    return {
        "shape": (
            2,
            *(length + more for length, more in zip(shortest, extra, strict=True)),
            draw(st.integers(1, 2)),
        ),
        "size": size,
        "amplitude": draw(st.sampled_from([0.0, 0.02, 0.2])),
        "with_reference": draw(st.booleans()),
        "data_range": draw(st.sampled_from([1.0, 255.0])),
    }


@settings(max_examples=25)
@given(case=cases())
def test_score_equals_the_definition(case):
    size, data_range = case["size"], case["data_range"]
    clean = images(case["shape"])
    # With an equal reference, only rounding errors would be left.
    reference = clean + 0.01 * np.random.default_rng(1).standard_normal(clean.shape)
    x = data_range * (clean + case["amplitude"] * pattern(case["shape"], size))
    options = {"data_range": data_range}
    if case["with_reference"]:
        options["reference"] = data_range * reference
    score = measured(x, size, **options)
    for i in range(len(x)):
        expected = [
            oracle.score(
                x[i, ..., c],
                size,
                data_range=data_range,
                reference=data_range * reference[i, ..., c] if case["with_reference"] else None,
            )
            for c in range(x.shape[-1])
        ]
        line, band, square, *ratios_to_faint, weighted_square = np.array(expected).T
        # 0.0004 dB is a ratio of 1.0001. The filter of the reference is less exact in float32.
        tolerance = 0.001 if case["with_reference"] else 0.0004
        np.testing.assert_allclose(score.db[i], 10 * np.log10(line.mean()), rtol=0, atol=tolerance)
        np.testing.assert_allclose(
            score.band_db[i], 10 * np.log10(band.mean()), rtol=0, atol=tolerance
        )
        amplitude = np.sqrt(max(0.0, np.mean(square)))
        # The iteration extrapolates, which amplifies rounding errors.
        np.testing.assert_allclose(
            score.amplitude[i], amplitude, rtol=0.005, atol=1e-5 * data_range
        )
        lengths = high_passed_lengths(x.shape, size, case["with_reference"])
        chance = oracle.p_value(*[ratio.mean() for ratio in ratios_to_faint], lengths, size)
        relative_amplitude = np.sqrt(max(0.0, np.mean(weighted_square))) / data_range / 0.001
        if min(abs(np.log10([chance / 0.01, relative_amplitude + 1e-9]))) > 0.1:
            assert score.detected[i] == (chance < 0.01 and relative_amplitude > 1)
        # In the tail, rounding errors of 1 minus a number close to 1 are large.
        np.testing.assert_allclose(
            np.log10(score.p_value[i]), np.log10(max(chance, 1e-7)), rtol=0, atol=0.1
        )


def high_passed_lengths(shape, size, with_reference):
    """Return the lengths of the measured axes: whole periods."""
    return tuple((n - 2 * with_reference) // s * s for n, s in zip(shape[1:-1], size, strict=True))


@pytest.mark.parametrize("period", [2, 4])
def test_a_level_uses_only_its_own_harmonics(period):
    x = images((1, 40, 44, 1)) + 0.05 * pattern((1, 40, 44, 1), (4, 4))
    score, _ = evaluate(
        lambda x: checkerboard_level(x, period, data_format="channels_last"),
        x.astype("float32"),
    )
    line, band, square, *_ = oracle.score(x[0, ..., 0], (period, period), period=period)
    np.testing.assert_allclose(to_numpy(score.db)[0], 10 * np.log10(line), rtol=0, atol=0.001)
    np.testing.assert_allclose(to_numpy(score.band_db)[0], 10 * np.log10(band), rtol=0, atol=0.001)
    np.testing.assert_allclose(to_numpy(score.amplitude)[0], np.sqrt(square), rtol=1e-3)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_level_is_removed_from_the_rest(data_format):
    shape = (2, 36, 41, 3)
    x = images(shape) + 0.05 * pattern(shape, (3, 3))
    if data_format == "channels_first":
        x = np.moveaxis(x, -1, 1)

    def twice(x):
        before, rest = checkerboard_level(x, 3, data_format=data_format)
        return before, rest, checkerboard_level(rest, 3, data_format=data_format)[0]

    before, rest, after = evaluate(twice, x.astype("float32"))
    assert tuple(rest.shape) == x.shape
    assert (to_numpy(before.db) > 15).all()
    assert (to_numpy(after.db) < 0).all()


def test_constants_and_ramps_score_zero():
    row = np.linspace(0, 1, 30)
    flat, ramp = np.full((30, 30), 0.7), row[:, None] * 0.3 + row * 0.6
    score = measured(np.stack([flat, ramp])[..., None], 2)
    np.testing.assert_allclose(score.db, 0, rtol=0, atol=0.05)
    np.testing.assert_allclose(score.amplitude, 0, rtol=0, atol=1e-6)
    assert not score.detected.any()


@pytest.mark.parametrize("size", [(2, 2), (1, 4), (5, 3)])
def test_high_pass_keeps_a_pattern_on_a_ramp_up_to_the_ends(size):
    shape = (1, 40, 36, 1)
    centred = pattern(shape, size)
    centred -= centred[0, : size[0], : size[1]].mean()
    ramp = np.linspace(0, 3, 40)[:, None, None] - np.linspace(0, 1, 36)[:, None]
    maps, _ = evaluate(
        lambda x: weighted_maps(x, size, data_format="channels_last"),
        (ramp + centred).astype("float32"),
    )
    whole_periods = tuple(slice(n // s * s) for n, s in zip((40, 36), size, strict=True))
    np.testing.assert_allclose(to_numpy(maps)[0], centred[0, ..., 0][whole_periods], atol=1e-5)


def test_amplitude_is_that_of_the_pattern():
    shape = (4, 64, 64, 1)
    for size in ((2, 2), (3, 3), (1, 4)):
        x = images(shape, noise=0.005) + 0.02 * pattern(shape, size)
        score = measured(x, size)
        # The other content of a single image changes its amplitude, in either direction.
        np.testing.assert_allclose(np.mean(score.amplitude), 0.02, rtol=0.05)
        np.testing.assert_allclose(score.amplitude, 0.02, rtol=0.1)
        assert score.detected.all()
        np.testing.assert_allclose(score.p_value, 1e-7, rtol=0.05)


@pytest.mark.parametrize(
    ("lengths", "size", "noise", "count"),
    [
        ((26,), (2,), 0.003, 400),
        ((2048,), (2,), 0.01, 40),
        ((2048,), (2,), 0.03, 200),
        ((2048,), (5,), 0.02, 40),
        ((64, 64), (2, 2), 0.03, 40),
        ((48, 40), (1, 3), 0.02, 40),
        ((20, 20, 20), (2, 2, 2), 0.03, 40),
    ],
)
def test_noise_does_not_reduce_the_amplitude(lengths, size, noise, count):
    shape = (count, *lengths, 1)
    noise_images = np.random.default_rng(0).normal(0.5, noise, shape)
    score = measured(noise_images + 0.01 * pattern(shape, size), size)
    assert np.mean(score.detected) >= 0.99
    np.testing.assert_allclose(np.mean(score.amplitude), 0.01, rtol=0.05)


def test_score_does_not_depend_on_brightness_flips_transposition_and_unit():
    shape = (1, 2 * 2 + 40, 2 * 2 + 40, 1)
    x = images(shape) + 0.02 * pattern(shape, (2, 2))
    expected = measured(x[:, 1:-1, 1:-1], 2)
    for transformed in (
        x[:, 1:-1, 1:-1] + 0.3,
        x[:, 1:-1, 1:-1][:, ::-1, ::-1],
        np.moveaxis(x[:, 1:-1, 1:-1], 1, 2),
    ):
        score = measured(transformed, 2)
        np.testing.assert_allclose(score.db, expected.db, rtol=0, atol=0.001)
        np.testing.assert_allclose(score.amplitude, expected.amplitude, rtol=1e-3)
    # So does contrast, except for the constant noise of rounding to bytes.
    np.testing.assert_allclose(measured(3 * x[:, 1:-1, 1:-1], 2).db, expected.db, rtol=0, atol=0.02)
    score = measured(2 * x[:, 1:-1, 1:-1], 2, data_range=2.0)
    np.testing.assert_allclose(score.db, expected.db, rtol=0, atol=0.001)
    np.testing.assert_allclose(score.amplitude, 2 * expected.amplitude, rtol=1e-3)


def test_a_shift_by_whole_periods_changes_little():
    shape = (16, 51, 51, 1)
    x = images(shape, noise=0.02) + 0.02 * pattern(shape, (3, 3))
    score, shifted = measured(x[:, :48, :48], 3), measured(x[:, 3:, 3:], 3)
    assert abs(np.mean(score.db) - np.mean(shifted.db)) < 0.3
    np.testing.assert_allclose(score.amplitude, shifted.amplitude, rtol=0.1)


def test_the_offset_of_the_pattern_changes_little():
    shape = (16, 48, 48, 1)
    clean, added_pattern = images(shape, noise=0.02), 0.02 * pattern(shape, (3, 3))
    scores = [
        np.mean(measured(clean + np.roll(added_pattern, (down, right), (1, 2)), 3).db)
        for down, right in ((0, 0), (1, 0), (2, 1))
    ]
    assert np.ptp(scores) < 0.5
    assert min(scores) > 10


def test_a_stronger_pattern_scores_higher():
    shape = (1, 48, 48, 1)
    clean, unit_pattern = images(shape), pattern(shape, (2, 2))
    scores = [
        measured(clean + amplitude * unit_pattern, 2).db[0]
        for amplitude in (0, 0.01, 0.02, 0.05, 0.1)
    ]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 20


@pytest.mark.parametrize("size", [(2, 2), (3, 3)])
def test_adding_a_pattern_never_lowers_the_mean_score(size):
    shape = (64, 40, 40, 1)
    clean, unit_pattern = images(shape, noise=0.02), pattern(shape, size)
    means = [
        np.mean(10 ** (measured(clean + amplitude * unit_pattern, size).db / 10))
        for amplitude in (0, 0.0005, 0.001, 0.002, 0.005, 0.01)
    ]
    assert means == sorted(means)


def test_memory_is_linear_in_the_batch():
    def total_size(count):
        def run(x):
            return checkerboard(x, 2, data_format="channels_last").db

        return sum(tensor_sizes(run, ops.zeros((count, 40, 40, 1))))

    assert total_size(8) - total_size(4) <= 1.01 * (total_size(4) - total_size(2)) * 2


def test_memory_is_linear_in_the_length_of_a_signal():
    def sizes(length):
        def run(x):
            return checkerboard(x, 8, data_format="channels_last").db

        table = harmonics((length,), (8,))
        arrays = [field for field in table if isinstance(field, np.ndarray)] + [*table[0]]
        return (
            sum(tensor_sizes(run, ops.zeros((1, length, 1)))),
            sum(array.size for array in arrays),
        )

    for short, long in zip(sizes(2000), sizes(4000), strict=True):
        assert long < 2.1 * short


def test_double_precision_is_kept():
    x = images((1, 32, 36, 1)) + 0.01 * pattern((1, 32, 36, 1), (2, 2))
    line, band, square, *_ = oracle.score(x[0, ..., 0], (2, 2))
    with float64_allowed():
        score = evaluate(
            lambda x: checkerboard(x, 2, data_format="channels_last"),
            ops.convert_to_tensor(x, dtype="float64"),
        )
        assert keras.backend.standardize_dtype(score.db.dtype) == "float64"
        for field, expected in (
            (score.db, 10 * np.log10(line)),
            (score.band_db, 10 * np.log10(band)),
            (score.amplitude, np.sqrt(square)),
        ):
            np.testing.assert_allclose(to_numpy(field)[0], expected, rtol=1e-10)


def test_modulated_patterns_are_measured_by_the_band():
    shape = (1, 64, 64, 1)
    sign = np.sin(2 * np.pi * np.arange(64) / 64)[:, None, None]
    x = images(shape, noise=0.01) + 0.02 * sign * pattern(shape, (2, 2))
    score = measured(x, 2)
    assert score.band_db[0] > 5
    assert score.db[0] < 3
    assert score.p_value[0] < 1e-3


def test_faint_patterns_count_as_chance():
    shape = (8, 64, 64, 1)
    clean, unit_pattern = images(shape, noise=0.001), pattern(shape, (2, 2))
    faint, weak = (measured(clean + amplitude * unit_pattern, 2) for amplitude in (0.0004, 0.004))
    assert np.mean(faint.db) > 8  # the pattern is measurable
    assert (faint.p_value > 0.1).all()
    assert (weak.p_value < 1e-3).all()


@pytest.mark.parametrize(
    ("size", "lengths", "max_rate"),
    [
        (2, (32, 32), 0.025),
        (3, (32, 32), 0.025),
        # The smallest images that are allowed.
        (2, (10, 10), 0.03),
        (3, (16, 16), 0.025),
        (4, (22, 22), 0.025),
        (2, (26,), 0.025),
        (3, (40,), 0.025),
        (2, (10, 10, 10), 0.025),
    ],
)
def test_false_detections_in_noise_are_as_rare_as_the_p_value_says(size, lengths, max_rate):
    noise = np.random.default_rng(0).normal(0.5, 0.1, (1000, *lengths, 1))
    score = measured(noise, size)
    assert np.mean(score.p_value < 0.1) < 0.15
    assert np.mean(score.p_value < 0.01) < max_rate


@pytest.mark.parametrize("size", [2, 3])
def test_noise_scores_zero_on_average(size):
    noise = np.random.default_rng(0).normal(0.5, 0.1, (400, 32, 32, 1))
    assert abs(np.mean(measured(noise, size).band_db)) < 0.7


@pytest.mark.parametrize(
    ("numerator_dof", "denominator_dof"), [(1, 20), (3, 84), (15, 1680), (40, 100)]
)
def test_probabilities_are_those_of_the_f_distribution(numerator_dof, denominator_dof):
    rng = np.random.default_rng(0)
    samples = (
        rng.chisquare(numerator_dof, 200_000)
        / numerator_dof
        / (rng.chisquare(denominator_dof, 200_000) / denominator_dof)
    )
    for value in np.quantile(samples, [0.5, 0.9, 0.99]):
        probability = to_numpy(
            f_survival(
                ops.convert_to_tensor(value, dtype="float32"), numerator_dof, denominator_dof
            )
        )
        np.testing.assert_allclose(probability, np.mean(samples > value), rtol=0.08)


@pytest.mark.parametrize("numerator_dof", [1, 3, 7])
def test_probabilities_are_right_with_millions_of_bins(numerator_dof):
    # The denominator is then constant, and the distribution is chi-squared.
    values = np.array([0.01, 0.5, 1.0, 2.0, 4.0, 6.0])
    probabilities = to_numpy(
        f_survival(ops.convert_to_tensor(values, dtype="float32"), numerator_dof, 3e8)
    )
    x = (np.arange(2_000_000) + 0.5) * 1e-4
    density = x ** (numerator_dof / 2 - 1) * np.exp(-x / 2)
    expected = [density[x > numerator_dof * value].sum() / density.sum() for value in values]
    # Small probabilities are 1 minus a number in single precision.
    np.testing.assert_allclose(probabilities, np.maximum(expected, 5e-8), rtol=0.05, atol=1e-7)


@pytest.mark.parametrize(
    ("count", "numerator_dof", "denominator_dof"), [(1, 2, 16), (3, 1, 12), (9, 2, 40), (9, 5, 20)]
)
def test_mean_ratios_follow_their_fitted_distribution(count, numerator_dof, denominator_dof):
    rng = np.random.default_rng(0)
    shape = (200_000, count)
    samples = (
        rng.chisquare(numerator_dof, shape)
        / numerator_dof
        / (rng.chisquare(denominator_dof, shape) / denominator_dof)
    )
    samples = samples.mean(axis=1)
    fitted = MeanRatio.of(count, numerator_dof, denominator_dof)
    for value in np.quantile(samples, [0.5, 0.9, 0.99]):
        scaled = ops.convert_to_tensor(fitted.scale * value, dtype="float32")
        probability = to_numpy(f_survival(scaled, fitted.numerator_dof, fitted.denominator_dof))
        np.testing.assert_allclose(probability, np.mean(samples > value), rtol=0.12)


# PyTorch's compiler warns that Keras caches its dtype promotion.
@pytest.mark.filterwarnings("ignore:Dynamo detected a call:UserWarning")
def test_score_compiles_and_has_gradients():
    x = ops.convert_to_tensor(images((2, 24, 26, 2)) + 0.02, dtype="float32")

    def run(x):
        return checkerboard(x, 2, data_format="channels_last")

    if BACKEND == "torch":
        import torch

        # The tables are created outside of the graph.
        compiled_run = torch.compile(run, backend="eager")
    else:
        compiled_run = jitted(run)
    for compiled, eager in zip(compiled_run(x), run(x), strict=True):
        np.testing.assert_allclose(to_numpy(compiled), to_numpy(eager), rtol=1e-3, atol=1e-5)

    def amplitude(x):
        return run(x).amplitude

    shape = (1, 24, 26, 2)
    flat = np.ones(shape)  # an amplitude of zero, where the root has no finite gradient
    striped = images(shape) + 0.1 * pattern(shape, (2, 2))
    start = np.concatenate([to_numpy(x), flat, striped]).astype("float32")
    (gradient,) = gradients(amplitude, [ops.convert_to_tensor(start)], ops.ones(len(start)))
    assert np.isfinite(gradient).all()
    descent = 0.01 * gradient[-1:] / abs(gradient[-1]).max()
    before, after = measured(np.concatenate([striped, striped - descent]), 2).amplitude
    assert after < before


def test_half_precision_is_measured_in_float32():
    x = ops.convert_to_tensor(images((1, 24, 24, 1)), dtype="float16")
    score = evaluate(lambda x: checkerboard(x, 2, data_format="channels_last"), x)
    assert keras.backend.standardize_dtype(score.db.dtype) == "float32"


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_shortest_axis_is_long_enough(rank, size):
    shortest = shortest_length(size, rank)
    lengths = (shortest // size * size,) * rank
    table = harmonics(lengths, (size,) * rank)
    assert (table.line_surroundings[0] > 0).sum() >= 8
    for kinds in (table.line_surroundings, table.band_surroundings):
        np.testing.assert_allclose(kinds.sum(axis=-1), 1)
    # No bin of the surroundings is adjacent to the next harmonic.
    reach = table.bins[0].shape[1] // 2
    assert reach + 1 < lengths[0] // size
    x = np.zeros((1, *[shortest] * rank, 1), "float32")
    measured(x, size)
    with pytest.raises(ValueError, match=f"size {size} needs an axis of {shortest} samples"):
        checkerboard(x[:, 1:], size, data_format="channels_last")


def test_conjugate_harmonics_are_listed_once():
    table = harmonics((24, 24), (4, 3))
    assert table.multiplicity.sum() == 4 * 3 - 1
    assert sorted(set(table.denominator.tolist())) == [2, 3, 4, 6, 12]


def test_bad_arguments_are_refused():
    x = np.zeros((1, 24, 24, 1), "float32")
    with pytest.raises(ValueError, match=r"`size` must be 2 or more .* Received: size=\(1, 1\)"):
        checkerboard(x, 1)
    with pytest.raises(TypeError, match="`size` must be a positive integer"):
        checkerboard(x, 2.0)
    with pytest.raises(ValueError, match=r"reference` must have the shape .* \(1, 24, 23, 1\)"):
        checkerboard(x, 2, reference=x[:, :, 1:], data_format="channels_last")
    with pytest.raises(ValueError, match="needs an axis of 12 samples or more with a reference"):
        checkerboard(x[:, :11], 2, reference=x[:, :11], data_format="channels_last")
    with pytest.raises(ValueError, match="one, two or three spatial axes"):
        checkerboard(x[0, 0], 2)
    for data_range in ("1", None, np.ones(2)):
        with pytest.raises(TypeError, match="`data_range` must be a number above 0"):
            checkerboard(x, 2, data_range=data_range)
    for images, reference in ((1j * x, None), (x, 1j * x)):
        with pytest.raises(TypeError, match="must be real numbers"):
            checkerboard(images, 2, reference=reference)
    with pytest.raises(TypeError, match=r"symbolic .* use metrics\.Checkerboard"):
        checkerboard(keras.Input((24, 24, 1)), 2)
