"""Draw the sample of MNIST digits for the examples from the full set.

    python draw_sample.py mnist.npz

The same source and seed give the same sample.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

PER_CLASS = {"train": 500, "test": 100}


def draw(
    images: np.ndarray, labels: np.ndarray, per_class: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `per_class` digits of each class, without repeating any.

    Args:
        images: Digits, `(n, 28, 28)`.
        labels: Their classes 0 to 9, `(n,)`.
        per_class: Number of digits to draw of each class.
        rng: Random generator.

    Returns:
        The drawn images and labels. Every ten digits from a multiple of ten on contain each class
        once, in random order. A validation split from the end of the arrays is therefore balanced.

    Raises:
        ValueError: If a class has fewer than `per_class` digits.
    """
    columns = []
    for digit in range(10):
        indices = np.flatnonzero(labels == digit)
        if len(indices) < per_class:
            raise ValueError(
                f"The source must have at least {per_class} digits of class {digit}. "
                f"Received: {len(indices)}."
            )
        columns.append(rng.permutation(indices)[:per_class])
    tens = np.stack(columns, axis=1)
    order = rng.permuted(tens, axis=1).ravel()
    return images[order], labels[order]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "source", type=Path, help="the full set, in the layout of Keras's mnist.npz"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).with_name("mnist_sample.npz"),
        help="path of the sample (default: in the folder of this program)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args(argv)

    rng = np.random.default_rng(arguments.seed)
    sample = {}
    with np.load(arguments.source) as source:
        for part, per_class in PER_CLASS.items():
            images, labels = draw(source[f"x_{part}"], source[f"y_{part}"], per_class, rng)
            sample[f"x_{part}"], sample[f"y_{part}"] = images, labels

    # Write to a temporary file and rename it, so that the sample is never incomplete.
    partial = arguments.output.with_name(f".{arguments.output.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, **sample)
        partial.replace(arguments.output)
    finally:
        partial.unlink(missing_ok=True)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
