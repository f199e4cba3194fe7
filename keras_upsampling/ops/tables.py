"""The taps of `maths`, as compiled functions can take them."""

from __future__ import annotations

import keras

from keras_upsampling.maths import resampling


def phase_taps(size: int, interpolation: str) -> tuple[int, tuple[tuple[float, ...], ...]]:
    """Return the first offset of `maths.resampling.phase_taps`, and its weights by phase."""
    taps = resampling.phase_taps(size, interpolation)
    return taps.first, tuple(map(tuple, taps.weights.tolist()))


def axis_filter(size: int, interpolation: str) -> tuple[int, tuple[float, ...], int]:
    """Return the first offset of `maths.resampling.axis_filter`, its weights and its reach."""
    found = resampling.axis_filter(size, interpolation)
    return found.first, found.weights, found.reach


if keras.backend.backend() == "torch":
    import torch

    # TensorFlow and JAX run it once, when they trace. `torch.compile` would trace into the
    # NumPy code, and stop there; so it is told to take the numbers as given.
    phase_taps = torch.compiler.assume_constant_result(phase_taps)
    axis_filter = torch.compiler.assume_constant_result(axis_filter)


def traced_by_torch() -> bool:
    """Return whether `torch.compile` or `torch.export` is tracing the caller."""
    return keras.backend.backend() == "torch" and torch.compiler.is_compiling()
