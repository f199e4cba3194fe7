"""What commands print, on streams that may be closed."""

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

# How NumPy and the backends say it; they share no class.
_NO_MEMORY = re.compile(
    r"(not enough|out of|allocate) memory|unable to allocate|resource_?exhausted|\boom\b",
    re.IGNORECASE,
)


def reason(error: Exception) -> str:
    """Return in one line why something could not be done, for people."""
    if isinstance(error, MemoryError) or _NO_MEMORY.search(f"{type(error).__name__}: {error}"):
        return "it does not fit into memory"
    return reason_of(error)


class _StandardError(io.TextIOBase):
    """Standard error, which may be closed: what is said there is not worth an end."""

    def write(self, text: str) -> int:
        if sys.stderr is not None:
            with _abandoned(sys.stderr):
                sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        if sys.stderr is not None:
            with _abandoned(sys.stderr):
                sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()


@contextlib.contextmanager
def _abandoned(stream: Any) -> Iterator[None]:
    """Send to nowhere what a closed stream does not take."""
    try:
        yield
    except OSError:
        abandon(stream)


def abandon(stream: Any) -> None:
    """Let a stream go nowhere, so that what it still holds is no error at the end."""
    with contextlib.suppress(OSError, ValueError):  # a stream that is no file has no number
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def aside() -> contextlib.redirect_stdout[io.TextIOBase]:
    """Return a context in which what is printed goes to standard error, as progress does."""
    return contextlib.redirect_stdout(_StandardError())


def say(text: str) -> None:
    """Print a line to standard error."""
    _StandardError().write(visible(text) + "\n")


def publish(text: str, figures: str, file: str | None) -> bool:
    """Print what was measured, and write its figures to a file.

    Args:
        text: What to print; nothing if it is empty.
        figures: The same as JSON.
        file: Where to, or `-`: then they are all that is printed, and the text goes to standard
            error.

    Returns:
        False if something could not be written, which is said.

    Raises:
        BrokenPipeError: nobody reads what is printed. The file has been written by then.
    """
    if file == STANDARD_OUTPUT:
        written = sys.stdout is not None and _print(figures)
        if sys.stdout is None:
            say("standard output is closed, so the figures are lost; name a file")
        _StandardError().write(text and text + "\n")
        return written
    written = True
    if file:
        try:
            replace_file(file, lambda path: path.write_text(figures + "\n", encoding="utf-8"))
        except (OSError, ValueError) as error:
            say(f"{file}: {reason(error)}")
            written = False
    return _print(text) and written


def _print(text: str) -> bool:
    if not text or sys.stdout is None:  # it was closed before Python began
        return True
    # A name that the terminal cannot show must not lose what was measured.
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk
        say(f"standard output: {reason(error)}")
        abandon(sys.stdout)
        return False
    return True
