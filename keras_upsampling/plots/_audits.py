"""`plots.audit` and `plots.overlap`: what layers make checkerboards of."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_upsampling._tables import by
from keras_upsampling._types import IntPerAxis
from keras_upsampling.auditing.kernels import audit_kernel
from keras_upsampling.auditing.report import Audit, LayerAudit, measured

# Told apart by lightness and by lines as well as by colour.
_STYLES: dict[str, dict[str, Any]] = {
    "gain": {"color": "#006BA4"},
    "ramp": {"color": "#FFBC79", "hatch": "//", "edgecolor": "black", "linewidth": 0.5},
    "power": {"color": "#898989"},
}
_LABELS = {
    "gain": "gain: answers to a constant",
    "ramp": "ramp: answers to a slope",
    "power": "power: noise",
}
# How many periods of an overlap map are drawn, and how many numbers fit into one.
_PERIODS = 4
_MOST_NUMBERS = 24


def audit(audit: Audit) -> Figure:
    """Draw what an audit says: a bar for each ripple of each layer, and what was measured.

    Args:
        audit: What `keras_upsampling.audit` returned.

    Returns:
        A `matplotlib.figure.Figure`: above, layers that enlarge; below, the gradients of those
        that make maps smaller; each in the order of the calls, with the ripples in percent of the
        layer's mean. Its title is what was measured of the whole.

    Raises:
        ImportError: at `import keras_upsampling.plots`, where matplotlib is missing.
        TypeError: not an audit.

    Example:
        >>> import keras
        >>> import keras_upsampling
        >>> from keras_upsampling import plots
        >>> up = keras.layers.Conv2DTranspose(4, 3, strides=2, name="up")
        >>> found = keras_upsampling.audit(keras.Sequential([keras.Input((8, 8, 8)), up]))
        >>> figure = plots.audit(found)
        >>> figure.axes[0].get_title()
        'Layers that enlarge'
    """
    if not isinstance(audit, Audit):
        raise TypeError(
            f"Expected what `keras_upsampling.audit` returns. Received {audit!r}; audit it first."
        )
    groups = [
        ("Layers that enlarge", [one for one in audit.layers if one.enlarges]),
        ("Gradients of layers that make maps smaller", [o for o in audit.layers if not o.enlarges]),
    ]
    groups = [(title, found) for title, found in groups if found]
    heights = [0.6 + 0.75 * len(found) for _, found in groups]
    figure = Figure(figsize=(9, 1.1 + sum(heights)), layout="constrained")
    figure.suptitle("\n".join(measured(audit)), fontsize=11)
    if not groups:
        return figure
    panels = figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
    for ax, (title, found) in zip(panels, groups, strict=True):
        _draw_ripples(ax, found)
        ax.set_title(title, fontsize=11)
    panels[-1].set_xlabel("ripple, in percent of the mean")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _draw_ripples(ax: Axes, found: list[LayerAudit]) -> None:
    width = 0.8 / len(_STYLES)
    finite = [r for one in found if one.ripple for r in one.ripple[:3] if math.isfinite(r)]
    longest = max([100 * r for r in finite], default=0) or 1.0
    for i, figure in enumerate(_STYLES):
        values = [one.ripple and getattr(one.ripple, figure) for one in found]
        places = [row + (i - 1) * width for row in range(len(found))]
        bars = [100 * v if v is not None and math.isfinite(v) else 0 for v in values]
        drawn = ax.barh(places, bars, width, label=_LABELS[figure], **_STYLES[figure])
        # What has no kernel has it once, not in every bar.
        texts = ["" if value is None and i else _percent(value) for value in values]
        ax.bar_label(drawn, texts, padding=3, fontsize=8)
    names = [f"{one.layer}\n{one.kind}, {by(one.size)}" for one in found]
    ax.set_yticks(range(len(found)), names, fontsize=9)
    ax.set_xlim(0, 1.15 * longest)
    ax.invert_yaxis()  # the first layer on top
    ax.spines[["top", "right"]].set_visible(False)


def _percent(value: float | None) -> str:
    if value is None:
        return "no kernel"
    return f"{value:.1%}" if math.isfinite(value) else "no mean"


def overlap(layer_or_kernel: Any, strides: IntPerAxis | None = None) -> Figure:
    """Draw how many input samples every output sample of a layer is made from.

    A few periods of the middle of the output; near the borders there may be fewer. Where the
    numbers differ, so does what noise in the input becomes, and, unless the kernel makes up for
    it, the answer to a constant.

    Args:
        layer_or_kernel: As in `audit_kernel`, for signals and images.
        strides: As in `audit_kernel`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: at `import keras_upsampling.plots`, where matplotlib is missing.
        TypeError: as in `audit_kernel`.
        ValueError: as in `audit_kernel`, or the layer is one of volumes.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import plots
        >>> figure = plots.overlap(np.ones((3, 3, 1, 1)), strides=2)
        >>> figure.axes[0].get_title()
        'Made from 1 to 4 input samples'

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill.
    """
    found = audit_kernel(layer_or_kernel, strides)
    tile = found.overlap
    if tile.ndim > 2:
        raise ValueError(
            f"Only signals and images are drawn. Received a layer with {tile.ndim} spatial axes; "
            "`audit_kernel` gives the numbers."
        )
    if tile.ndim == 1:
        tile = tile[None]
    repeats = [_PERIODS if s > 1 else 1 for s in tile.shape]
    counts = np.tile(tile, repeats)
    rows, columns = counts.shape
    figure = Figure(figsize=(5.5, max(1.9, min(4.6, 4.6 * rows / columns))), layout="constrained")
    ax = figure.subplots()
    least, most = int(tile.min()), int(tile.max())
    shown = ax.imshow(counts, cmap="cividis", vmin=0, vmax=most)
    span = f"{least} to {most} input samples" if least < most else f"{most} input samples each"
    ax.set(title=f"Made from {span}", xlabel="output column", ylabel="output row")
    if rows == 1:
        ax.set(xlabel="output sample", ylabel="", yticks=[])
    if max(counts.shape) <= _MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            colour = "black" if count > 0.6 * most else "white"
            ax.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    # The map is one of numbers of samples.
    figure.colorbar(shown, ax=ax, label="input samples", ticks=sorted({0, least, most}))
    name = layer_or_kernel.name if isinstance(layer_or_kernel, keras.Layer) else "kernel"
    figure.suptitle(f"{name}: ripple of the power {_percent(found.power)}", fontsize=11)
    return figure
