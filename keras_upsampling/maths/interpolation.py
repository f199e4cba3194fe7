"""The interpolation filters: a table of records that are checked on creation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Lanczos filters sum to one within 1 % only; resampling scales the taps to sum to one exactly.
_SUM_TOLERANCE = 0.02


@dataclass(frozen=True)
class Interpolation:
    """The continuous filter of an interpolation.

    Attributes:
        name: Name of the interpolation, the same in every rank.
        radius: Half the width of the filter, in input samples.
        weight: The filter as a function of an array of distances from the upsampled position, in
            input samples.

    Raises:
        ValueError: If the filter is not even, is not zero outside its radius, is not 1 at 0 and 0
            at the other integers, or does not sum to one.
    """

    name: str
    radius: float
    weight: Callable[[np.ndarray], np.ndarray]

    def __post_init__(self) -> None:
        distance = np.linspace(0, self.radius + 2, 1001)
        integers = np.arange(-int(self.radius) - 1, int(self.radius) + 2)
        positions = np.linspace(0, 1, 101)[:, None]
        laws = {
            "be even": np.allclose(self.weight(distance), self.weight(-distance), atol=1e-12),
            "vanish outside its radius": not self.weight(distance[distance > self.radius]).any(),
            "be 1 at 0 and 0 at every other integer": np.allclose(
                self.weight(integers.astype(float)), integers == 0, atol=1e-12
            ),
            "sum to one": np.allclose(
                self.weight(positions - integers).sum(axis=1), 1, atol=_SUM_TOLERANCE
            ),
        }
        for law, holds in laws.items():
            if not holds:
                raise ValueError(f"The interpolation filter {self.name!r} must {law}.")


def _box(x: np.ndarray) -> np.ndarray:
    # 0.5 at the jumps makes it sum to one there; integer factors never sample there.
    return np.where(np.abs(x) < 0.5, 1.0, np.where(np.abs(x) == 0.5, 0.5, 0.0))


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(x: np.ndarray) -> np.ndarray:
    # Keys 1981 with a = -0.5, the only value that reproduces parabolas.
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x**2 + 1.0
    outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    def weight(x: np.ndarray) -> np.ndarray:
        return np.where(np.abs(x) < radius, np.sinc(x) * np.sinc(x / radius), 0.0)

    return weight


INTERPOLATIONS: dict[str, Interpolation] = {
    record.name: record
    for record in (
        Interpolation("nearest", 0.5, _box),
        Interpolation("linear", 1.0, _triangle),
        Interpolation("cubic", 2.0, _cubic),
        Interpolation("lanczos3", 3.0, _lanczos(3)),
        Interpolation("lanczos5", 5.0, _lanczos(5)),
    )
}

# Additional names, by rank.
NAMES_OF_RANK = {
    1: {},
    2: {"bilinear": "linear", "bicubic": "cubic"},
    3: {"trilinear": "linear"},
}


def interpolation_names(rank: int) -> tuple[str, ...]:
    """Return the names of interpolations that are valid in `rank` dimensions."""
    return (*INTERPOLATIONS, *NAMES_OF_RANK[rank])
