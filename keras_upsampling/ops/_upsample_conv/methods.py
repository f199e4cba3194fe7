"""The table of methods, and the kinds of work that they count."""

from __future__ import annotations

import functools
import json
import zlib

from keras_upsampling.maths.padding import pad_widths
from keras_upsampling.ops._upsample_conv.convolutions import PHASES, RESIZE
from keras_upsampling.ops._upsample_conv.products import MATRICES, ONE_PRODUCT
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.transposed import TRANSPOSED
from keras_upsampling.ops._upsample_conv.work import Work

METHODS = {method.name: method for method in (RESIZE, PHASES, ONE_PRODUCT, MATRICES, TRANSPOSED)}

PASSES = ("forward", "backward")


def _works(size: int, interpolation: str) -> dict[str, Work]:
    """Return the work of every method for one small map."""
    task = Task(
        size=(size, size),
        interpolation=interpolation,
        padding="same",
        widths=(pad_widths(3, "same"),) * 2,
        kernel_size=(3, 3),
        dilation_rate=(1, 1),
        groups=1,
        data_format="channels_last",
    )
    shape = Shape(1, (32, 32), 4, 8)
    return {name: method.work(task, shape) for name, method in METHODS.items()}


@functools.cache
def kinds() -> tuple[str, ...]:
    """Return the names of the kinds of work that take time, and so have a rate."""
    found = {kind for work in _works(2, "linear").values() for kind in work}
    return tuple(sorted(kind for kind in found if not kind.startswith("held")))


@functools.cache
def counting() -> str:
    """Return a checksum of how work is counted: rates fitted to other counts mean nothing."""
    works = [_works(size, name) for size in (2, 3) for name in ("nearest", "linear", "cubic")]
    return f"{zlib.crc32(json.dumps(works, sort_keys=True).encode()):08x}"
