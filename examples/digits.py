"""What the example programs share: digits, reference losses, tables and pictures."""

from __future__ import annotations

import argparse
import importlib.util
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np

from keras_upsampling.commands.files import check_writable, named_path, replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLE = Path(__file__).parent / "data" / "mnist_sample.npz"


class Digits(NamedTuple):
    """Digits as `(n, 28, 28, 1)` float32 from 0 to 1, and a line that says which they are."""

    train: np.ndarray
    test: np.ndarray
    description: str


class DigitsError(Exception):
    """The digits that were asked for cannot be had; the message says why and what to do."""


def load(source: str) -> Digits:
    """Load the digits that `source` names, those or none.

    Args:
        source: `"sample"` for the digits beside this file, `"keras"` for
            `keras.datasets.mnist` (downloaded when Keras does not have them yet), or the path
            of a .npz file with `x_train` and `x_test`.

    Raises:
        DigitsError: the download failed, or the file is missing or not such a file.
    """
    if source == "sample":
        x_train, x_test = _read(SAMPLE)
        origin = "MNIST digits, the sample in examples/data"
    elif source == "keras":
        x_train, x_test = _download()
        origin = "MNIST digits, from keras.datasets.mnist"
    else:
        x_train, x_test = _read(Path(source))
        origin = f"digits, from {source}"
    train, test = (_prepare(name, x) for name, x in (("x_train", x_train), ("x_test", x_test)))
    if len(train) < 2:
        raise DigitsError("x_train holds one digit: validation needs another.")
    return Digits(train, test, f"{len(train):,} training and {len(test):,} test {origin}")


def _download() -> tuple[np.ndarray, np.ndarray]:
    try:
        (x_train, _), (x_test, _) = keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises plain ones
        raise DigitsError(
            f"keras.datasets.mnist could not be loaded: {error}\n"
            "Use --data sample for the digits that come with the examples, or --data PATH for "
            "a .npz file with x_train and x_test."
        ) from error
    return x_train, x_test


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    wanted = "a .npz file with x_train and x_test"
    if not path.is_file():
        raise DigitsError(f"There is no file {path}. --data takes sample, keras or {wanted}.")
    try:
        with np.load(path) as arrays:
            return arrays["x_train"], arrays["x_test"]
    except Exception as error:  # of many kinds, by what the file holds instead
        raise DigitsError(f"{path} is not {wanted}: {error}") from error


def _prepare(name: str, images: np.ndarray) -> np.ndarray:
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8:
        raise DigitsError(
            f"{name} must hold digits of shape (n, 28, 28) and dtype uint8, from 0 to 255. "
            f"It has shape {images.shape} and dtype {images.dtype}."
        )
    if not len(images):
        raise DigitsError(f"{name} holds no digits.")
    return images[..., np.newaxis].astype("float32") / 255


def entropy(targets: np.ndarray) -> float:
    """Lowest binary cross-entropy that any model can reach on these targets.

    A grey pixel t costs `-t log p - (1 - t) log(1 - p)`, least at p = t and even there above
    zero. The mean of that least cost is what remains when every pixel is predicted exactly.
    """
    total = 0.0
    for image in targets:  # one by one: the full set in float64 would take gigabytes
        t = image.astype("float64")
        t = t[(t > 0) & (t < 1)]  # black and white pixels cost nothing
        total -= np.sum(t * np.log(t) + (1 - t) * np.log1p(-t))
    return float(total / targets.size)


def constant_loss(train: np.ndarray, targets: np.ndarray) -> float:
    """Binary cross-entropy on `targets` of the mean pixel of `train` as the only prediction."""
    # Kept off 0 and 1 as Keras does, or entirely black digits would cost infinitely much.
    p = np.clip(train.mean(dtype="float64"), 1e-7, 1 - 1e-7)
    t = targets.mean(dtype="float64")
    return float(-t * np.log(p) - (1 - t) * np.log1p(-p))


def table(header: Sequence[str], rows: Mapping[str, Sequence[float | str]]) -> str:
    """Lay out named rows of losses under a header; strings are shown as they are."""
    cells = {
        name: [value if isinstance(value, str) else f"{value:.4f}" for value in values]
        for name, values in rows.items()
    }
    first = max(map(len, cells))
    widths = [
        max(len(title), *(len(row[i]) for row in cells.values())) for i, title in enumerate(header)
    ]
    lines = []
    for name, row in {"": list(header), **cells}.items():
        values = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([name.ljust(first), *values]))
    return "\n".join(lines)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows of cells under a head, as a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def draw_rows(rows: Mapping[str, np.ndarray], title: str) -> Figure:
    """Draw rows of equally many digits, each with its name to the left, under a title."""
    from matplotlib.figure import Figure  # only here: the rest works without

    columns = len(next(iter(rows.values())))
    # Long lines, a path for example, are wrapped to what fits above the figure.
    title = "\n".join(part for line in title.splitlines() for part in textwrap.wrap(line, 110))
    figure = Figure(figsize=(9.6, 0.9 + 1.05 * len(rows)), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image.squeeze(-1), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
    return figure


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    replace_file(path, lambda partial: figure.savefig(partial, format="png", dpi=120))
    print(f"Picture: {path}")


def save_text(text: str, path: Path) -> None:
    """Write a text."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    print(f"Table: {path}")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add `--output`."""
    parser.add_argument(
        "--output",
        type=named_path,
        default=Path("output"),
        metavar="DIR",
        help="folder for what is written, made if missing (default: %(default)s)",
    )


def add_training(parser: argparse.ArgumentParser, epochs: int = 25) -> None:
    """Add `--data`, `--epochs` and `--seed`."""
    parser.add_argument(
        "--data",
        default="sample",
        metavar="sample|keras|PATH",
        help="digits to use: the sample that comes with the examples, the full MNIST as Keras "
        "downloads it, or a .npz with x_train and x_test (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs", type=at_least(1), default=epochs, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, metavar="N", help="default: %(default)s"
    )


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads an integer from `least` up, for `add_argument`."""

    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value < 2**32:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer from {least} up")
        return value

    return integer


def check_output(
    parser: argparse.ArgumentParser, output: Path, *names: str, data: str | None = None
) -> None:
    """Make the folder for what is written, or end the program before it has done any work.

    Args:
        parser: Says what is wrong.
        output: The folder.
        names: Of the files to be written there.
        data: A file that is read, and must not be overwritten.
    """
    if importlib.util.find_spec("matplotlib") is None:
        parser.error("the picture needs matplotlib: python -m pip install matplotlib")
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in names:
            check_writable(output / name, [Path(data)] if data else [])
    except (OSError, ValueError) as error:
        parser.error(f"argument --output: {error}")


def load_or_exit(parser: argparse.ArgumentParser, source: str) -> Digits:
    """Load the digits and say which they are, or end the program with the reason."""
    try:
        digits = load(source)
    except DigitsError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    print(f"Digits: {digits.description}")
    return digits
