"""Record functions of `keras.ops` that layers and models call in their code, as operations."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

import keras_upsampling.ops

# Function names, and the names of their classes in functional models. Activations are included:
# a sub-pixel convolution may have one between the convolution and depth to space.
_CLASSES = {
    "resize": "Resize",
    "repeat": "Repeat",
    "depth_to_space": "DepthToSpace",
    "conv": "Conv",
    "depthwise_conv": "DepthwiseConv",
    "separable_conv": "SeparableConv",
    "conv_transpose": "ConvTranspose",
    "max_pool": "MaxPool",
    "average_pool": "AveragePool",
    "resample": "Resample",
    "upsample_conv": "UpsampleConv",
    "subpixel_conv": "SubpixelConv",
    "blur_pool": "BlurPool",
    "relu": "Relu",
    "relu6": "Relu6",
    "leaky_relu": "LeakyRelu",
    "elu": "Elu",
    "gelu": "Gelu",
    "selu": "Selu",
    "silu": "Silu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}
_MODULES = (ops, ops.image, ops.nn, ops.numpy, keras_upsampling.ops)


class Function(keras.Operation):
    """A function as an operation that is called with the function's first argument.

    The other arguments are attributes, as in the operation classes of functional models.
    """

    def __init__(self, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
        super().__init__(name=function.__name__)
        self.function = function
        self.arguments = arguments
        for name, value in arguments.items():
            setattr(self, name, value)
        if "kernel" in arguments:  # layers have this attribute
            self.kernel_size = tuple(arguments["kernel"].shape[:-2])

    def call(self, x: Any) -> Any:
        """Return the result of the function for `x`."""
        return self.function(x, **self.arguments)


@functools.cache
def _class_of(name: str) -> type[Function]:
    return type(_CLASSES[name], (Function,), {"__module__": __name__})


@contextlib.contextmanager
def functions_as_operations(count: Callable[[Any], None]) -> Iterator[None]:
    """Call functions as operations in this thread while the context lasts.

    The functions are then recorded like layers. Code that imported a function by its name
    (`from keras.ops import repeat`) still calls the original.

    Args:
        count: Called with the result of every other function of `keras.ops`.
    """
    thread = threading.get_ident()
    originals = [
        (module, name, function)
        for module in _MODULES
        for name, function in vars(module).items()
        if inspect.isfunction(function)
    ]
    for module, name, original in originals:
        if name in _CLASSES:
            setattr(module, name, _as_operation(original, _class_of(name), thread))
        else:
            setattr(module, name, _counted(original, count, thread))
    try:
        yield
    finally:
        for module, name, original in originals:
            setattr(module, name, original)


def _counted(
    function: Callable[..., Any], count: Callable[[Any], None], thread: int
) -> Callable[..., Any]:
    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if threading.get_ident() == thread and not _in_this_package(sys._getframe(1)):
            count(result)
        return result

    return counted


def _in_this_package(frame: Any) -> bool:
    """Return whether a frame runs code of this package, whose layers are recorded as one call."""
    return str(frame.f_globals.get("__name__", "")).split(".")[0] == "keras_upsampling"


def _as_operation(
    function: Callable[..., Any], function_class: type[Function], thread: int
) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call_operation(*args: Any, **kwargs: Any) -> Any:
        # For symbolic tensors Keras creates its own operations.
        if (
            threading.get_ident() != thread
            or _in_this_package(sys._getframe(1))
            or any(isinstance(x, keras.KerasTensor) for x in (*args, *kwargs.values()))
        ):
            return function(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        (_, first), *rest = bound.arguments.items()
        return function_class(function, dict(rest))(first)

    return call_operation
