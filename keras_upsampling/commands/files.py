"""Checking output files before a command starts, and writing them completely or not at all."""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
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


def only_a_file(text: str) -> str:
    """Parse the path of a writable file, without `-` for standard output."""
    if text == STANDARD_OUTPUT:
        raise argparse.ArgumentTypeError("'-' is not the name of a file. Use a file")
    return file_to_write(text)


def check_outputs(outputs: Mapping[str, str | None], inputs: Iterable[Path]) -> None:
    """Raise if a file cannot be written, is one of the inputs, or is written twice.

    Args:
        outputs: Files by option, such as `{"--json": "figures.json"}`; None: not written.
        inputs: The files that are read. It is iterated over once per output.

    Raises:
        ValueError: As in `check_writable`; the message names the option.
    """
    options: dict[str, str] = {}
    for option, file in outputs.items():
        if file is None or file == STANDARD_OUTPUT:
            continue
        try:
            check_writable(file, inputs)
        except ValueError as error:
            raise ValueError(f"{option}: {error}") from None
        other = options.setdefault(os.path.realpath(file), option)
        if other != option:
            raise ValueError(f"{option}: {file!r} is the file of {other}. Use another file")


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
    """Replace a file in one step by the one that `write` creates at the path it is called with.

    Args:
        path: Path of a file, which may exist. Its permissions are kept, and links to it stay links.
        write: Function that is called with the path of a temporary file. If it raises, the file
            stays as it is.

    Raises:
        ValueError: As in `check_writable`, which is called again: files may change in the meantime.
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


def files_in(path: Path) -> Iterator[tuple[Path, OSError | None]]:
    """Yield all files in a folder and its subfolders, or the path itself if it is not a folder.

    They are in alphabetical order. Links to folders are not followed. A folder that cannot be read
    is yielded with the error. The names in one folder are held at once: 100 MB for a million.
    """
    if not os.path.isdir(path):
        yield path, None
        return
    levels = [_sorted_names(path)]
    while levels:
        try:
            entry, is_folder = next(levels[-1])
        except StopIteration:
            levels.pop()
        except OSError as error:
            levels.pop()
            yield Path(error.filename), error
        else:
            if not is_folder:
                yield entry, None
            elif not entry.is_symlink():
                levels.append(_sorted_names(entry))


def _sorted_names(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the paths in one folder in alphabetical order, and whether they are folders."""
    with os.scandir(folder) as entries:
        names = sorted((entry.name, _is_folder(entry)) for entry in entries)
    yield from ((folder / name, is_folder) for name, is_folder in names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle; who reads it gets the error
        return False


def reading_error(file: Path) -> str | None:
    """Return the reason why something cannot be read as a file; None if it can."""
    try:
        status = file.stat()
    except OSError as error:
        return reason_of(error)
    if stat.S_ISREG(status.st_mode):
        return None
    return f"expected a file. Received: {kind_of(status)}"


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
