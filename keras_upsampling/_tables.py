"""Tables in Markdown, and how to put things into a few words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, its columns in line; names in it may hold anything."""
    rows = [[visible(cell).replace("|", r"\|") for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), line(["-" * max(3, w) for w in widths]), *map(line, rows)])


def visible(text: str, *, line_breaks: bool = False) -> str:
    r"""Return text with escapes in the place of what is not printed, such as `\n` and `\x1b`.

    File names and what is in files may hold anything, and must neither break a table nor tell
    the terminal what to do. With `line_breaks`, those stay.
    """
    kept = "\n" if line_breaks else ""
    return "".join(
        letter
        if letter.isprintable() or letter in kept
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def by(lengths: Sequence[int | Fraction]) -> str:
    """Write lengths as in 2x4."""
    return "x".join(map(str, lengths))


def reason_of(error: Exception) -> str:
    """Return in one line what an error says, without the place that Keras puts before it."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = re.sub(r"\x1b\[\d*m", "", text).split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    told = [line for line in lines if not line.startswith("Exception encountered when calling")]
    return next(iter(told), type(error).__name__)
