"""`Tally`: what is kept of the images of a run, in bounded memory, so that runs can be merged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from keras_upsampling.commands.scoring.shares import Part, joined


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


# Most rows, and most failures, that a tally keeps.
MOST = 1000


class Tally:
    """Sums over the images of a run, its strongest rows, and its first failures.

    The sums are exact, as fractions. So tallies of parts of the images, merged in any order, give
    the same numbers as one of all images, to the last bit, if the rows are equal.

    Attributes:
        settings: What was measured.
        parts: Of which paths and shares.
        interrupted: Whether a run ended early, so that images of these are missing.
        images: Number of images that were measured.
        detections: Number of those with a detected pattern.
        ratios: Sum of the power ratios whose decibels are `db`.
        squares: Sum of the squares of the amplitudes, relative to the range.
        strides: Number of images by detected stride.
        failed: Number of failures.
        failures: The first of them.
        kept: Rows of images, among them those that `rows` returns.
    """

    def __init__(self, settings: Settings, parts: Sequence[Part]) -> None:
        self.settings = settings
        self.parts = list(parts)
        self.interrupted = False
        self.images = self.detections = self.failed = 0
        self.ratios = self.squares = Fraction()
        self.strides: Counter[int] = Counter()
        self.failures: list[Failure] = []
        self.kept: list[Row] = []

    def add(self, result: Row | Failure) -> None:
        """Add the results of an image, or else its failure."""
        if isinstance(result, Failure):
            self.failed += 1
            if len(self.failures) < MOST:
                self.failures.append(result)
            return
        self.images += 1
        self.detections += result.detected
        self.ratios += Fraction(10 ** (result.db / 10))
        self.squares += Fraction((result.amplitude / result.data_range) ** 2)
        if result.stride is not None:
            self.strides[result.stride] += 1
        self.kept.append(result)
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
        parts = self.parts
        for part in other.parts:
            parts = joined(parts, part)
        self.parts = parts
        self.interrupted |= other.interrupted
        self.images += other.images
        self.detections += other.detections
        self.ratios += other.ratios
        self.squares += other.squares
        self.strides += other.strides
        self.failed += other.failed
        self.failures = [*self.failures, *other.failures][:MOST]
        self.kept += other.rows()
        self._drop()

    def rows(self) -> list[Row]:
        """Return all rows in the order of measurement, or else the strongest, in their order."""
        if self.images <= MOST:
            return self.kept
        return sorted(self.kept, key=_strongest_first)[:MOST]

    def _drop(self) -> None:
        """Drop rows that cannot count any more, seldom enough to cost little."""
        if len(self.kept) > 2 * MOST:
            self.kept = self.rows()

    def missing(self) -> list[str]:
        """Return what is missing of shares, as text: one entry for all shares of some paths."""
        return [missing for part in self.parts if (missing := part.missing())]

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


def _strongest_first(row: Row) -> tuple[bool, float, str]:
    """Return the key of a row for sorting, which does not depend on the order of measurement."""
    return not row.detected, -row.db, row.file
