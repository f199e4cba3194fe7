"""Finding image files and reading them."""

from __future__ import annotations

import io
import math
import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_upsampling._tables import reason_of
from keras_upsampling.commands.files import files_in

_PICTURES = (".png", ".jpg", ".jpeg")
ENDINGS = (*_PICTURES, ".npy")


def is_picture(path: Path) -> bool:
    """Return whether a file is read with Pillow."""
    return path.suffix.lower() in _PICTURES


@dataclass(frozen=True)
class FoundFiles:
    """The files at some paths, each once. They are searched anew at every iteration, never held.

    Folders are searched in alphabetical order for files with one of the `ENDINGS`. A path to a file
    counts with any ending; `open_images` raises for unknown ones.
    """

    paths: Sequence[Path]

    def __iter__(self) -> Iterator[Path]:
        return (path for path, error in self.entries() if error is None)

    def entries(self) -> Iterator[tuple[Path, str | None]]:
        """Yield every file with None, and every folder that cannot be searched with the reason."""
        first: dict[str, int] = {}  # the number of the first argument that is this path
        for number, path in enumerate(self.paths):
            first.setdefault(os.path.abspath(path), number)
        for number, path in enumerate(self.paths):
            is_folder = os.path.isdir(path)
            for file, error in files_in(path):
                if error is not None:
                    yield file, reason_of(error)
                elif is_folder and file.suffix.lower() not in ENDINGS:
                    continue
                elif not _found_earlier(file, first, number):
                    yield file, None


def _found_earlier(file: Path, first: dict[str, int], number: int) -> bool:
    """Return whether a file is found at an argument before the one of this number as well."""
    if number == 0:
        return False
    path = os.path.abspath(file)
    if first.get(path, number) < number:
        return True
    if file.suffix.lower() not in ENDINGS:
        return False
    while (folder := os.path.dirname(path)) != path:
        if first.get(folder, number) < number:
            return True
        if os.path.islink(folder):  # searching a folder above does not come here
            return False
        path = folder
    return False


@dataclass(frozen=True)
class ImagesOfFile:
    """The images of one file, which are read one at a time.

    Attributes:
        path: The file.
        number: How many images it holds; None if it is one image rather than several.
        shape: Height, width and channels of each.
        dtype: Dtype of each.
        load: Function that returns the image of an index.
    """

    path: Path
    number: int | None
    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[int], np.ndarray]

    def name(self, index: int) -> str:
        """Return the name of an image: of several, with its index."""
        return str(self.path) if self.number is None else f"{self.path}[{index}]"


def open_images(path: Path) -> ImagesOfFile:
    """Return the images of a file, of which several are not read yet.

    Raises:
        ValueError: If the ending is unknown, or an array is not an image by its shape or dtype.
        Exception: If the file cannot be decoded. Decoders raise exceptions of any class.
    """
    if is_picture(path):
        picture = _picture(path)
        return ImagesOfFile(path, None, picture.shape, picture.dtype, lambda _: picture)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(
            f"the name of a file must end in {', '.join(ENDINGS)}. Received: {path.suffix!r}. "
            "Convert the file"
        )
    with path.open("rb") as file:
        # Unlike `np.load`, this reads no other formats, and its errors do not mention pickles.
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(
                f"expected a .npy file of version {' or '.join(f'{n}.0' for n, _ in _HEADERS)}. "
                f"Received: version {version}. Write it again with `numpy.save`"
            )
        shape, is_fortran, dtype = _HEADERS[version](file)
        start, length = file.tell(), os.fstat(file.fileno()).st_size
    if dtype.kind not in "buif":
        raise ValueError(
            f"the array must hold numbers. Received: dtype {dtype}. Convert it, for example "
            "to float32"
        )
    if len(shape) not in (2, 3, 4) or min(shape) < 1:
        raise ValueError(
            "the array must be (H, W), (H, W, C), (N, H, W) or (N, H, W, C), and not empty. "
            f"Received: shape {shape}. Reshape it, or leave the file out"
        )
    expected = start + math.prod(shape) * dtype.itemsize
    if length < expected:
        raise ValueError(
            f"Failed to read all data: expected {expected} bytes for shape {shape} and dtype "
            f"{dtype}. Received: {length}. Write the file again"
        )
    is_one = len(shape) == 2 or (len(shape) == 3 and shape[-1] <= _MAX_CHANNELS)
    batch = (1, *shape) if is_one else shape
    read = (_interleaved_reader if is_fortran else _reader)(path, start, batch, dtype)
    channels = () if len(batch) == 4 else (1,)
    return ImagesOfFile(
        path,
        None if is_one else batch[0],
        (*batch[1:], *channels),
        dtype,
        lambda index: read(index).reshape(*batch[1:], *channels),
    )


# A last axis of three is the channels up to this length: images that narrow are not measured.
_MAX_CHANNELS = 4

# The functions that read the header, by the version of the format. Version 3.0 differs from 2.0 in
# the names of fields only.
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,
}


def _reader(
    path: Path, start: int, shape: tuple[int, ...], dtype: np.dtype
) -> Callable[[int], np.ndarray]:
    """Return the function that reads one image of an array whose data begin at byte `start`."""
    samples = math.prod(shape[1:])

    def read(index: int) -> np.ndarray:
        # Not mapped into memory: reading errors of a mapped file would end the program.
        with path.open("rb") as file:
            file.seek(start + index * samples * dtype.itemsize)
            image = np.fromfile(file, dtype, samples)
        if len(image) < samples:
            raise ValueError("Failed to read all data: the file has become shorter")
        return image

    return read


def _interleaved_reader(
    path: Path, start: int, shape: tuple[int, ...], dtype: np.dtype
) -> Callable[[int], np.ndarray]:
    """Return the same function for an array in Fortran's order, whose images are interleaved.

    The file is mapped: if it becomes shorter in the meantime, the system ends the program.
    """
    return lambda index: np.array(np.memmap(path, dtype, "r", start, shape, "F")[index])


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
