"""The record of a method, and running one method or two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.ops._upsample_conv.task import Shape, Task
from keras_upsampling.ops._upsample_conv.work import Work
from keras_upsampling.ops.devices import on_cpu
from keras_upsampling.ops.gradient import with_gradient_of
from keras_upsampling.ops.tables import traced_for_onnx


@dataclass(frozen=True)
class Method:
    """One implementation of upsampling and convolving in one step.

    Attributes:
        name: Name of the method in tables and measurements.
        run: Function of the input, the kernel, the bias or None, and the task. Channels come last;
            only `resize` takes both formats.
        can: Whether the method computes a task exactly, for an input of a shape.
        work: The counted work of a task; every length must be known. The backward pass has the same
            counts, but its own rates.
        in_float32: Dtypes of inputs for which it computes in float32, because it adds results that
            would be rounded before.
        in_float32_on_cpu: More of them on CPUs, whose convolutions in float16 round partial sums.
    """

    name: str
    run: Callable[[Tensor, Tensor, Tensor | None, Task], Tensor]
    can: Callable[[Task, Shape], bool]
    work: Callable[[Task, Shape], Work]
    in_float32: tuple[str, ...] = ()
    in_float32_on_cpu: tuple[str, ...] = ()

    def computes_in_float32(self, dtype: str, on_cpu: bool) -> bool:
        """Return whether inputs of a `dtype` in half precision are cast to float32."""
        return dtype in self.in_float32 or (on_cpu and dtype in self.in_float32_on_cpu)


def one_step(can: Callable[[Task, Shape], bool]) -> Callable[[Task, Shape], bool]:
    """Return `can` with the conditions of every method but `resize` added."""
    # With factors of 1 there is nothing to save. In ONNX, transposed convolutions of unknown
    # lengths had wrong results.
    return lambda task, shape: max(task.size) > 1 and not traced_for_onnx() and can(task, shape)


def run(
    forward: Method, backward: Method, x: Tensor, kernel: Tensor, bias: Tensor | None, task: Task
) -> Tensor:
    """Run a task by one method, with the gradient of another or the same method."""
    # TensorFlow convolves channels first on GPUs only, and the one-step methods need channels last.
    # Hence the input is transposed, which is smaller than the upsampled map.
    transposed = task.data_format == "channels_first" and (
        {forward.name, backward.name} != {"resize"} or keras.backend.backend() == "tensorflow"
    )
    if transposed:
        x, task = ops.moveaxis(x, 1, -1), task._replace(data_format="channels_last")

    def tensor_function(method: Method) -> Callable[..., Tensor]:
        """Return the method as a function of the input, the kernel, and any bias."""
        dtype = keras.backend.standardize_dtype(x.dtype)
        if not method.computes_in_float32(dtype, on_cpu(x)):
            return lambda x, kernel, bias=None: method.run(x, kernel, bias, task)

        def in_float32(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
            x, kernel = ops.cast(x, "float32"), ops.cast(kernel, "float32")
            bias = None if bias is None else ops.cast(bias, "float32")
            return ops.cast(method.run(x, kernel, bias, task), dtype)

        return in_float32

    function = tensor_function(forward)
    if forward != backward:
        function = with_gradient_of(tensor_function(backward), function)
    y = function(x, kernel) if bias is None else function(x, kernel, bias)
    return ops.moveaxis(y, -1, 1) if transposed else y
