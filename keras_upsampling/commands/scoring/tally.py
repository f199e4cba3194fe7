"""`Tally`: what is kept of the images of a run, in bounded memory, so that runs can be merged."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import Any, NamedTuple


class Row(NamedTuple):
    """The results of one image."""

    file: str
    shape: tuple[int, ...]
    data_range: float
    db: float
    amplitude: float
    band_db: float
    p_value: float
    detected: bool
    stride: int | None  # None without `--detect-stride`

    def record(self) -> dict[str, Any]:
        """Return the results as they are written as JSON."""
        return {field: value for field, value in self._asdict().items() if value is not None}


class Failure(NamedTuple):
    """An image or a file that could not be measured."""

    file: str
    reason: str

    def record(self) -> dict[str, Any]:
        """Return it as it is written as JSON."""
        return self._asdict()


class Settings(NamedTuple):
    """What the numbers of an image depend on. Only tallies with the same settings are merged."""

    version: str  # of this package
    size: tuple[int, int]
    data_range: float | None
    detect_stride: bool


# How many marks of images a tally keeps, to notice an image that two tallies contain.
MARKS = 1000


class Tally:
    """Sums over the images of a run, its worst rows, and its first failures.

    The sums are exact, as fractions. So tallies of parts of the images, merged in any order, give
    the same numbers as one of all images, to the last bit.

    The marks are the smallest of the numbers that identify images. Two tallies of 1000 images at
    most have one in common exactly if they share an image. Of larger ones, those that share one in
    a hundred images of the larger have ten in common on average.

    Attributes:
        settings: What was measured.
        limit: Most rows and failures that are kept.
        images: Number of images that were measured.
        detections: Number of those with a detected pattern.
        ratios: Sum of the power ratios whose decibels are `db`.
        squares: Sum of the squares of the amplitudes as shares of the range.
        strides: Number of images by detected stride.
        failed: Number of failures.
        failures: The first of them.
        marks: Marks of images, among them the smallest.
        kept: Rows of images, among them those that `rows` returns.
        interrupted: Whether a run was interrupted, so that images are missing.
    """

    def __init__(self, settings: Settings, limit: int) -> None:
        self.settings = settings
        self.limit = limit
        self.images = self.detections = self.failed = 0
        self.ratios = self.squares = Fraction()
        self.strides: Counter[int] = Counter()
        self.failures: list[Failure] = []
        self.marks: set[int] = set()
        self.interrupted = False
        self.kept: list[Row] = []

    def add(self, result: Row | Failure, mark: int) -> None:
        """Add the results of an image and its mark, or else its failure."""
        if isinstance(result, Failure):
            self.failed += 1
            if len(self.failures) < self.limit:
                self.failures.append(result)
        else:
            self._add(result, mark)

    def _add(self, row: Row, mark: int) -> None:
        ratio = Fraction(10 ** (row.db / 10))
        square = Fraction((row.amplitude / row.data_range) ** 2)
        self.images += 1
        self.detections += row.detected
        self.ratios += ratio
        self.squares += square
        if row.stride is not None:
            self.strides[row.stride] += 1
        self.marks.add(mark)
        self.kept.append(row)
        self._drop()

    def merge(self, other: Tally) -> None:
        """Add the images of another tally.

        Raises:
            ValueError: If its settings differ, or it contains images of this one.
        """
        if other.settings != self.settings:
            expected, received = (
                ", ".join(
                    f"{field}={mine!r}"
                    for field, mine, theirs in zip(Settings._fields, one, another, strict=True)
                    if mine != theirs
                )
                for one, another in (
                    (self.settings, other.settings),
                    (other.settings, self.settings),
                )
            )
            raise ValueError(
                f"states must be of the same options and version. Expected: {expected}, as before. "
                f"Received: {received}. Score all images in the same way"
            )
        if common := len(self.least_marks() & other.least_marks()):
            raise ValueError(
                "no image may be scored twice. Received: a state with "
                f"{'an image' if common == 1 else f'{common} images or more'} of those before. "
                "Leave one of them out"
            )
        self.limit = min(self.limit, other.limit)
        self.images += other.images
        self.detections += other.detections
        self.ratios += other.ratios
        self.squares += other.squares
        self.strides += other.strides
        self.failed += other.failed
        self.failures = [*self.failures, *other.failures][: self.limit]
        self.marks |= other.marks
        self.interrupted |= other.interrupted
        self.kept += other.rows()
        self._drop()

    def rows(self) -> list[Row]:
        """Return the rows: all in the order of measurement, or else the worst, the worst first."""
        if self.images <= self.limit:
            return self.kept
        return sorted(self.kept, key=_goodness)[: self.limit]

    def least_marks(self) -> set[int]:
        """Return the smallest marks, by which tallies are compared."""
        return set(sorted(self.marks)[:MARKS])

    def _drop(self) -> None:
        """Drop rows and marks that cannot count any more, seldom enough to cost little."""
        if len(self.kept) > 2 * self.limit:
            self.kept = self.rows()
        if len(self.marks) > 2 * MARKS:
            self.marks = self.least_marks()

    def summary(self) -> dict[str, Any]:
        """Return the means over the images; `db` is the mean of the ratios, as in the metric."""
        summary: dict[str, Any] = {
            "images": self.images,
            "failures": self.failed,
            "db": None,
            "detection_rate": None,
            "relative_amplitude": None,
        }
        if self.images:
            ratio = float(self.ratios / self.images)
            summary |= {
                "db": 10 * math.log10(ratio) if ratio else -math.inf,
                "detection_rate": self.detections / self.images,
                "relative_amplitude": math.sqrt(self.squares / self.images),
            }
        if self.settings.detect_stride:
            summary["strides"] = {str(stride): n for stride, n in sorted(self.strides.items())}
        return summary


def _goodness(row: Row) -> tuple[bool, float, str]:
    """Return the key by which the worst rows come first, whatever the order of measurement."""
    return not row.detected, -row.db, row.file
