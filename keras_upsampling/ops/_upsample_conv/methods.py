"""The table of methods, and the kinds of work that they count."""

from __future__ import annotations

import functools
import json
import zlib

from keras_upsampling.maths.padding import kernel_extent, pad_widths
from keras_upsampling.ops._upsample_conv.convolutions import PHASES, RESIZE
from keras_upsampling.ops._upsample_conv.products import MATRICES, ONE_PRODUCT
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.transposed import TRANSPOSED
from keras_upsampling.ops._upsample_conv.work import HELD, HELD_IN_TRAINING, Work

METHODS = {method.name: method for method in (RESIZE, PHASES, ONE_PRODUCT, MATRICES, TRANSPOSED)}

PASSES = ("forward", "backward")


# Small tasks that differ in all that work depends on: factors, taps, dilation, groups, padding and
# interpolation. The same methods can do them on all backends.
_TASKS = (
    ((2, 2), (3, 3), 1, 1, "same", "linear"),
    ((2, 3), (3, 3), 1, 1, "same", "nearest"),
    ((3, 3), (4, 4), 1, 1, "valid", "cubic"),
    ((2,), (5,), 2, 1, "edge", "nearest"),
    ((4, 4), (5, 5), 1, 2, "reflect", "linear"),
    ((3, 3, 3), (2, 2, 2), 1, 1, "same", "nearest"),
)


def _works() -> list[dict[str, Work]]:
    """Return the work of every method that can do a small task, for each task."""
    works = []
    for size, kernel_size, dilation, groups, padding, interpolation in _TASKS:
        extents = [kernel_extent(k, dilation) for k in kernel_size]
        task = Task(
            size=size,
            interpolation=interpolation,
            padding=padding,
            widths=tuple(pad_widths(extent, padding) for extent in extents),
            kernel_size=kernel_size,
            dilation_rate=(dilation,) * len(size),
            groups=groups,
            data_format="channels_last",
        )
        shape = Shape(1, (32,) * len(size), 4, 8)
        works.append(
            {
                name: method.work(task, shape)
                for name, method in METHODS.items()
                if method.can(task, shape)
            }
        )
    return works


@functools.cache
def kinds() -> tuple[str, ...]:
    """Return the names of the kinds of work that take time, and so have a rate."""
    found = {kind for works in _works() for work in works.values() for kind in work}
    return tuple(sorted(found - {HELD, HELD_IN_TRAINING}))


@functools.cache
def counting() -> str:
    """Return a checksum of how work is counted: rates fitted to other counts mean nothing."""
    counts = [
        (name, kind, work.get(kind, 0.0))
        for works in _works()
        for name, work in sorted(works.items())
        for kind in kinds()
    ]
    return f"{zlib.crc32(json.dumps(counts).encode()):08x}"
