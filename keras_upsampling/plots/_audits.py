"""`plots.audit` and `plots.overlap`: the ripples and the overlap of layers."""

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

# The bars differ in lightness and hatching too, for readers who do not see the colours.
_STYLES: dict[str, dict[str, Any]] = {
    "gain": {"color": "#006BA4"},
    "ramp": {"color": "#FFBC79", "hatch": "//", "edgecolor": "black", "linewidth": 0.5},
    "power": {"color": "#898989"},
}
_LABELS = {
    "gain": "gain: response to a constant",
    "ramp": "ramp: response to a slope",
    "power": "power: response to noise",
}
# How many periods of an overlap map are drawn, and up to which length numbers fit into it.
_PERIODS = 4
_LONGEST_NUMBERED = 24


def audit(audit: Audit) -> Figure:
    """Draw an audit: one bar per ripple and layer, and the measured ripples as the title.

    Args:
        audit: Result of `keras_upsampling.audit`.

    Returns:
        A `matplotlib.figure.Figure`. The upper panel shows the layers that upsample, the lower one
        the gradients of layers that downsample, each in the order of the calls. Ripples are in
        percent of the layer's mean.

    Raises:
        ImportError: If matplotlib is not installed, at `import keras_upsampling.plots`.
        TypeError: If `audit` is not an audit.

    Example:
        >>> import keras
        >>> import keras_upsampling
        >>> from keras_upsampling import plots
        >>> up = keras.layers.Conv2DTranspose(4, 3, strides=2, name="up")
        >>> result = keras_upsampling.audit(keras.Sequential([keras.Input((8, 8, 8)), up]))
        >>> figure = plots.audit(result)
        >>> figure.axes[0].get_title()
        'Layers that upsample'
    """
    if not isinstance(audit, Audit):
        raise TypeError(
            f"`audit` must be the result of `keras_upsampling.audit`. Received: audit={audit!r}. "
            "Call `keras_upsampling.audit` first."
        )
    upsampling = [layer for layer in audit.layers if layer.enlarges]
    downsampling = [layer for layer in audit.layers if not layer.enlarges]
    groups = [
        ("Layers that upsample", upsampling),
        ("Gradients of layers that downsample", downsampling),
    ]
    groups = [(title, layers) for title, layers in groups if layers]
    heights = [0.6 + 0.75 * len(layers) for _, layers in groups]
    figure = Figure(figsize=(9, 1.1 + sum(heights)), layout="constrained")
    figure.suptitle("\n".join(measured(audit)), fontsize=11)
    if not groups:
        return figure
    panels = figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
    for ax, (title, layers) in zip(panels, groups, strict=True):
        _draw_ripples(ax, layers)
        ax.set_title(title, fontsize=11)
    panels[-1].set_xlabel("ripple, in percent of the mean")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _draw_ripples(ax: Axes, layers: list[LayerAudit]) -> None:
    width = 0.8 / len(_STYLES)
    ripples = [layer.ripple for layer in layers]
    finite = [
        r
        for ripple in ripples
        if ripple
        for r in (ripple.gain, ripple.ramp, ripple.power)
        if math.isfinite(r)
    ]
    longest = max([100 * r for r in finite], default=0) or 1.0
    for i, name in enumerate(_STYLES):
        values = [ripple and getattr(ripple, name) for ripple in ripples]
        positions = [row + (i - 1) * width for row in range(len(layers))]
        lengths = [100 * v if v is not None and math.isfinite(v) else 0 for v in values]
        bars = ax.barh(positions, lengths, width, label=_LABELS[name], **_STYLES[name])
        # Layers without a kernel get one label instead of one per bar.
        texts = ["" if value is None and i else _percent(value) for value in values]
        ax.bar_label(bars, texts, padding=3, fontsize=8)
    names = [f"{layer.layer}\n{layer.kind}, {by(layer.size)}" for layer in layers]
    ax.set_yticks(range(len(layers)), names, fontsize=9)
    ax.set_xlim(0, 1.15 * longest)
    ax.invert_yaxis()  # the first layer on top
    ax.spines[["top", "right"]].set_visible(False)


def _percent(value: float | None) -> str:
    if value is None:
        return "no kernel"
    return f"{value:.1%}" if math.isfinite(value) else "no mean"


def overlap(layer_or_kernel: Any, strides: IntPerAxis | None = None) -> Figure:
    """Draw the overlap of a layer: how many input samples contribute to each output sample.

    The figure shows a few periods in the middle of the output. Near the borders the overlap may be
    smaller. Where the overlap is uneven, so is the power of noise in the output, and, unless the
    kernel makes up for it, the response to a constant.

    Args:
        layer_or_kernel: As in `audit_kernel`, with one or two spatial axes.
        strides: As in `audit_kernel`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed, at `import keras_upsampling.plots`.
        TypeError: As in `audit_kernel`.
        ValueError: As in `audit_kernel`, or if the layer has three spatial axes.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling import plots
        >>> figure = plots.overlap(np.ones((3, 3, 1, 1)), strides=2)
        >>> figure.axes[0].get_title()
        'Input samples per output sample: 1 to 4'

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill.
    """
    ripple = audit_kernel(layer_or_kernel, strides)
    tile = ripple.overlap
    if tile.ndim > 2:
        raise ValueError(
            "`layer_or_kernel` must have one or two spatial axes. Received a layer with "
            f"{tile.ndim} spatial axes. Use `audit_kernel` for the numbers."
        )
    if tile.ndim == 1:
        tile = tile[None]
    repeats = [_PERIODS if s > 1 else 1 for s in tile.shape]
    counts = np.tile(tile, repeats)
    rows, columns = counts.shape
    figure = Figure(figsize=(5.5, max(1.9, min(4.6, 4.6 * rows / columns))), layout="constrained")
    ax = figure.subplots()
    least, most = int(tile.min()), int(tile.max())
    image = ax.imshow(counts, cmap="cividis", vmin=0, vmax=most)
    span = f"{least} to {most}" if least < most else f"{most}"
    title = f"Input samples per output sample: {span}"
    ax.set(title=title, xlabel="output column", ylabel="output row")
    if rows == 1:
        ax.set(xlabel="output sample", ylabel="", yticks=[])
    if max(counts.shape) <= _LONGEST_NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            colour = "black" if count > 0.6 * most else "white"
            ax.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    # Ticks at integers, since the overlap is a count.
    figure.colorbar(image, ax=ax, label="input samples", ticks=sorted({0, least, most}))
    name = layer_or_kernel.name if isinstance(layer_or_kernel, keras.Layer) else "kernel"
    figure.suptitle(f"{name}: power ripple {_percent(ripple.power)}", fontsize=11)
    return figure
