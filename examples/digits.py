"""Functions that the examples share: digits, reference losses, tables and pictures."""

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
    """Digits, `(n, 28, 28, 1)` float32 from 0 to 1, and a one-line description of them."""

    train: np.ndarray
    test: np.ndarray
    description: str


class DigitsError(Exception):
    """The requested digits cannot be loaded. The message gives the reason and a remedy."""


def load(source: str) -> Digits:
    """Load the digits that `source` names.

    Args:
        source: `"sample"` for the digits in the folder of this file, `"keras"` for
            `keras.datasets.mnist` (downloaded if Keras does not have it yet), or the path of a
            .npz file with `x_train` and `x_test`.

    Raises:
        DigitsError: If the download fails, or the file is missing or of another format.
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
        raise DigitsError(
            "x_train must have at least two digits, for training and validation. Received: 1."
        )
    return Digits(train, test, f"{len(train):,} training and {len(test):,} test {origin}")


def _download() -> tuple[np.ndarray, np.ndarray]:
    try:
        (x_train, _), (x_test, _) = keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises plain `Exception`
        raise DigitsError(
            f"keras.datasets.mnist could not be loaded: {error}\n"
            "Use --data sample for the digits that come with the examples, or --data PATH for "
            "a .npz file with x_train and x_test."
        ) from error
    return x_train, x_test


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    expected = "a .npz file with x_train and x_test"
    if not path.is_file():
        raise DigitsError(f"There is no file {path}. Use --data with sample, keras or {expected}.")
    try:
        with np.load(path) as arrays:
            return arrays["x_train"], arrays["x_test"]
    except Exception as error:  # the type depends on the content of the file
        raise DigitsError(f"{path} is not {expected}: {error}") from error


def _prepare(name: str, images: np.ndarray) -> np.ndarray:
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8:
        raise DigitsError(
            f"{name} must have shape (n, 28, 28) and dtype uint8, with values from 0 to 255. "
            f"Received: shape={images.shape}, dtype={images.dtype}."
        )
    if not len(images):
        raise DigitsError(f"{name} must have at least one digit. Received: 0.")
    return images[..., np.newaxis].astype("float32") / 255


def entropy(targets: np.ndarray) -> float:
    """Return the lowest binary cross-entropy that any model can reach on these targets.

    A grey pixel t costs `-t log p - (1 - t) log(1 - p)`. The minimum is at p = t, and is above
    zero. The mean of the minimum is the loss if every pixel is predicted exactly.
    """
    total = 0.0
    for image in targets:  # not all at once: the full set in float64 needs gigabytes
        t = image.astype("float64")
        t = t[(t > 0) & (t < 1)]  # black and white pixels cost nothing
        total -= np.sum(t * np.log(t) + (1 - t) * np.log1p(-t))
    return float(total / targets.size)


def constant_loss(train: np.ndarray, targets: np.ndarray) -> float:
    """Return the binary cross-entropy on `targets` if the mean pixel of `train` is predicted."""
    # Clipped as in Keras: the loss of entirely black digits would be infinite otherwise.
    p = np.clip(train.mean(dtype="float64"), 1e-7, 1 - 1e-7)
    t = targets.mean(dtype="float64")
    return float(-t * np.log(p) - (1 - t) * np.log1p(-p))


def table(header: Sequence[str], rows: Mapping[str, Sequence[float | str]]) -> str:
    """Return named rows of losses as text under a header; strings are not formatted."""
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


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells under a header as a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def draw_rows(rows: Mapping[str, np.ndarray], title: str) -> Figure:
    """Draw rows of digits of equal length, each with its name to the left, under a title."""
    from matplotlib.figure import Figure  # Matplotlib is optional

    columns = len(next(iter(rows.values())))
    # Long lines, such as paths, are wrapped to the width of the figure.
    title = "\n".join(
        wrapped for line in title.splitlines() for wrapped in textwrap.wrap(line, 110)
    )
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
    """Write text to a file."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    print(f"Table: {path}")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add `--output`."""
    parser.add_argument(
        "--output",
        type=named_path,
        default=Path("output"),
        metavar="DIR",
        help="folder for the results, created if missing (default: %(default)s)",
    )


def add_training(parser: argparse.ArgumentParser, epochs: int = 25) -> None:
    """Add `--data`, `--epochs` and `--seed`."""
    parser.add_argument(
        "--data",
        default="sample",
        metavar="sample|keras|PATH",
        help="digits to use: the sample in the examples, the full MNIST that Keras downloads, or "
        "the path of a .npz file with x_train and x_test (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs", type=at_least(1), default=epochs, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, metavar="N", help="default: %(default)s"
    )


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a function that reads an integer of at least `minimum`, for `add_argument`."""

    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not minimum <= value < 2**32:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {minimum}")
        return value

    return integer


def check_output(
    parser: argparse.ArgumentParser, output: Path, *names: str, data: str | None = None
) -> None:
    """Create the folder for the results, or end the program before any work.

    Args:
        parser: The parser that reports an error.
        output: The folder.
        names: Names of the files to write there.
        data: Path of an input file, which must not be overwritten.
    """
    if importlib.util.find_spec("matplotlib") is None:
        parser.error("the picture needs Matplotlib. Use: python -m pip install matplotlib")
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in names:
            check_writable(output / name, [Path(data)] if data else [])
    except (OSError, ValueError) as error:
        parser.error(f"argument --output: {error}")


def load_or_exit(parser: argparse.ArgumentParser, source: str) -> Digits:
    """Load the digits and print their description, or end the program with an error."""
    try:
        digits = load(source)
    except DigitsError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    print(f"Digits: {digits.description}")
    return digits
