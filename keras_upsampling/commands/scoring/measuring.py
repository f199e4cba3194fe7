"""Measuring the images of files, one after another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_upsampling import checkerboard_score, detect_stride
from keras_upsampling._tables import by
from keras_upsampling.commands.files import reading_error
from keras_upsampling.commands.scoring.images import (
    ENDINGS,
    FoundFiles,
    ImagesOfFile,
    data_range_of,
    is_picture,
    open_images,
    pillow,
)
from keras_upsampling.commands.scoring.shares import ALL, Share
from keras_upsampling.commands.scoring.tally import Failure, Row, Settings
from keras_upsampling.commands.streams import reason
from keras_upsampling.maths.harmonics import shortest_length
from keras_upsampling.ops.tables import forget_compiled


def count_files(files: FoundFiles, share: Share = ALL) -> int:
    """Return how many files, readable or not, have their first image in a share.

    Raises:
        ValueError: If no file that can be read was found, for any share.
        ImportError: If there are pictures and Pillow is missing: once, instead of once per file.
    """
    entries = 0
    found = set()  # whether pictures, and whether others
    for path, problem in files.entries():
        entries += 1
        kind = is_picture(path)
        # After the first of a kind none is looked at: that takes long for a million files.
        if problem is None and kind not in found and reading_error(path) is None:
            found.add(kind)
            if kind:
                pillow()
    if not found:
        raise ValueError(
            f"Nothing to measure: no file that ends in {', '.join(ENDINGS)} was found."
        )
    return len(share.indices(0, entries))


class Outcome(NamedTuple):
    """What became of one image, or of a file that could not be read.

    Attributes:
        result: Its results, or why there are none.
        more: How many images the share has beyond what `count_files` counted; of a file, at its
            first image.
    """

    result: Row | Failure
    more: int


# JAX compiles for every shape and keeps the programs, some megabytes each.
_SHAPES_AT_ONCE = 32


def measure(files: FoundFiles, settings: Settings, share: Share = ALL) -> Iterator[Outcome]:
    """Measure the images of a share, one after another; nothing of them is held."""
    shapes = set()
    for number, (path, problem) in enumerate(files.entries()):
        has_first = len(share.indices(number, 1))
        if not has_first and (problem is not None or is_picture(path)):
            continue
        # Opening a pipe or a device may block forever.
        problem = problem or reading_error(path)
        try:
            images = None if problem else _open(path, settings)
        except Exception as error:  # decoders and backends raise exceptions of any class
            images, problem = None, reason(error)
        if images is None:
            if has_first:
                yield Outcome(Failure(str(path), problem or ""), 0)
            continue
        shapes.add(images.shape)
        if len(shapes) > _SHAPES_AT_ONCE:
            forget_compiled()
            shapes = {images.shape}
        indices = share.indices(number, images.number or 1)
        more = len(indices) - has_first
        for index in indices:
            yield _outcome(images, index, settings, more)
            more = 0


def _outcome(images: ImagesOfFile, index: int, settings: Settings, more: int) -> Outcome:
    try:
        return Outcome(_measure(images, index, settings), more)
    except Exception as error:
        return Outcome(Failure(images.name(index), reason(error)), more)


def _open(path: Path, settings: Settings) -> ImagesOfFile:
    """Return the images of a file; raise if they are too small or their range is unknown."""
    images = open_images(path)
    shortest = [shortest_length(size, 2) for size in settings.size]
    if any(n < limit for n, limit in zip(images.shape, shortest, strict=False)):
        raise ValueError(
            f"too small: a pattern of size {by(settings.size)} needs {by(shortest)} pixels or "
            f"more. Received: {by(images.shape)} (height, width and channels). Use larger images"
        )
    if settings.data_range is None:
        data_range_of(images.dtype)  # raises
    return images


def _measure(images: ImagesOfFile, index: int, settings: Settings) -> Row:
    """Return the results of one image.

    Images are measured separately, so that a NaN in one does not affect the others of its file.
    JAX then also compiles only once per shape, for any number of images in a file.
    """
    name, image = images.name(index), images.load(index)
    data_range = settings.data_range or data_range_of(images.dtype)
    if not np.isfinite(image).all():
        raise ValueError("it has a NaN or an infinity. Remove or repair it")
    largest, limit = max(float(image.max()), -float(image.min())), float(np.finfo("float32").max)
    if largest > limit:
        raise ValueError(
            f"it has numbers as large as {largest:.3g}, and float32, the dtype of the computation, "
            f"has none above {limit:.3g}. Scale it down"
        )
    arguments: dict[str, Any] = {"data_range": data_range, "data_format": "channels_last"}
    score = checkerboard_score(image[None], settings.size, **arguments)
    stride = (
        int(detect_stride(image[None], **arguments).stride[0]) if settings.detect_stride else None
    )
    # JSON needs numbers of Python.
    values = {field: value[0].item() for field, value in score._asdict().items()}
    if not all(map(math.isfinite, values.values())):
        raise ValueError(f"its score is not finite. Received: {values}. Scale the image")
    return Row(name, image.shape, data_range, stride=stride, **values)
