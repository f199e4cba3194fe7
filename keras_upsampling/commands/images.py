"""Finding image files and reading them."""

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
    """Return whether a file is read with Pillow."""
    return path.suffix.lower() in _PICTURES


def find_files(paths: Iterable[Path]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Return the files at the given paths, each once, and the errors as pairs (path, reason).

    Folders are searched in alphabetical order for files with one of the `ENDINGS`. A path to a file
    is returned for any ending; `read` raises for unknown ones. Pipes and devices are errors,
    because opening one may block forever.
    """
    files: dict[str, Path] = {}
    errors: list[tuple[str, str]] = []

    def add_error(error: OSError) -> None:
        errors.append((str(error.filename), reason_of(error)))

    for path in paths:
        candidates = files_in(path, onerror=add_error)
        if os.path.isdir(path):
            candidates = [file for file in candidates if file.suffix.lower() in ENDINGS]
        for file in sorted(candidates):
            try:
                status = file.stat()
            except OSError as error:
                errors.append((str(file), reason_of(error)))
                continue
            if stat.S_ISREG(status.st_mode):
                files.setdefault(os.path.abspath(file), file)
            else:
                errors.append((str(file), f"expected a file. Received: {kind_of(status)}"))
    return list(files.values()), errors


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the images of a file by name, each `(height, width, channels)`.

    Raises:
        ValueError: If the ending is unknown, or an array is not an image by its shape or dtype.
        Exception: If the file cannot be decoded. Decoders raise exceptions of any class.
    """
    if is_picture(path):
        return {str(path): _picture(path)}
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(
            f"the name of a file must end in {', '.join(ENDINGS)}. Received: {path.suffix!r}. "
            "Convert the file"
        )
    # Unlike `np.load`, it reads no other formats, and its errors do not mention pickles.
    with path.open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype.kind not in "buif":
        raise ValueError(
            f"the array must hold numbers. Received: dtype {array.dtype}. Convert it, for example "
            "to float32"
        )
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise ValueError(
            "the array must be (H, W), (H, W, C), (N, H, W) or (N, H, W, C), and not empty. "
            f"Received: shape {array.shape}. Reshape it, or leave the file out"
        )
    if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] > _MAX_CHANNELS):
        array = array[..., None]
    if array.ndim == 3:
        return {str(path): array}
    return {f"{path}[{index}]": image for index, image in enumerate(array)}


# A last axis of three is the channels up to this length: images that narrow are not measured.
_MAX_CHANNELS = 4


def data_range_of(dtype: np.dtype) -> float:
    """Return the difference between the highest and the lowest value that images can have.

    Raises:
        ValueError: If the range does not follow from the dtype.
    """
    if dtype.kind in "bf":
        return 1.0
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return float(np.iinfo(dtype).max)
    raise ValueError(f"values of dtype {dtype} have an unknown range. Use --data-range")


def pillow() -> Any:
    """Return Pillow's module `Image`.

    Raises:
        ImportError: If Pillow is not installed; the message says how to install it.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            "PNG and JPEG are read with Pillow, which is not installed. Run "
            '`python -m pip install "pillow>=10"`, or install this package with its extra `plot`. '
            "Arrays in .npy files do not need Pillow."
        ) from None
    return Image


def _picture(path: Path) -> np.ndarray:
    """Read a PNG or JPEG file without its alpha channel."""
    deep = _deep_grey_with_alpha(path)
    if deep is not None:
        return deep
    with _opened(path) as picture:
        if picture.mode.startswith("I"):  # 16 bits: `I;16`, or `I` in older versions of Pillow
            return np.asarray(picture).astype("uint16")[..., None]
        if picture.mode in ("1", "L", "LA"):
            return np.asarray(picture.convert("L"))[..., None]
        if picture.mode == "P":
            # Converting directly to RGB would make Pillow warn about transparency.
            picture = picture.convert("RGBA")
        return np.asarray(picture.convert("RGB"))


def _opened(file: Path | io.BytesIO) -> Any:
    image = pillow()
    with warnings.catch_warnings():
        # Above this limit Pillow warns; above twice the limit it raises, which is enough.
        warnings.simplefilter("ignore", image.DecompressionBombWarning)
        return image.open(file, formats=("PNG", "JPEG"))


# The header of a PNG: signature, length and name of the chunk; then width, height, bit depth,
# colour type and three more bytes; then a checksum.
_PNG, _HEADER = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", slice(12, 29)


def _deep_grey_with_alpha(path: Path) -> np.ndarray | None:
    """Return 16-bit grey with alpha, which Pillow would reduce to 8 bits; None for other formats.

    A pixel of this format has two numbers of two bytes. They lie in the file as the four bytes of
    an 8-bit RGBA pixel, so the header is changed and Pillow reads the file as RGBA.
    """
    with path.open("rb") as file:
        start = file.read(33)
        header, checksum = start[_HEADER], start[29:33]
        if not start.startswith(_PNG) or header[12:14] != bytes([16, 4]):
            return None
        if zlib.crc32(header) != int.from_bytes(checksum):
            return None  # a broken file, for which Pillow raises
        header = header[:12] + bytes([8, 6]) + header[14:]
        patched = start[:12] + header + zlib.crc32(header).to_bytes(4)
        with _opened(io.BytesIO(patched + file.read())) as picture:
            pixels = np.asarray(picture).astype("uint16")
    return 256 * pixels[..., :1] + pixels[..., 1:2]
