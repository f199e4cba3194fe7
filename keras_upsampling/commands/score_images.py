"""The command `score`: measure the checkerboards of the images in files."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

import keras_upsampling
from keras_upsampling import checkerboard_score, detect_stride
from keras_upsampling._arguments import positive_int
from keras_upsampling._tables import by, table
from keras_upsampling.commands.files import check_output, named_path
from keras_upsampling.commands.images import (
    ENDINGS,
    data_range_of,
    find_files,
    is_picture,
    pillow,
    read,
)
from keras_upsampling.commands.shared import Commands, add_json, positive_number
from keras_upsampling.commands.streams import aside, publish, reason, say
from keras_upsampling.maths.harmonics import shortest_length
from keras_upsampling.metrics.image_scores import mean_db


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "score",
        help="measure the checkerboards in images",
        description="Measures in every image the strength of the pattern of period SIZE, the "
        "trace of an upsampling. Prints a table in Markdown.",
        epilog="PNG and JPEG are read with Pillow, with pixels as they are stored: palettes become "
        "RGB, an alpha channel is dropped, colours of 16 bits become bytes. A .npy file contains "
        "one image, (H, W) or (H, W, C), or several, (N, H, W) or (N, H, W, C). With three axes, "
        "the last axis is the channels if its length is at most 4. All channels of an array are "
        "measured. Exit code: 0 if all images were measured, 1 if some were not or the figures "
        "could not be written, 2 if there was nothing to measure.",
    )
    parser.add_argument(
        "paths",
        type=named_path,
        nargs="+",
        metavar="PATH",
        help=f"a file, or a folder to search ({' '.join(ENDINGS)})",
    )
    parser.add_argument(
        "--size",
        type=_size,
        default=(2, 2),
        metavar="N[,N]",
        help="period of the pattern, or one for the rows and one for the columns: 2,4 (default: 2)",
    )
    parser.add_argument(
        "--detect-stride",
        action="store_true",
        help="also find the period of each image's pattern; takes about ten times as long",
    )
    parser.add_argument(
        "--data-range",
        type=positive_number,
        help="difference between the highest and the lowest possible value (default: 255 "
        "for bytes, 65535 for unsigned integers of 16 bits, 1 for floats)",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def _size(text: str) -> tuple[int, int]:
    try:
        entries = [positive_int(int(entry), "size") for entry in text.split(",")]
    except ValueError:
        entries = []
    if len(entries) not in (1, 2) or max(entries) == 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a period. Use a positive integer, or two as in 2,4; at least "
            "one must be above 1"
        )
    return entries[0], entries[-1]


class Row(NamedTuple):
    """The results of one image."""

    file: str
    shape: tuple[int, ...]
    data_range: float
    db: float
    amplitude: float
    band_db: float
    p_value: float
    detected: bool
    stride: int | None  # None without `--detect-stride`


class Failure(NamedTuple):
    """An image or a file that could not be measured."""

    file: str
    reason: str


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; return the exit code."""
    paths, errors = find_files(options.paths)
    failures = [Failure(*error) for error in errors]
    try:
        if not paths:
            raise ValueError(
                f"Nothing to measure: no file that ends in {', '.join(ENDINGS)} was found."
            )
        if any(map(is_picture, paths)):
            pillow()  # raises once if Pillow is missing, instead of once per file
        check_output(options.json, paths)
    except (ValueError, ImportError) as error:
        _print_failures(failures)
        say(str(error))
        return 2
    rows: list[Row] = []
    code = 0
    try:
        _measure_all(paths, options, rows, failures)
    except KeyboardInterrupt:
        code = 130
    finally:  # results must not be lost
        _print_failures(failures)
        records = {
            "keras_upsampling": keras_upsampling.__version__,
            "size": options.size,
            "summary": _summary(rows),
            "results": [_record(row) for row in rows],
            "failures": [failure._asdict() for failure in failures],
        }
        text = _report(rows) if rows else ""
        if not publish(text, json.dumps(records, indent=1), options.json) or failures:
            code = code or 1
    return code


def _measure_all(
    paths: Sequence[Path], options: argparse.Namespace, rows: list[Row], failures: list[Failure]
) -> None:
    """Measure one image after another; append to `rows` and `failures`, and show a progress bar."""
    # The progress bar must not be part of standard output.
    with aside():
        progress = keras.utils.Progbar(len(paths) + len(failures), unit_name="image")
        try:
            for path in paths:
                images: dict[str, np.ndarray] = {}
                with _record_failure(str(path), failures):
                    images, data_range = _open(path, options)
                    # The number of images in a file is known only after it was read.
                    progress.target += len(images) - 1
                for name, image in images.items():
                    progress.update(len(rows) + len(failures))
                    with _record_failure(name, failures):
                        rows.append(_measure(name, image, data_range, options))
        finally:  # also ends the line before other messages
            progress.update(len(rows) + len(failures), finalize=True)


@contextlib.contextmanager
def _record_failure(name: str, failures: list[Failure]) -> Iterator[None]:
    """Append an error to the failures: decoders and backends raise exceptions of any class."""
    try:
        yield
    except Exception as error:
        failures.append(Failure(name, reason(error)))


def _open(path: Path, options: argparse.Namespace) -> tuple[dict[str, np.ndarray], float]:
    """Return the images of a file by name, and their range; raise if they are too small."""
    images = read(path)
    first = next(iter(images.values()))  # all have the same shape and dtype
    shortest = [shortest_length(size, 2) for size in options.size]
    if any(n < limit for n, limit in zip(first.shape, shortest, strict=False)):
        raise ValueError(
            f"too small: a pattern of size {by(options.size)} needs {by(shortest)} pixels or "
            f"more. Received: {by(first.shape)} (height, width and channels). Use larger images"
        )
    return images, options.data_range or data_range_of(first.dtype)


def _measure(name: str, image: np.ndarray, data_range: float, options: argparse.Namespace) -> Row:
    """Measure one image.

    Images are measured separately, so that a NaN in one does not affect the others of its file.
    JAX then also compiles only once per shape, for any number of images in a file.
    """
    if not np.isfinite(image).all():
        raise ValueError("it has a NaN or an infinity. Remove or repair it")
    largest, limit = max(float(image.max()), -float(image.min())), float(np.finfo("float32").max)
    if largest > limit:
        raise ValueError(
            f"it has numbers as large as {largest:.3g}, and float32, the dtype of the computation, "
            f"has none above {limit:.3g}. Scale it down"
        )
    arguments: dict[str, Any] = {"data_range": data_range, "data_format": "channels_last"}
    score = checkerboard_score(image[None], options.size, **arguments)
    stride = (
        int(detect_stride(image[None], **arguments).stride[0]) if options.detect_stride else None
    )
    # JSON needs numbers of Python.
    values = {field: value[0].item() for field, value in score._asdict().items()}
    return Row(name, image.shape, data_range, stride=stride, **values)


def _record(row: Row) -> dict[str, Any]:
    return {field: value for field, value in row._asdict().items() if value is not None}


def _summary(rows: Sequence[Row]) -> dict[str, float | None]:
    """Return the means over the images; `db` is the mean of the ratios, as in the metric."""
    if not rows:
        return {"images": 0, "db": None, "detection_rate": None}
    return {
        "images": len(rows),
        "db": mean_db([row.db for row in rows]),
        "detection_rate": sum(row.detected for row in rows) / len(rows),
    }


def _report(rows: Sequence[Row]) -> str:
    """Return a table in Markdown, and a line with the summary."""
    head = ["file", "shape", "db", "amplitude", "band_db", "p_value", "detected"]
    cells = [
        [
            row.file,
            by(row.shape),
            f"{row.db:.2f}",
            f"{row.amplitude:.3g}",
            f"{row.band_db:.2f}",
            f"{row.p_value:.2g}",
            "yes" if row.detected else "no",
        ]
        for row in rows
    ]
    if rows[0].stride is not None:
        head.append("stride")
        for row_cells, row in zip(cells, rows, strict=True):
            row_cells.append(str(row.stride))
    summary = _summary(rows)
    images = "1 image" if len(rows) == 1 else f"{len(rows)} images"
    return (
        f"{table(head, cells)}\n\n{images}, mean {summary['db']:.2f} dB, "
        f"{summary['detection_rate']:.1%} detected"
    )


def _print_failures(failures: Iterable[Failure]) -> None:
    for failure in failures:
        say(f"{failure.file}: {failure.reason}")
