"""Upsample a 2x2 image by 32, and draw the result of each interpolation."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from digits import add_output, check_output, save_picture

from keras_upsampling import Upsample2D

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INTERPOLATIONS = ("nearest", "linear", "cubic", "lanczos3", "lanczos5")


def image() -> np.ndarray:
    """Return four values as one image of two rows, two columns and one channel."""
    return np.array([0, 0.5, 1, 1.5], dtype="float32").reshape(1, 2, 2, 1)


def upsample(images: np.ndarray, interpolation: str) -> np.ndarray:
    """Upsample images by 32."""
    return np.array(Upsample2D(32, interpolation=interpolation)(images))


def draw(pictures: Mapping[str, np.ndarray]) -> Figure:
    """Draw single-channel images side by side, with one colour scale and its bar."""
    from matplotlib.figure import Figure

    columns = min(len(pictures), 3)
    rows = -(-len(pictures) // columns)
    # Cubic and Lanczos overshoot the input values, so the scale covers all results.
    low = min(picture.min() for picture in pictures.values())
    high = max(picture.max() for picture in pictures.values())
    figure = Figure(figsize=(0.8 + 3.4 * columns, 0.2 + 3.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, (title, picture) in zip(axes.flat, pictures.items(), strict=True):
        shown = axis.imshow(picture[0, :, :, 0], vmin=low, vmax=high)
        axis.set_title(title)
        last = picture.shape[1] - 1
        axis.set(xticks=[0, last], yticks=[0, last])
    figure.colorbar(shown, ax=axes, label="value")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--interpolation",
        choices=(*INTERPOLATIONS, "all"),
        default="linear",
        help="interpolation to use (default: %(default)s)",
    )
    add_output(parser)
    arguments = parser.parse_args(argv)
    check_output(parser, arguments.output, "upsample_image.png")

    original = image()
    chosen = arguments.interpolation
    pictures = {"original, 2x2": original}
    for interpolation in INTERPOLATIONS if chosen == "all" else (chosen,):
        upsampled = upsample(original, interpolation)
        print(f"{interpolation}: {original.shape} -> {upsampled.shape}")
        height, width = upsampled.shape[1:3]
        pictures[f"{interpolation}, {height}x{width}"] = upsampled
    save_picture(draw(pictures), arguments.output / "upsample_image.png")


if __name__ == "__main__":
    main()
