"""Printing to standard output and standard error, which may be closed."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from keras_upsampling._tables import reason_of, visible
from keras_upsampling.commands.files import STANDARD_OUTPUT, replace_file

# Messages of NumPy and the backends: their exceptions have no common class.
_NO_MEMORY = re.compile(
    r"(not enough|out of|allocate) memory|unable to allocate|resource_?exhausted|\boom\b",
    re.IGNORECASE,
)


def reason(error: Exception) -> str:
    """Return the reason of an error as one readable line."""
    if isinstance(error, MemoryError) or _NO_MEMORY.search(f"{type(error).__name__}: {error}"):
        return "it does not fit into memory"
    return reason_of(error)


class _StandardError(io.TextIOBase):
    """Standard error that may be closed: writing to it never ends the program."""

    def write(self, text: str) -> int:
        if sys.stderr is not None:
            with _abandon_on_error(sys.stderr):
                sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        if sys.stderr is not None:
            with _abandon_on_error(sys.stderr):
                sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()


@contextlib.contextmanager
def _abandon_on_error(stream: Any) -> Iterator[None]:
    """Abandon the stream if it raises, as a closed pipe does."""
    try:
        yield
    except OSError:
        abandon(stream)


def abandon(stream: Any) -> None:
    """Redirect a stream to the null device, so that flushing it at exit does not fail."""
    with contextlib.suppress(OSError, ValueError):  # not every stream has a file descriptor
        descriptor = stream.fileno()
        null_device = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null_device, descriptor)
        os.close(null_device)


def aside() -> contextlib.redirect_stdout[io.TextIOBase]:
    """Return a context that redirects standard output to standard error, such as progress bars."""
    return contextlib.redirect_stdout(_StandardError())


def say(text: str) -> None:
    """Print a line to standard error."""
    _StandardError().write(visible(text) + "\n")


def publish(text: str, figures: str, file: str | None) -> bool:
    """Print the results, and write their figures to a file.

    Args:
        text: Text to print, or an empty string.
        figures: The results as JSON.
        file: Path of the file for the figures, or None. For `-`, the figures go to standard output
            and the text to standard error.

    Returns:
        False if something could not be written; a message has then been printed.

    Raises:
        BrokenPipeError: If standard output is a pipe that nobody reads. The file is written first.
    """
    if file == STANDARD_OUTPUT:
        written = sys.stdout is not None and _print(figures)
        if sys.stdout is None:
            say("standard output is closed, so the figures are lost. Use a file")
        _StandardError().write(text and text + "\n")
        return written
    written = file is None or save(file, figures)
    return _print(text) and written


def save(file: str, text: str) -> bool:
    """Write a file in one step; return False after a message if it cannot be written."""
    try:
        replace_file(file, lambda path: path.write_text(text + "\n", encoding="utf-8"))
    except (OSError, ValueError) as error:
        say(f"{file}: {reason(error)}")
        return False
    return True


def append(file: str, line: str) -> bool:
    """Write a line at the end of a file; return False after a message if it cannot be written."""
    try:
        with open(file, "a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    except OSError as error:  # such as a full disk
        say(f"{file}: {reason(error)}")
        return False
    return True


def _print(text: str) -> bool:
    if not text or sys.stdout is None:  # closed before Python started
        return True
    # A name that the terminal cannot show must not raise: the results would be lost.
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:  # such as a full disk
        say(f"standard output: {reason(error)}")
        abandon(sys.stdout)
        return False
    return True
