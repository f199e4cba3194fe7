import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from keras import ops
from matplotlib.figure import Figure
from matplotlib.image import imread

from keras_upsampling import checkerboard_score, plots
from tests import checkerboard_oracle as oracle

LAST = {"data_format": "channels_last"}
TILE = np.array([[0.03, -0.01], [-0.02, 0.0]])


def picture(shape=(32, 40), seed=0):
    """Hills with some noise."""
    rng = np.random.default_rng(seed)
    hills = np.cumsum(np.cumsum(rng.standard_normal(shape), axis=0), axis=1)
    return 0.5 + 0.3 * hills / abs(hills).max() + 0.005 * rng.standard_normal(shape)


def tiled(tile, shape):
    repeats = [-(-n // s) for n, s in zip(shape, np.shape(tile), strict=True)]
    return np.tile(tile, repeats)[: shape[0], : shape[1]]


def panels(figure):
    """Return the three panels, without their colour bars."""
    return figure.axes[:3]


def bars(figure):
    return [child for ax in panels(figure) for child in ax.child_axes]


def image_data(ax):
    return np.asarray(ax.images[0].get_array())


def decibels(maps, size):
    """Return the expected spectrum, with the high-pass and the weights of the oracle."""
    powers = []
    for x in maps:
        r = oracle.high_pass(x, size)
        r = r[tuple(slice(n // s * s) for n, s in zip(r.shape, size, strict=True))]
        w = oracle.weights(r, size)
        powers.append(abs(np.fft.fft2(w * r) / w.sum()) ** 2)
    return 10 * np.log10(np.mean(powers, axis=0) + 1e-12)


def test_title_is_the_score():
    clean = picture()
    dirty = clean + tiled(TILE, clean.shape)
    for image, verdict in ((clean, "not detected"), (dirty, "detected")):
        score = checkerboard_score(image[None, ..., None], 2, **LAST)
        title = plots.image(image, 2, **LAST).get_suptitle()
        assert title.startswith(f"Period 2: {score.db[0]:.1f} dB".replace("-", "\N{MINUS SIGN}"))
        assert f"amplitude {score.amplitude[0]:.3g}," in title
        assert title.endswith(f" {score.p_value[0]:.2g}: {verdict}")
    assert "p ≤ 1e-07: detected" in title
    assert "p = " in plots.image(clean, 2, **LAST).get_suptitle()


def test_left_panel_is_the_grey_image():
    image = picture()
    for array in (image, image[..., None], ops.convert_to_tensor(image, dtype="float32")):
        left = panels(plots.image(array, **LAST))[0]
        np.testing.assert_allclose(image_data(left), image, atol=1e-6)
        assert left.images[0].get_clim() == (0, 1)
    overshooting = image - 0.5
    left = panels(plots.image(overshooting, **LAST))[0]
    np.testing.assert_allclose(left.images[0].get_clim(), (overshooting.min(), overshooting.max()))


def test_colours_are_divided_by_the_range():
    image = np.stack([picture(seed=i) for i in range(3)], axis=-1)
    left = panels(plots.image(255 * image, data_range=255, **LAST))[0]
    np.testing.assert_allclose(image_data(left), image, atol=1e-6)
    overshooting = 2 * image - 1
    low, high = overshooting.min(), overshooting.max()
    left = panels(plots.image(overshooting, data_range=2, **LAST))[0]
    np.testing.assert_allclose(image_data(left), (overshooting - low) / (high - low), atol=1e-6)


def test_other_numbers_of_channels_are_drawn_as_their_mean():
    image = np.stack([picture(seed=i) for i in range(4)], axis=-1)
    left = panels(plots.image(image, **LAST))[0]
    np.testing.assert_allclose(image_data(left), image.mean(axis=-1), atol=1e-6)
    assert left.get_title() == "Image, mean of 4 channels"


def test_channels_first_has_the_same_figure():
    image = np.stack([picture(seed=i) for i in range(3)], axis=-1)
    last = plots.image(image, **LAST)
    first = plots.image(np.moveaxis(image, -1, 0), data_format="channels_first")
    flat = plots.image(image[..., 0], data_format="channels_first")
    for ax, first_ax in zip(panels(last), panels(first), strict=True):
        np.testing.assert_allclose(image_data(ax), image_data(first_ax))
    np.testing.assert_allclose(image_data(panels(flat)[0]), image[..., 0], atol=1e-6)


@pytest.mark.parametrize("size", [(2, 2), (1, 2), (4, 3)])
def test_spectrum_is_that_of_the_weighted_high_pass(size):
    image = np.stack([picture(seed=i) for i in range(2)], axis=-1)
    middle = panels(plots.image(image, size, **LAST))[1]
    expected = decibels(np.moveaxis(image, -1, 0), size)
    left, right, bottom, top = middle.images[0].get_extent()
    cells = image_data(middle)
    rows, columns = (
        a + (np.arange(n) + 0.5) * (b - a) / n
        for a, b, n in ((top, bottom, cells.shape[0]), (left, right, cells.shape[1]))
    )
    # Cells lie at the frequencies of the bins of the plain transform.
    for axis, frequencies in ((0, rows), (1, columns)):
        n = expected.shape[axis]
        bins = frequencies * n
        np.testing.assert_allclose(bins, bins.round(), atol=1e-9)
        np.testing.assert_allclose(abs(frequencies).max(), n // 2 / n)
        expected = expected.take(bins.round().astype(int) % n, axis=axis)
    # At the zeros of the high-pass, only rounding errors are left.
    strong = expected > expected.max() - 60
    assert strong.mean() > 0.9
    np.testing.assert_allclose(cells[strong], expected[strong], atol=0.05)
    assert middle.images[0].get_clim()[1] == cells.max()


def test_a_pattern_has_its_amplitude_in_the_spectrum():
    image = np.full((32, 40), 0.5)
    image += 0.02 * (-1.0) ** np.add(*np.indices(image.shape))
    middle = panels(plots.image(image, **LAST))[1]
    corners = image_data(middle)[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners, 20 * np.log10(0.02), atol=0.01)
    assert np.sort(image_data(middle).ravel())[-5] < -100


def test_opposite_patterns_do_not_cancel():
    pattern = tiled(TILE, (32, 40))
    image = picture()[..., None] + pattern[..., None] * [1, -1]
    grey = plots.image(image[..., 0], **LAST)
    both = plots.image(image, **LAST)
    for place in ((0, 0), (0, -1)):
        corner = image_data(panels(both)[1])[place]
        assert abs(corner - image_data(panels(grey)[1])[place]) < 1
    assert abs(image_data(panels(both)[2])).max() > 0.02


def test_large_spectra_show_their_strongest_bins():
    image = picture((150, 140)) + 0.003 * (-1.0) ** np.add(*np.indices((150, 140)))
    middle = panels(plots.image(image, **LAST))[1]
    assert max(image_data(middle).shape) <= 65
    assert image_data(middle)[0, 0] == image_data(middle).max()
    np.testing.assert_allclose(image_data(middle)[0, 0], 20 * np.log10(0.003), atol=0.5)


@pytest.mark.parametrize(
    ("size", "frequencies"),
    [
        (2, ([-0.5, 0, 0.5],) * 2),
        (3, ([-1 / 3, 0, 1 / 3],) * 2),
        (4, ([-0.5, -0.25, 0, 0.25, 0.5],) * 2),
        ((1, 2), ([0], [-0.5, 0, 0.5])),
    ],
)
def test_harmonics_have_rings(size, frequencies):
    middle = panels(plots.image(picture(), size, **LAST))[1]
    (rings,) = middle.collections
    places = {(round(y, 6), round(x, 6)) for x, y in rings.get_offsets().tolist()}
    expected = {(round(y, 6), round(x, 6)) for y in frequencies[0] for x in frequencies[1]} - {
        (0, 0)
    }
    assert places == expected
    assert len(rings.get_offsets()) == len(expected)
    # Rings at the edges are completely visible.
    assert max(abs(np.array(middle.get_xlim()))) > 0.52
    assert rings.get_facecolors().size == 0
    assert rings.get_path_effects()


@pytest.mark.parametrize(
    ("size", "data_range"), [((2, 2), 1), ((3, 3), 255), ((1, 2), 1), ((4, 3), 1)]
)
def test_right_panel_is_the_pattern(size, data_range):
    tile = np.random.default_rng(0).standard_normal(size)
    tile = 0.02 * (tile - tile.mean()) / tile.std()
    image = np.full((32, 40), 0.5) + tiled(tile, (32, 40))
    right = panels(plots.image(data_range * image, size, data_range=data_range, **LAST))[2]
    np.testing.assert_allclose(image_data(right), data_range * tile, atol=1e-5 * data_range)
    low, high = right.images[0].get_clim()
    assert -low == high == pytest.approx(data_range * abs(tile).max(), rel=1e-3)
    for text in right.texts:
        column, row = text.get_position()
        value = float(text.get_text().replace("\N{MINUS SIGN}", "-"))
        assert abs(value - data_range * tile[row, column]) <= 0.06 * high
    assert len(right.texts) == tile.size


def test_right_panel_shows_the_strongest_channel():
    image = np.stack([np.full((32, 40), 0.5)] * 3, axis=-1)
    image += tiled(TILE, (32, 40))[..., None] * [0.2, -1, 0.5]
    right = panels(plots.image(image, **LAST))[2]
    np.testing.assert_allclose(image_data(right), -TILE, atol=1e-5)
    assert "channel 1, the strongest of 3" in right.get_title()
    assert "channel" not in panels(plots.image(image[..., 0], **LAST))[2].get_title()


def test_large_tiles_have_no_numbers():
    assert not panels(plots.image(picture((50, 60)), 7, **LAST))[2].texts


def test_noise_is_pale_and_flat_images_have_a_dark_spectrum():
    rng = np.random.default_rng(0)
    right = panels(plots.image(rng.normal(0.5, 0.001, (32, 40)), **LAST))[2]
    assert 0 < abs(image_data(right)).max() < 0.1 * right.images[0].get_clim()[1]
    _, middle, right = panels(plots.image(np.full((32, 40), 0.5), **LAST))
    assert image_data(middle).max() <= middle.images[0].get_clim()[0] + 1
    assert {text.get_text() for text in right.texts} == {"0"}


CASES = {
    "grey": (picture(), 2),
    "colour": (np.stack([picture(seed=i) for i in range(3)], axis=-1), 4),
    "tiny": (picture((10, 10)), 2),
    "wide": (picture((20, 200)), (1, 2)),
    "tall": (picture((150, 40)), 3),
    "large": (picture((256, 256)), 6),
    "flat": (np.full((24, 24), 0.5), 2),
}


@pytest.mark.parametrize("case", CASES)
def test_figures_have_labels_and_nothing_overlaps(case):
    image, size = CASES[case]
    figure = plots.image(image, size, **LAST)
    assert type(figure) is Figure
    for ax in panels(figure):
        assert ax.get_title()
        assert ax.get_xlabel()
        assert ax.get_ylabel()
    assert len(bars(figure)) == (2 if case == "colour" else 3)
    assert all(bar.get_ylabel() for bar in bars(figure))

    file = io.BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    pixels = imread(file)
    assert pixels.shape == (430, 1300, 4)
    assert len(np.unique(pixels[..., :3].reshape(-1, 3), axis=0)) > 50
    # Panels with their labels and bars, from left to right, below the title of the figure.
    boxes = [ax.get_tightbbox() for ax in panels(figure)]
    for box, next_box in itertools.pairwise(boxes):
        assert box.x1 < next_box.x0
    assert boxes[0].x0 >= 0
    assert boxes[-1].x1 <= figure.bbox.x1
    assert min(box.y0 for box in boxes) >= 0
    assert max(box.y1 for box in boxes) <= figure._suptitle.get_window_extent().y0
    right = panels(figure)[2]
    cell = right.bbox.width / image_data(right).shape[1]
    assert all(text.get_window_extent().width < cell for text in right.texts)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((64,), r"Received: shape \(64,\)\. Signals are not drawn"),
        ((64, 1), r"Received: shape \(64, 1\).* one pixel along an axis\. Signals are not drawn"),
        ((1, 64, 3), r"\(1, 64, 3\).* Signals are not drawn"),
        ((4, 32, 32, 3), r"\(4, 32, 32, 3\)\. Pass one image of a batch, such as images\[0\]"),
        ((2, 8, 8, 8, 1), r"\(2, 8, 8, 8, 1\)\. Pass one image"),
        ((3, 32, 32), "size 2 needs an axis of 10 samples .* pass their `data_format`"),
        ((0, 32), "must not be empty"),
    ],
)
def test_arrays_that_are_not_one_image_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        plots.image(np.zeros(shape), **LAST)


def test_bad_arguments_are_refused():
    image = picture()
    with pytest.raises(TypeError, match=r"`size` must be a positive integer.*2\.0"):
        plots.image(image, 2.0)
    with pytest.raises(ValueError, match="2 or more on some axis"):
        plots.image(image, 1)
    with pytest.raises(ValueError, match="or 2 of them, one per axis"):
        plots.image(image, (2, 2, 2))
    with pytest.raises(TypeError, match=r"`data_range` must be a number above 0.*'1'"):
        plots.image(image, data_range="1")
    with pytest.raises(TypeError, match=r"`image` must be real numbers.*complex"):
        plots.image(1j * image)
    with pytest.raises(ValueError, match="data_range=255 for bytes"):
        plots.image(255 * image)
    with pytest.raises(ValueError, match="Unknown `data_format`"):
        plots.image(image, data_format="first")


def run(program):
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_matplotlib_the_import_says_how_to_install_it():
    program = """
import sys
sys.modules["matplotlib"] = None
import keras_upsampling
assert not hasattr(keras_upsampling, "plots")
import keras_upsampling.plots
"""
    message = run(program).stderr.splitlines()[-1]
    assert message.startswith("ImportError: ")
    assert 'pip install "keras_upsampling[plot]"' in message


def test_drawing_does_not_use_pyplot_or_change_settings():
    # Keras imports pyplot if it can. With pyplot disabled, an import by the package would fail.
    program = """
import io, sys
sys.modules["matplotlib.pyplot"] = None
import matplotlib, numpy
before = matplotlib.rcParams.copy()
from keras_upsampling import plots
plots.image(numpy.random.default_rng(0).random((16, 16))).savefig(io.BytesIO(), format="png")
assert matplotlib.rcParams == before
assert sys.modules["matplotlib.pyplot"] is None
"""
    result = run(program)
    assert result.returncode == 0, result.stderr
