"""What compiling asks for: taps as constants, functions compiled or left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import keras

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

    # TensorFlow and JAX run it once, when they trace. `torch.compile` would trace into the
    # NumPy code, and stop there; so it is told to take the numbers as given.
    phase_taps = torch.compiler.assume_constant_result(phase_taps)
    axis_filter = torch.compiler.assume_constant_result(axis_filter)


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


def traced_by_torch() -> bool:
    """Return whether `torch.compile` or `torch.export` is tracing the caller."""
    return keras.backend.backend() == "torch" and torch.compiler.is_compiling()


def traced_for_onnx() -> bool:
    """Return whether PyTorch records the caller step by step, as for ONNX with unknown sizes."""
    return keras.backend.backend() == "torch" and torch.jit.is_tracing()
