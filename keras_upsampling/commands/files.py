"""Files that are written: checked before anything is measured, and never half written."""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from keras_upsampling._tables import reason_of

STANDARD_OUTPUT = "-"


def named_path(text: str) -> Path:
    """Read the name of a file or a folder, for `add_argument`."""
    if not text:  # which `Path` takes for the current folder
        raise argparse.ArgumentTypeError("'' names nothing; for the current folder, write .")
    return Path(text)


def file_to_write(text: str) -> str:
    """Read the name of a file that can be written, or `-`, for `add_argument`."""
    if text != STANDARD_OUTPUT:
        try:
            check_writable(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return text


def check_output(file: str | None, inputs: Iterable[Path]) -> None:
    """Refuse to write figures over a file that is read.

    Raises:
        ValueError: as `check_writable`.
    """
    if file not in (None, STANDARD_OUTPUT):
        try:
            check_writable(file, inputs)
        except ValueError as error:
            raise ValueError(f"--json: {error}") from None


def check_writable(path: str | Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse a file that cannot be written, or that must not be.

    Args:
        path: Of a file that may exist. Links are followed.
        inputs: Files that must not be overwritten, under whatever name.

    Raises:
        ValueError: it is one of the inputs, something else than a regular file, or where standard
            output or standard error go; or it cannot be written, as far as one can tell.
    """
    name = repr(str(path))
    if not os.path.basename(path):
        raise ValueError(f"{name} is not the name of a file")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise ValueError(f"there is no folder for {name}; make it first")
    found = _status(path, name)
    if found is not None:
        if stat.S_ISDIR(found.st_mode):
            raise ValueError(f"{name} is a folder; name a file in it")
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(
                f"{name} is not a regular file, but {kind_of(found)}; only files are written"
            )
        if any(_is_same(found, file) for file in inputs):
            raise ValueError(f"{name} is one of the files that are read; name another file")
        if any(_is_same(found, stream) for stream in (1, 2)):
            raise ValueError(
                f"{name} is where standard output or standard error go; name another file"
            )
        if not os.access(path, os.W_OK):
            raise ValueError(f"{name} is write-protected")
    try:
        tempfile.TemporaryDirectory(prefix=".", dir=folder).cleanup()
    except OSError as error:
        raise ValueError(f"{name} cannot be written in its folder: {reason_of(error)}") from None


def replace_file(path: str | Path, write: Callable[[Path], object]) -> None:
    """Have a file written beside its place, then move it there: never half a file.

    Args:
        path: Of a file that may exist; it keeps its permissions, and links to it stay links.
        write: Gets the path of a file that does not exist, and makes it.

    Raises:
        ValueError: as `check_writable`; something may have changed since that was called.
        OSError: it cannot be written. There is then what was there before.
    """
    check_writable(path)
    target = Path(os.path.realpath(path))
    # In a new folder every name is free; and what is made there has the usual permissions.
    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
        partial = Path(folder, "partial")
        write(partial)
        with contextlib.suppress(FileNotFoundError):
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(partial, target)


def files_in(path: Path, onerror: Callable[[OSError], object] | None = None) -> list[Path]:
    """Return a file as it is named, or all the files in a folder."""
    if not os.path.isdir(path):
        return [path]
    walk = os.walk(path, onerror=onerror)
    return [Path(folder, name) for folder, _, names in walk for name in names]


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of(found: os.stat_result) -> str:
    """Return what something is that is not a regular file."""
    return next((kind for test, kind in _KINDS if test(found.st_mode)), "something else")


def _status(path: str | Path, name: str) -> os.stat_result | None:
    """Return what is found at a path; None if there is nothing yet."""
    try:
        return os.stat(path)
    except FileNotFoundError:  # a link to nothing, too
        return None
    except OSError as error:
        raise ValueError(f"{name} cannot be written: {reason_of(error)}") from None


def _is_same(found: os.stat_result, file: Path | int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(found, os.stat(file))
    return False
