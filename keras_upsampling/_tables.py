"""Formatting of tables, sizes and error messages as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns; special characters in cells are escaped."""
    rows = [[visible(cell).replace("|", r"\|") for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), line(["-" * max(3, w) for w in widths]), *map(line, rows)])


def visible(text: str, *, line_breaks: bool = False) -> str:
    r"""Return `text` with unprintable characters replaced by escapes such as `\n` and `\x1b`.

    File names and file contents may contain control characters. They must not break a table or
    control the terminal.

    Args:
        text: Text to print.
        line_breaks: Whether to keep line breaks.
    """
    kept = "\n" if line_breaks else ""
    return "".join(
        letter
        if letter.isprintable() or letter in kept
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def by(lengths: Sequence[int | Fraction]) -> str:
    """Return lengths as text such as `2x4`."""
    return "x".join(map(str, lengths))


def reason_of(error: Exception) -> str:
    """Return the message of an error in one line, without the line that Keras adds."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = re.sub(r"\x1b\[\d*m", "", text).split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    message = [line for line in lines if not line.startswith("Exception encountered when calling")]
    return next(iter(message), type(error).__name__)
