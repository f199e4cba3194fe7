"""Whole training steps of published architectures, with one block or another."""

from __future__ import annotations

import contextlib
import functools
import gc
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_upsampling._types import Tensor
from keras_upsampling.bench.architectures import ARCHITECTURES, Architecture
from keras_upsampling.bench.blocks import (
    Block,
    GapsError,
    transposed_conv,
    upsample_conv,
    upsampling_conv,
)
from keras_upsampling.bench.contenders import policy
from keras_upsampling.bench.programs import Inputs, program_of, synchronize
from keras_upsampling.bench.timing import FORWARD, STEP, quartiles, time_rounds
from keras_upsampling.ops._upsample_conv.choice import prefer, preferred

TWO_LAYERS = "UpSampling, Conv"
AGAIN = "UpSampling, Conv again"
ONE_LAYER = "UpsampleConv"
TRANSPOSE = "ConvTranspose"
# The same model, with methods chosen for memory. Only its memory is measured.
LESS_MEMORY = "UpsampleConv, for memory"

BLOCKS: dict[str, Block] = {
    TWO_LAYERS: upsampling_conv,
    AGAIN: upsampling_conv,
    ONE_LAYER: upsample_conv,
    TRANSPOSE: transposed_conv,
}

# With fewer, the quartiles say little of how much a machine varies.
_MINIMUM_ROUNDS = 9


class Ratio(NamedTuple):
    """A ratio of times: the median over the rounds, and the quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        """Return the ratio of two contenders' times, taken within each round."""
        ratios = [a / b for a, b in zip(above, below, strict=True)]
        return cls(statistics.median(ratios), *quartiles(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


class Times(NamedTuple):
    """Seconds of every contender in every round and its peak memory, in one pass."""

    seconds: dict[str, list[float]]
    peak_bytes: dict[str, int | None]

    @property
    def gain(self) -> Ratio:
        """Time of upsampling, then convolving over the time of this library."""
        return Ratio.of(self.seconds[TWO_LAYERS], self.seconds[ONE_LAYER])

    @property
    def spread(self) -> Ratio:
        """Time of upsampling, then convolving over the time of the same model built again."""
        return Ratio.of(self.seconds[TWO_LAYERS], self.seconds[AGAIN])

    @property
    def slower(self) -> bool:
        """Whether this library is slower by more than a model differs from itself."""
        return 1 / self.gain.median > max(self.spread.high, 1 / self.spread.low)


class TrainingResult(NamedTuple):
    """The times of the forward pass and the training step of a published architecture."""

    name: str
    passes: dict[str, Times]

    def as_record(self) -> dict[str, Any]:
        """Return the result as a plain record, for JSON."""
        passes = {
            name: {
                **times._asdict(),
                "gain": times.gain._asdict(),
                "spread": times.spread._asdict(),
                "slower": times.slower,
            }
            for name, times in self.passes.items()
        }
        return {"architecture": self.name, "passes": passes}


@contextlib.contextmanager
def _preferring(preference: str) -> Iterator[None]:
    """Return a context in which methods are chosen by a preference."""
    before = preferred()
    prefer(preference)
    try:
        yield
    finally:
        prefer(before)


@contextlib.contextmanager
def _dtype(dtype: str) -> Iterator[None]:
    """Return a context in which layers compute in a dtype."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy(dtype))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def models_of(architecture: Architecture, dtype: str = "float32") -> dict[str, keras.Model]:
    """Return an architecture built from every block, by the name of the contender.

    The transposed convolution is left out of architectures in which it would leave gaps.
    """
    models = {}
    with _dtype(dtype):
        for name, block in BLOCKS.items():
            with contextlib.suppress(GapsError):
                models[name] = architecture.build(block, architecture.width, architecture.length)
    return models


def _data(model: keras.Model, batch: int, dtype: str) -> tuple[Inputs, Tensor]:
    """Return random inputs and a target."""
    rng = np.random.default_rng(0)
    *inputs, target = (
        ops.convert_to_tensor(rng.standard_normal((batch, *tensor.shape[1:])), dtype=dtype)
        for tensor in (*model.inputs, *model.outputs)
    )
    return (inputs if len(inputs) > 1 else inputs[0]), target


# What Keras's `jit_compile` is for an engine; "auto" would be XLA for TensorFlow on a GPU.
_JIT_COMPILE = {"tensorflow": False, "tensorflow-xla": True, "jax": True, "torch": False}


def _calls(
    model: keras.Model, x: Inputs, target: Tensor, engine: str
) -> dict[str, Callable[[], Any]]:
    """Return a call of the forward pass and one of the training step, complete when they return."""
    # A low learning rate, so that the weights stay ordinary numbers however often it runs.
    optimizer = keras.optimizers.Adam(1e-5)
    model.compile(optimizer, "mean_squared_error", jit_compile=_JIT_COMPILE[engine])

    def complete(call: Callable[..., Any], *arguments: Any) -> Any:
        result = call(*arguments)
        synchronize(x)
        return result

    return {
        FORWARD: functools.partial(complete, model.predict_on_batch, x),
        STEP: functools.partial(complete, model.train_on_batch, x, target),
    }


def measure_training(
    name: str, *, dtype: str = "float32", seconds: float = 2.0, engine: str | None = None
) -> TrainingResult:
    """Time the passes of a published architecture, built from every block.

    Args:
        name: A key of `ARCHITECTURES`.
        dtype: The dtype to compute in.
        seconds: Approximate time of a pass, without its compilation.
        engine: The current backend, or `"tensorflow-xla"`; the current backend by default.
    """
    passes = _passes(ARCHITECTURES[name], dtype, seconds, engine or keras.backend.backend())
    gc.collect()  # models are in reference cycles, and their compiled programs are large
    return TrainingResult(name, passes)


def _passes(
    architecture: Architecture, dtype: str, seconds: float, engine: str
) -> dict[str, Times]:
    """Return the times of each pass; models and programs end with this function."""
    models = models_of(architecture, dtype)
    x, target = _data(models[TWO_LAYERS], architecture.batch, dtype)
    calls = {contender: _calls(model, x, target, engine) for contender, model in models.items()}
    passes = {}
    for pass_name, cotangent in {FORWARD: None, STEP: target}.items():
        runs = {contender: call[pass_name] for contender, call in calls.items()}
        for run in runs.values():
            run()  # compiles
        seconds_of_rounds = time_rounds(runs, seconds, _MINIMUM_ROUNDS)
        peak_bytes = {
            contender: program_of(model, x, cotangent, engine).peak_bytes()
            for contender, model in models.items()
            if contender != AGAIN
        }
        with _preferring("memory"):
            frugal = program_of(models[ONE_LAYER], x, cotangent, engine)
            peak_bytes[LESS_MEMORY] = frugal.peak_bytes()
        passes[pass_name] = Times(seconds_of_rounds, peak_bytes)
    return passes
