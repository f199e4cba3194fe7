"""Checking output files before a command starts, and writing them completely or not at all."""

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
    """Parse the path of a file or a folder, as a `type` of `add_argument`."""
    if not text:  # `Path("")` is the current folder
        raise argparse.ArgumentTypeError("'' names nothing; for the current folder, use .")
    return Path(text)


def file_to_write(text: str) -> str:
    """Parse the path of a writable file, or `-`, as a `type` of `add_argument`."""
    if text != STANDARD_OUTPUT:
        try:
            check_writable(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return text


def check_output(file: str | None, inputs: Iterable[Path]) -> None:
    """Raise if the file for the figures cannot be written, or is one of the inputs.

    Raises:
        ValueError: As in `check_writable`.
    """
    if file not in (None, STANDARD_OUTPUT):
        try:
            check_writable(file, inputs)
        except ValueError as error:
            raise ValueError(f"--json: {error}") from None


def check_writable(path: str | Path, inputs: Iterable[Path] = ()) -> None:
    """Raise if a file cannot be written, or must not be written.

    Args:
        path: Path of a file, which may exist. Links are followed.
        inputs: Files that must not be overwritten, also through links.

    Raises:
        ValueError: If the file is one of the inputs, is not a regular file, is the target of
            standard output or standard error, or is not writable.
    """
    name = repr(str(path))
    if not os.path.basename(path):
        raise ValueError(f"{name} is not the name of a file. Add the name")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise ValueError(f"there is no folder for {name}. Create it first")
    status = _status(path, name)
    if status is not None:
        if stat.S_ISDIR(status.st_mode):
            raise ValueError(f"{name} is a folder. Use a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name} is not a regular file, but {kind_of(status)}. Use a file")
        if any(_is_same(status, file) for file in inputs):
            raise ValueError(f"{name} is one of the files that are read. Use another file")
        if any(_is_same(status, stream) for stream in (1, 2)):
            raise ValueError(
                f"{name} is where standard output or standard error go. Use another file"
            )
        if not os.access(path, os.W_OK):
            raise ValueError(f"{name} is write-protected. Use another file")
    try:
        tempfile.TemporaryDirectory(prefix=".", dir=folder).cleanup()
    except OSError as error:
        raise ValueError(
            f"{name} cannot be written in its folder: {reason_of(error)}. Use another folder"
        ) from None


def replace_file(path: str | Path, write: Callable[[Path], object]) -> None:
    """Replace a file in one step: write a temporary file next to it, then move it.

    Args:
        path: Path of a file, which may exist. Its permissions are kept, and links to it stay links.
        write: Function that creates the file at the path that it is called with.

    Raises:
        ValueError: As in `check_writable`, which is called again because files may have changed.
        OSError: If the file cannot be written. The previous file is then unchanged.
    """
    check_writable(path)
    target = Path(os.path.realpath(path))
    # A new folder contains no other files; and files created in it have the usual permissions.
    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
        partial = Path(folder, "partial")
        write(partial)
        with contextlib.suppress(FileNotFoundError):
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(partial, target)


def files_in(path: Path, onerror: Callable[[OSError], object] | None = None) -> list[Path]:
    """Return all files in a folder and its subfolders, or the path itself if it is not a folder."""
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


def kind_of(status: os.stat_result) -> str:
    """Return the kind of something that is not a regular file, such as `"a pipe"`."""
    return next((kind for test, kind in _KINDS if test(status.st_mode)), "something else")


def _status(path: str | Path, name: str) -> os.stat_result | None:
    """Return the status of a path; None if nothing exists there."""
    try:
        return os.stat(path)
    except FileNotFoundError:  # also for a link whose target is missing
        return None
    except OSError as error:
        raise ValueError(f"{name} cannot be written: {reason_of(error)}") from None


def _is_same(status: os.stat_result, file: Path | int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(status, os.stat(file))
    return False
