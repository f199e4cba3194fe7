"""The tasks of a `gpu_worker.py`, in order."""

from __future__ import annotations

import itertools

import keras

from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.fitting import minimum_cases
from keras_upsampling.bench.random_cases import FIT_INTERPOLATIONS, random_cases
from keras_upsampling.ops.devices import engines_of_backend

BACKEND = keras.backend.backend()
FORMATS = ("channels_last", "channels_first")
DTYPES = ("float32", "bfloat16")
# What is timed: engine, TF32, dtype, data format, and of how many cases one. On JAX and TensorFlow
# TF32 is on as it is; PyTorch has it on for convolutions only.
ENGINES = engines_of_backend()
MOST_USED = tuple((engine, None, "float32", "channels_last", 1) for engine in ENGINES)
OTHERS = (
    *((engine, None, "bfloat16", "channels_last", 1) for engine in ENGINES),
    (BACKEND, "off", "float32", "channels_last", 2),
    *([(BACKEND, "on", "float32", "channels_last", 2)] if BACKEND == "torch" else []),
    (BACKEND, None, "float32", "channels_first", 4),
    (BACKEND, None, "bfloat16", "channels_first", 4),
)
SPARE = 4  # cases of a fit that may fail
# Interpolation, spatial lengths, size and kernel size of the cases that are compared with NumPy.
EXACT = (
    ("nearest", (16, 15), 2, 3),
    ("linear", (16, 15), 3, 3),
    ("cubic", (40,), 2, 4),
    ("nearest", (6, 7, 5), 2, 3),
)
# Batch, spatial lengths, channels and filters of the cases whose gradients are computed repeatedly.
REPEATED = {
    "small": (2, (12, 10), 4, 3),
    "cpu": (2, (24, 20), 16, 16),
    "gpu": (8, (64, 64), 64, 64),
}


def tasks(flagged, count, seed, bounds):
    """Return all tasks as plain records, those first that are worth most if time is short.

    Times come first, as many as one fit needs, then all that is not timed, and then more times.
    """
    repeated = [
        {
            "kind": "determinism",
            "case": Case(*REPEATED[bounds], 2, 3, interpolation, dtype),
        }
        for dtype, interpolation in itertools.product(DTYPES, ("nearest", "linear"))
    ]
    if flagged:
        return repeated
    exact = [
        {
            "kind": "exactness",
            "case": Case(2, spatial, 8, 6, size, taps, interpolation, dtype, 1, 1, data_format),
            "tf32": "off" if dtype == "float32" else None,
        }
        for interpolation, spatial, size, taps in EXACT
        for dtype, data_format in itertools.product(DTYPES, FORMATS)
    ]
    cases = random_cases(count, seed, "float32", FIT_INTERPOLATIONS, bounds)
    number = minimum_cases() + SPARE
    enough, more = cases[:number], cases[number:]
    untimed = [task for pair in itertools.zip_longest(repeated, exact) for task in pair if task]
    for_one_fit = timed(enough, MOST_USED)
    return [
        *for_one_fit[:1],
        *untimed[:2],  # one of each kind
        *for_one_fit[1:],
        *untimed[2:],
        *timed(enough, OTHERS),
        *timed(more, MOST_USED + OTHERS),
    ]


def timed(cases, settings):
    """Return the tasks that time cases with some settings."""
    return [
        {
            "kind": "measurements",
            "case": case._replace(dtype=dtype, data_format=data_format),
            "tf32": tf32,
            "engine": engine,
        }
        for i, case in enumerate(cases)
        for engine, tf32, dtype, data_format, every in settings
        if i % every == 0
    ]
