"""Functions of tensors that layers and models call in their code, seen as operations."""

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

# By function, the class that a functional model has for it. Those that change no sizes are here
# for what follows from what: a sub-pixel convolution may have an activation in the middle.
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
_PLACES = (ops, ops.image, ops.nn, ops.numpy, keras_upsampling.ops)


class Function(keras.Operation):
    """A function and all of its arguments but the first, which it is called with.

    The arguments are attributes, as those of the operation that a functional model has for it.
    """

    def __init__(self, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
        super().__init__(name=function.__name__)
        self.function = function
        self.arguments = arguments
        for name, value in arguments.items():
            setattr(self, name, value)
        if "kernel" in arguments:  # as a layer tells it
            self.kernel_size = tuple(arguments["kernel"].shape[:-2])

    def call(self, x: Any) -> Any:
        """Return what the function makes of `x`."""
        return self.function(x, **self.arguments)


@functools.cache
def _class_of(name: str) -> type[Function]:
    return type(_CLASSES[name], (Function,), {"__module__": __name__})


@contextlib.contextmanager
def functions_as_operations(count: Callable[[Any], None]) -> Iterator[None]:
    """Have this thread call functions as operations while the context lasts.

    So what listens to operations hears of them. Calls that bind a function by name before
    (`from keras.ops import repeat`) stay as they are.

    Args:
        count: Is given what every other function of `keras.ops` makes.
    """
    thread = threading.get_ident()
    originals = [
        (place, name, function)
        for place in _PLACES
        for name, function in vars(place).items()
        if inspect.isfunction(function)
    ]
    for place, name, original in originals:
        if name in _CLASSES:
            setattr(place, name, _as_operation(original, _class_of(name), thread))
        else:
            setattr(place, name, _counted(original, count, thread))
    try:
        yield
    finally:
        for place, name, original in originals:
            setattr(place, name, original)


def _counted(
    function: Callable[..., Any], count: Callable[[Any], None], thread: int
) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        if threading.get_ident() == thread and not _called_here(sys._getframe(1)):
            count(made)
        return made

    return called


def _called_here(frame: Any) -> bool:
    """Whether the code of a frame is this package's, whose layers are wholes."""
    return str(frame.f_globals.get("__name__", "")).split(".")[0] == "keras_upsampling"


def _as_operation(
    function: Callable[..., Any], operation: type[Function], thread: int
) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        # A graph has operations of its own.
        if (
            threading.get_ident() != thread
            or _called_here(sys._getframe(1))
            or any(isinstance(x, keras.KerasTensor) for x in (*args, *kwargs.values()))
        ):
            return function(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        (_, first), *others = bound.arguments.items()
        return operation(function, dict(others))(first)

    return called
