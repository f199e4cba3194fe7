"""Write `tests/data/reference.npz`, the outputs that every backend must reproduce.

    python -m tests.reference

Inputs, weights and outputs of `upsample_conv` in float64 by the definitions in
`tests/oracle.py`, for each interpolation with each padding, in one, two and three dimensions.
"""

import os
import tempfile
from itertools import product
from pathlib import Path

import numpy as np

from tests.oracle import upsample_conv
from tests.strategies import INTERPOLATIONS, PADDINGS

PATH = Path(__file__).parent / "data" / "reference.npz"

# Spatial shape, size, kernel_size, dilation_rate and groups, by rank.
SHAPES = {
    1: ((7,), (3,), (4,), (2,), 2),
    2: ((4, 5), (2, 3), (3, 2), (1, 2), 1),
    3: ((3, 2, 3), (1, 2, 2), (2, 3, 1), (1, 1, 1), 2),
}
CASES = list(product(SHAPES, INTERPOLATIONS, PADDINGS))


def main():
    """Write the file to a temporary folder, then move it to its path."""
    rng = np.random.default_rng(0)
    arrays = {}
    for rank, (spatial, size, kernel_size, dilation, groups) in SHAPES.items():
        x = arrays[f"x{rank}"] = rng.standard_normal((2, *spatial, 4))
        shape = (*kernel_size, 4 // groups, 4)
        kernel = arrays[f"kernel{rank}"] = rng.standard_normal(shape)
        for interpolation, padding in product(INTERPOLATIONS, PADDINGS):
            arrays[f"y{rank}_{interpolation}_{padding}"] = upsample_conv(
                x,
                kernel,
                0,
                size=size,
                interpolation=interpolation,
                padding=padding,
                dilation=dilation,
                groups=groups,
            ).astype("float32")
    with tempfile.TemporaryDirectory(dir=PATH.parent) as folder:
        np.savez_compressed(Path(folder) / PATH.name, **arrays)
        os.replace(Path(folder) / PATH.name, PATH)
    print(f"{PATH}: {len(arrays)} arrays, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
