"""`plots.image`: a plot of an image, its spectrum and its pattern."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from keras_upsampling._arguments import positive_ints
from keras_upsampling._shapes import data_format_or_default
from keras_upsampling._types import IntPerAxis
from keras_upsampling.maths.spectrum import (
    harmonic_places,
    phase_means,
    power_spectrum,
    strongest,
)
from keras_upsampling.metrics.image_scores import checkerboard_score
from keras_upsampling.ops._checkerboard.score import MIN_AMPLITUDE, CheckerboardScore
from keras_upsampling.ops.checkerboards import weighted_maps
from keras_upsampling.ops.inputs import refuse_complex
from keras_upsampling.ops.tables import compiled_on_jax

_weighted_maps = compiled_on_jax(weighted_maps, ("size", "data_range", "data_format"))

# Colour maps that colour-blind readers can distinguish: sequential, and diverging from white.
_POWER, _SIGNED = "viridis", "RdBu_r"
_MINUS, _TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
# With at most this many cells per axis, a single cell of the spectrum is large enough to see.
_MAX_CELLS = 65
# Power 60 dB below the smallest amplitude of a detected pattern: lower powers have one colour.
_FLOOR = (1e-3 * MIN_AMPLITUDE) ** 2
# The colours of a tile span at least this fraction of the range, so that noise looks pale.
_MIN_SPAN = 5 * MIN_AMPLITUDE
# The numbers fit into the cells of tiles with at most this many phases per axis.
_MAX_NUMBERS = 6


def image(
    image: Any,
    size: IntPerAxis = 2,
    *,
    data_range: float = 1.0,
    data_format: str | None = None,
) -> Figure:
    """Plot an image and its pattern of period `size`.

    The figure has three panels:

    - On the left, the image.
    - In the middle, its spectrum as the score uses it: after the high-pass, and with the weights
      that favour flat regions over edges. 0 dB is an amplitude of the complete `data_range`. A
      pattern has its power only in the bins in the middle of the rings; other content also fills
      the bins around them.
    - On the right, the weighted mean of every phase minus the mean over the phases: the pattern
      itself, in the unit of the image.

    With several channels, the spectrum is the mean power, and the right panel shows the channel
    with the strongest pattern: in a mean, opposite patterns would cancel. In a spectrum with more
    than 65 bins along an axis, every cell shows the strongest of its bins.

    Args:
        image: One image: `(height, width)`, `(height, width, channels)`, or
            `(channels, height, width)` with `data_format="channels_first"`. Three channels are
            drawn as red, green and blue; for other numbers of channels, their mean is drawn. For a
            batch, pass `images[0]`. Signals and volumes are not supported.
        size: Period of the pattern, for both axes or one per axis, as in `checkerboard_score`.
        data_range: Difference between the highest and the lowest value that images can have:
            255 for bytes.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        A `matplotlib.figure.Figure` with the result of `checkerboard_score` as its title. Save it
        with `figure.savefig("score.png")`.

    Raises:
        ImportError: If matplotlib is not installed, at `import keras_upsampling.plots`.
        TypeError: If a factor is not an integer, `data_range` is not a number, or the image is
            complex.
        ValueError: If `image` is not one image with two spatial axes, or as in
            `checkerboard_score`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import plots
        >>> image = np.random.default_rng(0).normal(0.5, 0.01, (64, 64))
        >>> image[::2] += 0.01  # stripes: every second row is brighter
        >>> figure = plots.image(image, 2)
        >>> figure.get_suptitle().split(", ")[-1]
        'p ≤ 1e-07: detected'

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill.
    """
    pixels = _one_image(image, data_format)
    size = positive_ints(size, 2, "size")
    batch = pixels[None]
    score = checkerboard_score(batch, size, data_range=data_range, data_format="channels_last")
    tensors = _weighted_maps(batch, size=size, data_range=data_range, data_format="channels_last")
    maps, weights = (np.asarray(ops.convert_to_numpy(x), dtype="float64") for x in tensors)

    figure = Figure(figsize=(13, 4.3), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    left, middle, right = figure.subplots(1, 3)
    figure.suptitle(f"Period {_period(size)}: {_summary(score)}")
    _draw_pixels(left, pixels, data_range)
    _draw_spectrum(middle, maps, weights, size)
    tiles = data_range * phase_means(maps, weights, size)
    _draw_tile(right, tiles, data_range)
    return figure


def _one_image(values: Any, data_format: str | None) -> np.ndarray:
    """Return an image as an array `(height, width, channels)`."""
    data_format = data_format_or_default(data_format)
    values = ops.convert_to_numpy(values)
    refuse_complex(values.dtype.name, "image")
    pixels = np.asarray(values, dtype="float32")
    expected = "(height, width, channels)"
    if data_format == "channels_first":
        expected = "(channels, height, width)"
    if pixels.ndim not in (2, 3):
        remedy = {
            1: "Signals are not drawn; use `checkerboard_score` to measure them",
            4: "Pass one image of a batch, such as images[0]",
        }.get(pixels.ndim, "Pass one image")
        raise ValueError(
            f"Expected one image of shape (height, width) or {expected}. Received: shape "
            f"{pixels.shape}. {remedy}."
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif data_format == "channels_first":
        pixels = np.moveaxis(pixels, 0, -1)
    if 1 in pixels.shape[:2]:
        raise ValueError(
            f"Expected one image of shape (height, width) or {expected}. Received: shape "
            f"{np.shape(values)}, {data_format.replace('_', ' ')}, with one pixel along an axis. "
            "Signals are not drawn; use `checkerboard_score` to measure them."
        )
    return pixels


def _summary(score: CheckerboardScore) -> str:
    """Return the score of one image as a sentence."""
    db, amplitude, _, p_value, detected = (values[0] for values in score)
    relation = "≤" if p_value < 1.01e-7 else "="  # the score's smallest p-value
    decibels = f"{round(float(db), 1) + 0.0:.1f}".replace("-", _MINUS)  # + 0.0: never "-0.0"
    return (
        f"{decibels} dB, amplitude {amplitude:.3g}, p {relation} {p_value:.2g}: "
        f"{'detected' if detected else 'not detected'}"
    )


def _period(size: tuple[int, ...]) -> str:
    return _TIMES.join(map(str, size if len(set(size)) > 1 else size[:1]))


def _draw_pixels(ax: Axes, pixels: np.ndarray, data_range: float) -> None:
    """Draw the image, with colours from 0 to `data_range` if its values lie between them."""
    channels = pixels.shape[-1]
    pixels = pixels.astype("float64")
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= data_range:
        low, high = 0.0, data_range
    ax.set(title="Image", xlabel="column", ylabel="row")
    if channels == 3:
        ax.imshow((pixels - low) / max(high - low, 1e-30))
        return
    if channels > 1:
        ax.set_title(f"Image, mean of {channels} channels")
    artist = ax.imshow(pixels.mean(axis=-1), cmap="gray", vmin=low, vmax=high)
    _add_colour_bar(ax, artist, "value")


def _draw_spectrum(ax: Axes, maps: np.ndarray, weights: np.ndarray, size: tuple[int, ...]) -> None:
    """Draw the power at all frequencies in decibels, and rings around the harmonics."""
    spectrum = strongest(power_spectrum(maps, weights), _MAX_CELLS)
    db = 10 * np.log10(spectrum.power + _FLOOR)
    highest = max(db.max(), 10 * math.log10(_FLOOR) + 20)  # a flat image is dark everywhere
    rows, columns = spectrum.edges
    artist = ax.imshow(
        db,
        cmap=_POWER,
        # The quantile keeps the colours for powers that the high-pass does not remove, and the
        # 20 dB keep them from showing rounding errors.
        vmin=min(np.quantile(db, 0.05), highest - 20),
        vmax=highest,
        # Rows increase downwards as in the image, so that waves have the same direction in both.
        extent=(columns[0], columns[-1], rows[-1], rows[0]),
        interpolation="nearest",
        aspect="auto",
    )
    places = harmonic_places(size)
    rings = ax.scatter(
        places[:, 1], places[:, 0], s=130, facecolors="none", edgecolors="white", linewidths=1.3
    )
    # White rings are visible on dark cells, their black rim on bright cells.
    rings.set_path_effects([patheffects.withStroke(linewidth=3.3, foreground="black")])
    ax.set(
        title=f"Weighted power after the high-pass\nrings: harmonics of period {_period(size)}",
        xlabel="cycles per pixel, horizontal",
        ylabel="cycles per pixel, vertical",
        xlim=(-0.56, 0.56),
        ylim=(0.56, -0.56),
        xticks=[-0.5, -0.25, 0, 0.25, 0.5],
        yticks=[-0.5, -0.25, 0, 0.25, 0.5],
        box_aspect=1,
        facecolor="0.85",
    )
    _add_colour_bar(ax, artist, "dB (0 dB: the complete range)")


def _draw_tile(ax: Axes, tiles: np.ndarray, data_range: float) -> None:
    """Draw the phase means of the channel in which they differ most."""
    channel = int(np.argmax((tiles**2).sum(axis=(1, 2))))
    tile = tiles[channel]
    span = max(float(abs(tile).max()), _MIN_SPAN * data_range)
    artist = ax.imshow(tile, cmap=_SIGNED, vmin=-span, vmax=span, aspect="auto")
    title = "Mean of each phase minus the overall mean"
    if len(tiles) > 1:
        title += f"\nchannel {channel}, the strongest of {len(tiles)}"
    rows, columns = tile.shape
    ax.set(
        title=title,
        xlabel=f"column, modulo {columns}",
        ylabel=f"row, modulo {rows}",
        xticks=range(columns),
        yticks=range(rows),
        box_aspect=1,
    )
    if max(tile.shape) <= _MAX_NUMBERS:
        numbers = {place: _signed(value, span) for place, value in np.ndenumerate(tile)}
        longest = max(map(len, numbers.values()))
        for (row, column), number in numbers.items():
            ax.text(
                column,
                row,
                number,
                ha="center",
                va="center",
                fontsize=min(10, 280 / (columns * longest)),
                color="white" if abs(tile[row, column]) > 0.6 * span else "black",
            )
    _add_colour_bar(ax, artist, "unit of the image")


def _signed(value: float, span: float) -> str:
    """Return a number as text with its sign; a number as large as `span` gets two digits."""
    decimals = 1 - math.floor(math.log10(span))
    if not 0 <= decimals <= 5:
        return f"{value:+.0e}".replace("-", _MINUS)
    value = round(value, decimals)
    return f"{value:+.{decimals}f}".replace("-", _MINUS) if value else "0"


def _add_colour_bar(ax: Axes, artist: Any, label: str) -> None:
    # An inset has the height of the panel, unlike a bar with axes of its own.
    bar = ax.inset_axes((1.04, 0, 0.05, 1))
    ax.figure.colorbar(artist, cax=bar, label=label)
