"""`plots.image`: an image, its spectrum and its pattern."""

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
from keras_upsampling.ops._checkerboard.score import LEAST_AMPLITUDE, CheckerboardScore
from keras_upsampling.ops.checkerboards import weighted_maps
from keras_upsampling.ops.inputs import refuse_complex
from keras_upsampling.ops.tables import compiled_on_jax

_weighted_maps = compiled_on_jax(weighted_maps, ("size", "data_range", "data_format"))

# Colours that all can tell apart: brighter is more; and either way from white.
_POWER, _SIGNED = "viridis", "RdBu_r"
_MINUS, _BY = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
# Cells of a spectrum that are large enough to see one alone.
_MOST_CELLS = 65
# What is 60 dB below an amplitude of 0.001, where patterns begin to count, is drawn as nothing.
_FLOOR = (1e-3 * LEAST_AMPLITUDE) ** 2
# The colours of a tile span this share of the range at least: chance is to look pale.
_LEAST_SPAN = 5 * LEAST_AMPLITUDE
# The numbers of so many phases fit into a tile.
_MOST_NUMBERS = 6


def image(
    image: Any,
    size: IntPerAxis = 2,
    *,
    data_range: float = 1.0,
    data_format: str | None = None,
) -> Figure:
    """Draw an image, and the pattern in it that repeats each `size` pixels.

    Three panels. On the left the image. In the middle the power of its frequencies as the score
    compares them: after the high-pass, and with the weights that make flat regions count and edges
    not, since nothing shows a pattern better. 0 dB is an amplitude of the whole `data_range`; a
    pattern is on the bins in the middle of the rings alone, and content goes on around them. On
    the right the mean of every phase, likewise weighted, less the mean of all: the pattern itself,
    in the unit of the image.

    Of several channels the spectrum shows the mean power, and the right panel the channel with the
    strongest pattern: in a mean, opposite patterns would cancel. In a spectrum of more than 65
    bins along an axis every cell shows the strongest of its bins.

    Args:
        image: One image: `(height, width)`, `(height, width, channels)`, or
            `(channels, height, width)` with `data_format="channels_first"`. Three channels are
            drawn as red, green and blue, of other numbers their mean. Of a batch, pass `images[0]`;
            signals and volumes are not drawn.
        size: Period of the pattern, for both axes or one per axis, as in `checkerboard_score`.
        data_range: Difference between the highest and the lowest value that images can have:
            255 for bytes.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.

    Returns:
        A `matplotlib.figure.Figure`, with the score of `checkerboard_score` as its title:
        `figure.savefig("score.png")` writes it.

    Raises:
        ImportError: at `import keras_upsampling.plots`, where matplotlib is missing.
        TypeError: a factor is not an integer, `data_range` no number, or the image is complex.
        ValueError: not one image of two spatial axes, or as in `checkerboard_score`.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import plots
        >>> image = np.random.default_rng(0).normal(0.5, 0.01, (64, 64))
        >>> image[::2] += 0.01  # stripes: every second row is lighter
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
    found = _weighted_maps(batch, size=size, data_range=data_range, data_format="channels_last")
    maps, weights = (np.asarray(ops.convert_to_numpy(x), dtype="float64") for x in found)

    figure = Figure(figsize=(13, 4.3), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    left, middle, right = figure.subplots(1, 3)
    figure.suptitle(f"Period {_times(size)}: {_in_words(score)}")
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
    whole = "(height, width, channels)"
    if data_format == "channels_first":
        whole = "(channels, height, width)"
    if pixels.ndim not in (2, 3):
        mend = {
            1: "signals are not drawn; `checkerboard_score` measures them",
            4: "pass one image of a batch, such as images[0]",
        }.get(pixels.ndim, "pass one image")
        raise ValueError(
            f"Expected one image, of shape (height, width) or {whole}. Received shape "
            f"{pixels.shape}; {mend}."
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif data_format == "channels_first":
        pixels = np.moveaxis(pixels, 0, -1)
    if 1 in pixels.shape[:2]:
        raise ValueError(
            f"Expected one image, of shape (height, width) or {whole}. Received shape "
            f"{np.shape(values)}, {data_format.replace('_', ' ')}, with one pixel along an axis: "
            "signals are not drawn; `checkerboard_score` measures them."
        )
    return pixels


def _in_words(score: CheckerboardScore) -> str:
    """Return what the score of one image says."""
    db, amplitude, _, p_value, detected = (part[0] for part in score)
    least = "≤" if p_value < 1.01e-7 else "="  # the score's own least
    decibels = f"{round(float(db), 1) + 0.0:.1f}".replace("-", _MINUS)  # not minus zero
    return (
        f"{decibels} dB, amplitude {amplitude:.3g}, p {least} {p_value:.2g}: "
        f"{'detected' if detected else 'not detected'}"
    )


def _times(size: tuple[int, ...]) -> str:
    return _BY.join(map(str, size if len(set(size)) > 1 else size[:1]))


def _draw_pixels(ax: Axes, pixels: np.ndarray, data_range: float) -> None:
    """Draw the image itself, between 0 and the range if it keeps to them."""
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
    shown = ax.imshow(pixels.mean(axis=-1), cmap="gray", vmin=low, vmax=high)
    _add_bar(ax, shown, "value")


def _draw_spectrum(ax: Axes, maps: np.ndarray, weights: np.ndarray, size: tuple[int, ...]) -> None:
    """Draw the power of all frequencies, in decibels, and rings around the harmonics."""
    spectrum = strongest(power_spectrum(maps, weights), _MOST_CELLS)
    db = 10 * np.log10(spectrum.power + _FLOOR)
    highest = max(db.max(), 10 * math.log10(_FLOOR) + 20)  # nothing at all is dark
    rows, columns = spectrum.edges
    shown = ax.imshow(
        db,
        cmap=_POWER,
        # What the high-pass takes out would have most of the colours. And not all of them for
        # rounding errors.
        vmin=min(np.quantile(db, 0.05), highest - 20),
        vmax=highest,
        # Rows go down, as in the image: a wave's direction is the same in both.
        extent=(columns[0], columns[-1], rows[-1], rows[0]),
        interpolation="nearest",
        aspect="auto",
    )
    places = harmonic_places(size)
    rings = ax.scatter(
        places[:, 1], places[:, 0], s=130, facecolors="none", edgecolors="white", linewidths=1.3
    )
    # White for what is dark, with a black rim for what is bright.
    rings.set_path_effects([patheffects.withStroke(linewidth=3.3, foreground="black")])
    ax.set(
        title=f"Power after the high-pass, weighted\nrings: harmonics of period {_times(size)}",
        xlabel="cycles per pixel, across",
        ylabel="cycles per pixel, down",
        xlim=(-0.56, 0.56),
        ylim=(0.56, -0.56),
        xticks=[-0.5, -0.25, 0, 0.25, 0.5],
        yticks=[-0.5, -0.25, 0, 0.25, 0.5],
        box_aspect=1,
        facecolor="0.85",
    )
    _add_bar(ax, shown, "dB (0 dB: the whole range)")


def _draw_tile(ax: Axes, tiles: np.ndarray, data_range: float) -> None:
    """Draw the means of the phases, those of the channel where they differ most."""
    channel = int(np.argmax((tiles**2).sum(axis=(1, 2))))
    tile = tiles[channel]
    span = max(float(abs(tile).max()), _LEAST_SPAN * data_range)
    shown = ax.imshow(tile, cmap=_SIGNED, vmin=-span, vmax=span, aspect="auto")
    title = "Mean of each phase, less that of all"
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
    if max(tile.shape) <= _MOST_NUMBERS:
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
    _add_bar(ax, shown, "unit of the image")


def _signed(value: float, span: float) -> str:
    """Write a number with its sign, with two digits where it is as large as `span`."""
    decimals = 1 - math.floor(math.log10(span))
    if not 0 <= decimals <= 5:
        return f"{value:+.0e}".replace("-", _MINUS)
    value = round(value, decimals)
    return f"{value:+.{decimals}f}".replace("-", _MINUS) if value else "0"


def _add_bar(ax: Axes, shown: Any, label: str) -> None:
    # Beside the panel and as high as it, which a bar with axes of its own is not.
    bar = ax.inset_axes((1.04, 0, 0.05, 1))
    ax.figure.colorbar(shown, cax=bar, label=label)
