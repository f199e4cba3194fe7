"""A product of the input with every tap of the kernel, then one with a matrix for each axis.

In two dimensions. The matrices hold what the borders ask too, so short axes, which are little
else, cost nothing extra.
"""

from __future__ import annotations

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths.phases import tap_matrix
from keras_upsampling.ops._upsample_conv.method import Method
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import Work, multiply_adds, passes, total
from keras_upsampling.ops.maps import add_bias
from keras_upsampling.ops.tables import traced_by_torch


def _run(x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    batch, height, width, channels = ops.shape(x)
    k_down, k_across, _, filters = kernel.shape
    down, across = (
        ops.convert_to_tensor(
            tap_matrix(length, s, task.interpolation, k, d, widths, task.around),
            dtype=keras.backend.standardize_dtype(x.dtype),
        )
        for length, s, k, d, widths in zip(
            (height, width),
            task.size,
            task.kernel_size,
            task.dilation_rate,
            task.widths,
            strict=True,
        )
    )
    # The axis that a matrix meets comes first, with its taps before it, so that every product is
    # one of few large matrices: those are the quick ones.
    lines = batch * height
    y = ops.reshape(ops.transpose(x, (2, 0, 1, 3)), (1, width * lines, channels))
    taps = ops.transpose(ops.cast(kernel, x.dtype), (1, 2, 0, 3))
    y = y @ ops.reshape(taps, (k_across, channels, k_down * filters))
    y = across @ ops.reshape(y, (k_across * width, lines * k_down * filters))
    rows, columns = down.shape[0], across.shape[0]
    y = ops.transpose(ops.reshape(y, (columns, batch, height, k_down, filters)), (1, 3, 2, 0, 4))
    y = down @ ops.reshape(y, (batch, k_down * height, columns * filters))
    return add_bias(ops.reshape(y, (batch, rows, columns, filters)), bias)


def _can(task: Task, shape: Shape) -> bool:
    return (
        task.rank == 2
        and task.groups == 1
        and None not in shape.spatial
        and not traced_by_torch()  # whose graphs hold no arrays of NumPy's
    )


def _work(task: Task, shape: Shape) -> Work:
    (height, width), (k_down, k_across) = shape.spatial, task.kernel_size
    rows, columns = (task.output_length(n, i) for i, n in enumerate(shape.spatial))
    lines = shape.batch * height * k_down * shape.filters
    return total(
        passes(2 * shape.numbers),  # turned
        passes(2 * k_down * k_across * shape.channels * shape.filters, kind="composed"),
        multiply_adds("product", shape.samples, k_across, shape.channels, k_down * shape.filters),
        multiply_adds("product", columns, 1, k_across * width, lines),
        passes(2 * columns * lines),  # turned
        multiply_adds("product", shape.batch * rows, 1, k_down * height, columns * shape.filters),
        {"held": columns * lines},
    )


MATRICES = Method("matrices", _run, _can, _work)
