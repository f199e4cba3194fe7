"""What compiling asks for: taps as constants, functions compiled or left alone."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TypeVar

import keras
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.maths import resampling

_F = TypeVar("_F", bound=Callable[..., object])


def phase_taps(size: int, interpolation: str) -> tuple[int, tuple[tuple[float, ...], ...]]:
    """Return the first offset of `maths.resampling.phase_taps`, and its weights by phase."""
    taps = resampling.phase_taps(size, interpolation)
    return taps.first, tuple(map(tuple, taps.weights.tolist()))


def axis_filter(size: int, interpolation: str) -> tuple[int, tuple[float, ...], int]:
    """Return the first offset of `maths.resampling.axis_filter`, its weights and its reach."""
    found = resampling.axis_filter(size, interpolation)
    return found.first, found.weights, found.reach


if keras.backend.backend() == "jax":
    import jax
if keras.backend.backend() == "torch":
    import torch


def constant(function: _F) -> _F:
    """Have `torch.compile` run a function once and take what it returns as given.

    TensorFlow and JAX run it once anyway, when they trace. `torch.compile` would trace into it,
    and stop at what is not of PyTorch.
    """
    if keras.backend.backend() != "torch":
        return function
    return torch.compiler.assume_constant_result(function)


phase_taps, axis_filter = constant(phase_taps), constant(axis_filter)


def not_traced(function: _F) -> _F:
    """Have `torch.compile` run a function as it is: it makes constants of NumPy's arrays."""
    return torch.compiler.disable(function) if keras.backend.backend() == "torch" else function


def compiled_on_jax(function: _F, static: tuple[str, ...]) -> _F:
    """Have JAX compile a function of many operations at once, and not one by one.

    The arguments named `static` are no tensors.
    """
    if keras.backend.backend() != "jax":
        return function
    return jax.jit(function, static_argnames=static)


def zero_padded(x: Tensor, widths: Sequence[tuple[int, int]]) -> Tensor:
    """Return `keras.ops.pad` with zeros; on PyTorch its own function.

    There Keras names an operation at every call, and `torch.compile` would compile for each name.
    """
    if keras.backend.backend() != "torch":
        return ops.pad(x, widths)
    return torch.nn.functional.pad(x, [width for pair in reversed(widths) for width in pair])


def traced_by_torch() -> bool:
    """Return whether `torch.compile` or `torch.export` is tracing the caller."""
    return keras.backend.backend() == "torch" and torch.compiler.is_compiling()


def traced_for_onnx() -> bool:
    """Return whether PyTorch records the caller step by step, as for ONNX with unknown sizes."""
    return keras.backend.backend() == "torch" and torch.jit.is_tracing()


def known(length: Tensor) -> int | None:
    """Return a length of a shape, or None where the trace leaves it open."""
    if traced_by_torch():  # which shows an open length as an integer
        from torch.fx.experimental.symbolic_shapes import has_static_value

        return operator.index(length) if has_static_value(length) else None
    return length if isinstance(length, int) else None
