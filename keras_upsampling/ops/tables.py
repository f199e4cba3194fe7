"""Tracing and compiling: constant taps, compiled functions, and static lengths."""

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
    """Return the first offset and the weights by phase of `maths.resampling.phase_taps`."""
    taps = resampling.phase_taps(size, interpolation)
    return taps.first, tuple(map(tuple, taps.weights.tolist()))


def axis_filter(size: int, interpolation: str) -> tuple[int, tuple[float, ...], int]:
    """Return the first offset, the weights and the reach of `maths.resampling.axis_filter`."""
    taps = resampling.axis_filter(size, interpolation)
    return taps.first, taps.weights, taps.reach


if keras.backend.backend() == "jax":
    import jax
if keras.backend.backend() == "torch":
    import torch


def traced_as_constant(function: _F) -> _F:
    """Make `torch.compile` call a function once and treat its result as a constant.

    TensorFlow and JAX call it once in any case, when they trace. `torch.compile` would trace into
    it, and fail at operations that are not PyTorch's.
    """
    if keras.backend.backend() != "torch":
        return function
    return torch.compiler.assume_constant_result(function)


phase_taps, axis_filter = traced_as_constant(phase_taps), traced_as_constant(axis_filter)


def not_traced(function: _F) -> _F:
    """Make `torch.compile` run a function untraced, for functions that use NumPy arrays."""
    return torch.compiler.disable(function) if keras.backend.backend() == "torch" else function


def compiled_on_jax(function: _F, static: tuple[str, ...]) -> _F:
    """Make JAX compile a function as one program instead of operation by operation.

    `static` are the names of the arguments that are not tensors.
    """
    if keras.backend.backend() != "jax":
        return function
    return jax.jit(function, static_argnames=static)


def forget_compiled() -> None:
    """Make JAX drop the programs that it has compiled, and their memory."""
    if keras.backend.backend() == "jax":
        jax.clear_caches()


def pad_with_zeros(x: Tensor, widths: Sequence[tuple[int, int]]) -> Tensor:
    """Return `keras.ops.pad` with zeros; on PyTorch by PyTorch's own function.

    Keras gives the operation a new name at every call, and `torch.compile` would compile for each
    name.
    """
    if keras.backend.backend() != "torch":
        return ops.pad(x, widths)
    return torch.nn.functional.pad(x, [width for pair in reversed(widths) for width in pair])


def traced_by_torch() -> bool:
    """Return whether `torch.compile` or `torch.export` is tracing the caller."""
    return keras.backend.backend() == "torch" and torch.compiler.is_compiling()


def traced_for_onnx() -> bool:
    """Return whether PyTorch traces the caller by `torch.jit`, as for ONNX with unknown sizes."""
    return keras.backend.backend() == "torch" and torch.jit.is_tracing()


def static_length(length: Tensor) -> int | None:
    """Return a length of a shape, or None if it is unknown in the trace."""
    if traced_by_torch():  # unknown lengths look like integers here
        from torch.fx.experimental.symbolic_shapes import has_static_value

        return operator.index(length) if has_static_value(length) else None
    return length if isinstance(length, int) else None
