"""Images in files: which there are, and what is in them."""

from __future__ import annotations

import io
import os
import stat
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_upsampling._tables import reason_of
from keras_upsampling.commands.files import files_in, kind_of

_PICTURES = (".png", ".jpg", ".jpeg")
ENDINGS = (*_PICTURES, ".npy")


def is_picture(path: Path) -> bool:
    """Return whether a file is to be read by Pillow."""
    return path.suffix.lower() in _PICTURES


def find(paths: Iterable[Path]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Return the files that paths name or hold, each once, and what is wrong with some paths.

    Folders are searched, in order, for the endings that are known; a file that is named is taken
    whatever its ending, so that `read` can refuse it. Pipes and devices are not taken: to open
    one could wait for ever.
    """
    found: dict[str, Path] = {}
    wrong: list[tuple[str, str]] = []

    def fail(error: OSError) -> None:
        wrong.append((str(error.filename), reason_of(error)))

    for path in paths:
        inside = files_in(path, onerror=fail)
        if os.path.isdir(path):
            inside = [file for file in inside if file.suffix.lower() in ENDINGS]
        for file in sorted(inside):
            try:
                status = file.stat()
            except OSError as error:
                wrong.append((str(file), reason_of(error)))
                continue
            if stat.S_ISREG(status.st_mode):
                found.setdefault(os.path.abspath(file), file)
            else:
                wrong.append((str(file), f"expected a file. Received {kind_of(status)}"))
    return list(found.values()), wrong


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the images of a file by name, each `(height, width, channels)`.

    Raises:
        ValueError: the ending is unknown, or an array has a shape or a dtype that is no image's.
        Exception: it cannot be decoded; of any kind.
    """
    if is_picture(path):
        return {str(path): _picture(path)}
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"files that can be read end in {', '.join(ENDINGS)}")
    # Unlike `np.load` it reads nothing else, and does not speak of pickles where there are none.
    with path.open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype.kind not in "buif":
        raise ValueError(f"the array must hold numbers. Received dtype {array.dtype}")
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise ValueError(
            "the array must be (H, W), (H, W, C), (N, H, W) or (N, H, W, C), and hold something. "
            f"Received shape {array.shape}"
        )
    if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] > _MOST_CHANNELS):
        array = array[..., None]
    if array.ndim == 3:
        return {str(path): array}
    return {f"{path}[{index}]": image for index, image in enumerate(array)}


# Of three axes the last are channels up to here: no image is so narrow that could be measured.
_MOST_CHANNELS = 4


def data_range_of(dtype: np.dtype) -> float:
    """Return the difference between the highest and the lowest value that images can have.

    Raises:
        ValueError: the dtype does not tell.
    """
    if dtype.kind in "bf":
        return 1.0
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return float(np.iinfo(dtype).max)
    raise ValueError(f"values of dtype {dtype} have a range that is not known; give --data-range")


def pillow() -> Any:
    """Return the module that opens pictures.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            "PNG and JPEG are read with Pillow, which is not installed: run "
            '`python -m pip install "pillow>=10"`, or install this package with its extra `plot`. '
            "Arrays in .npy files need no Pillow."
        ) from None
    return Image


def _picture(path: Path) -> np.ndarray:
    """Read a PNG or a JPEG, without its alpha channel."""
    deep = _deep_grey_with_alpha(path)
    if deep is not None:
        return deep
    with _opened(path) as picture:
        if picture.mode.startswith("I"):  # 16 bits: `I;16`, or `I` in older versions of Pillow
            return np.asarray(picture).astype("uint16")[..., None]
        if picture.mode in ("1", "L", "LA"):
            return np.asarray(picture.convert("L"))[..., None]
        if picture.mode == "P":
            # Pillow warns of what is transparent where it has to drop it in one step.
            picture = picture.convert("RGBA")
        return np.asarray(picture.convert("RGB"))


def _opened(file: Path | io.BytesIO) -> Any:
    image = pillow()
    with warnings.catch_warnings():
        # A large picture is what was asked for; from twice that limit on it is refused.
        warnings.simplefilter("ignore", image.DecompressionBombWarning)
        return image.open(file, formats=("PNG", "JPEG"))


# Where a PNG says what it is: after its signature, length and name come width and height, then
# bits and type of colour, three more bytes, and a check sum.
_PNG, _HEADER = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", slice(12, 29)


def _deep_grey_with_alpha(path: Path) -> np.ndarray | None:
    """Return grey of 16 bits that has an alpha channel, which Pillow makes bytes of; else None.

    Its two numbers of two bytes lie in the file as the four bytes of a pixel do that has three
    colours and alpha, so Pillow reads it right as a picture of those.
    """
    with path.open("rb") as file:
        start = file.read(33)
        header, checked = start[_HEADER], start[29:33]
        if not start.startswith(_PNG) or header[12:14] != bytes([16, 4]):
            return None
        if zlib.crc32(header) != int.from_bytes(checked):
            return None  # a broken file, as Pillow will say
        header = header[:12] + bytes([8, 6]) + header[14:]
        patched = start[:12] + header + zlib.crc32(header).to_bytes(4)
        with _opened(io.BytesIO(patched + file.read())) as picture:
            pixels = np.asarray(picture).astype("uint16")
    return 256 * pixels[..., :1] + pixels[..., 1:2]
