"""What a method of upsampling and convolving is, and how one or two of them are run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import Work
from keras_upsampling.ops.gradient import with_gradient_of
from keras_upsampling.ops.tables import traced_for_onnx


@dataclass(frozen=True)
class Method:
    """One way to upsample and convolve.

    Attributes:
        name: What tables and measurements call it.
        run: Takes the input, the kernel, the bias or None, and the task. Channels come last, but
            for `resize`, which takes either format.
        can: Whether the method does a task exactly, for an input of a shape.
        work: What that costs on paper; every length must be known. The backward pass goes through
            the same operations the other way: the same counts, at seconds of its own.
    """

    name: str
    run: Callable[[Tensor, Tensor, Tensor | None, Task], Tensor]
    can: Callable[[Task, Shape], bool]
    work: Callable[[Task, Shape], Work]


def one_step(can: Callable[[Task, Shape], bool]) -> Callable[[Task, Shape], bool]:
    """Return `can`, and what every method but `resize` needs."""
    # Without enlargement there is nothing to save. Programs for ONNX with unknown lengths were
    # wrong by transposed convolutions.
    return lambda task, shape: max(task.size) > 1 and not traced_for_onnx() and can(task, shape)


def run(
    forward: Method, backward: Method, x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task
) -> Tensor:
    """Run a task by one method, with the gradients of another or the same."""
    # TensorFlow convolves channels first on GPUs only, and the one-step methods are written for
    # channels last: the input is transposed, while it is small.
    transposed = task.data_format == "channels_first" and (
        {forward.name, backward.name} != {"resize"} or keras.backend.backend() == "tensorflow"
    )
    if transposed:
        x, task = ops.moveaxis(x, 1, -1), task._replace(data_format="channels_last")

    def by(method: Method) -> Callable[..., Tensor]:
        """A function of tensors alone: the input, the kernel, and the bias if there is one."""
        return lambda x, kernel, bias=None: method.run(x, kernel, bias, task)

    function = by(forward) if forward == backward else with_gradient_of(by(backward), by(forward))
    y = function(x, kernel) if bias is None else function(x, kernel, bias)
    return ops.moveaxis(y, -1, 1) if transposed else y
