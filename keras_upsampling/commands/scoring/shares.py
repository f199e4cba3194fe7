"""`Share`: a part of the images at some paths; and which shares results are of."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Share(NamedTuple):
    """One of several parts of the images: of every file, one image in `shares`, in turn."""

    number: int  # from 1
    shares: int

    def indices(self, file: int, images: int) -> range:
        """Return which images of the file of this number belong to the share."""
        return range((self.number - 1 - file) % self.shares, images, self.shares)

    def __str__(self) -> str:
        return f"{self.number}/{self.shares}"


ALL = Share(1, 1)


class Part(NamedTuple):
    """The shares of the images at some paths of which there are results."""

    paths: tuple[str, ...]  # absolute
    shares: int
    numbers: frozenset[int]

    def missing(self) -> str | None:
        """Return the shares that are missing, as text; None if all are there."""
        number = self.shares - len(self.numbers)
        if not number:
            return None
        missing = (n for n in range(1, self.shares + 1) if n not in self.numbers)
        names = ", ".join(str(Share(n, self.shares)) for n in itertools.islice(missing, 9))
        more = f" and {number - 9} more" if number > 9 else ""
        are = "share {} is" if number == 1 else "shares {} are"
        return f"{are.format(names + more)} missing of the images at {_named(self.paths)}"


def part_of(paths: Iterable[str | os.PathLike[str]], share: Share) -> Part:
    """Return the part that a run measures."""
    return Part(tuple(map(os.path.abspath, paths)), share.shares, frozenset([share.number]))


def joined(parts: Sequence[Part], other: Part) -> list[Part]:
    """Return parts with another one, which must have no image in common with them.

    Paths are compared as text: files that two paths name through links are not noticed.

    Raises:
        ValueError: If images are in two of them.
    """
    same = next((part for part in parts if part.paths == other.paths), None)
    if same is None:
        given = {path for part in parts for path in part.paths}
        common = next(
            itertools.chain(_inside(other.paths, given), _inside(given, {*other.paths})), None
        )
        if common:
            raise ValueError(
                f"no image may be scored twice. Received: results of {common!r}, which those "
                "before have too, by other paths. Leave one out, or score all paths in one run"
            )
        return [*parts, other]
    if same.shares != other.shares:
        raise ValueError(
            f"shares of the same images must be of one number. Expected: {same.shares}, as before. "
            f"Received: {other.shares}, of the images at {_named(other.paths)}. Leave one of them "
            "out"
        )
    if twice := same.numbers & other.numbers:
        share = Share(min(twice), same.shares)
        raise ValueError(
            f"no image may be scored twice. Received: share {share} of the images at "
            f"{_named(other.paths)} again. Leave one of them out"
        )
    whole = same._replace(numbers=same.numbers | other.numbers)
    return [whole if part is same else part for part in parts]


def _inside(paths: Iterable[str], folders: set[str]) -> Iterator[str]:
    """Yield those of absolute paths that are one of the folders or inside of one."""
    for path in paths:
        above, name = path, path
        while name:
            if above in folders:
                yield path
                break
            above, name = os.path.split(above)


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return repr(paths[0]) + more
