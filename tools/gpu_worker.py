"""The worker of `gpu_check.py`: the tasks of one backend.

Reads tasks from standard input and writes answers to standard output, both as lines of JSON. The
first answer has the facts of the machine and all tasks, in a good order: the first few have some of
everything.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import itertools
import json
import os
import sys

import keras
import numpy as np
from keras import ops

from keras_upsampling._tables import reason_of
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.choosing import measure_choice
from keras_upsampling.bench.contenders import KERAS, contenders, model, upsample_conv_layer
from keras_upsampling.bench.fitting import minimum_cases
from keras_upsampling.bench.measurements import TF32, as_record
from keras_upsampling.bench.programs import program_of
from keras_upsampling.bench.random_cases import FIT_INTERPOLATIONS, kind_of_bounds, random_cases
from keras_upsampling.bench.report import facts
from keras_upsampling.bench.timing import tensors
from keras_upsampling.ops._upsample_conv.choice import METHODS, possible
from tests.oracle import upsample_conv, upsample_conv_gradients

BACKEND = keras.backend.backend()
FORMATS = ("channels_last", "channels_first")
DTYPES = ("float32", "bfloat16")
# Rounds, and seconds for the repeated calls of a round: less than on a CPU, as GPUs vary less.
ROUNDS, SHORT = 5, 0.004
RUNS = 5  # of a program whose gradients are compared
# What is timed: TF32, dtype, data format, and of how many cases one. On JAX and TensorFlow TF32 is
# on as it is; PyTorch has it on for convolutions only.
SETTINGS = (
    (None, "float32", "channels_last", 1),
    (None, "bfloat16", "channels_last", 1),
    ("off", "float32", "channels_last", 2),
    *([("on", "float32", "channels_last", 2)] if BACKEND == "torch" else []),
    (None, "float32", "channels_first", 4),
    (None, "bfloat16", "channels_first", 4),
)
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


def tasks(flagged, count, seed, work):
    """Return all tasks in order, as plain records."""
    repeated = [
        {"kind": "determinism", "case": Case(*REPEATED[work], 2, 3, interpolation, *last)}
        for dtype, data_format, interpolation in itertools.product(
            DTYPES, FORMATS, ("nearest", "linear")
        )
        for last in [(dtype, 1, 1, data_format)]
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
    pairs = itertools.zip_longest(exact, repeated)
    others = iter([task for pair in pairs for task in pair if task])
    ordered = []
    for i, case in enumerate(random_cases(count, seed, "float32", FIT_INTERPOLATIONS, work)):
        for tf32, dtype, data_format, every in SETTINGS:
            if i % every == 0:
                timed = case._replace(dtype=dtype, data_format=data_format)
                ordered.append({"kind": "measurements", "case": timed, "tf32": tf32})
                ordered += itertools.islice(others, 1)
    return [*ordered, *others]


def set_tf32(value):
    """Switch TF32 `"on"` or `"off"`; None sets what is the backend's default."""
    if BACKEND == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = value == "on"
        torch.backends.cudnn.allow_tf32 = value != "off"
    elif BACKEND == "jax":
        import jax

        precision = {"on": "tensorfloat32", "off": "highest"}.get(value)
        jax.config.update("jax_default_matmul_precision", precision)
    else:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(value != "off")


def set_deterministic():
    """Set the backend's switch; that of JAX is an environment variable."""
    keras.utils.set_random_seed(0)  # TensorFlow demands it
    if BACKEND == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def exactness(case, **options):
    """Compare every method with the definition in float64."""
    x, cotangent = tensors(case)
    rng = np.random.default_rng(1)
    taps = (case.kernel_size,) * len(case.spatial)
    kernel = rng.standard_normal((*taps, case.channels, case.filters)).astype("float32")
    bias = rng.standard_normal(case.filters).astype("float32")
    arguments = {
        "size": case.task.size,
        "interpolation": case.interpolation,
        "padding": "same",
        "dilation": case.task.dilation_rate,
        "groups": 1,
    }
    images, slopes = (channels_last(to_numpy(tensor), case) for tensor in (x, cotangent))
    weights = kernel.astype(float), bias.astype(float)
    expected = [
        upsample_conv(images, *weights, **arguments),
        *upsample_conv_gradients(images, weights[0], slopes, **arguments),
    ]

    def errors(method):
        method_model = model(case, upsample_conv_layer(case, method))
        method_model.set_weights([kernel, bias])
        output = keras.tree.flatten(program_of(method_model, x, cotangent).run())
        arrays = [to_numpy(tensor) for tensor in output]
        arrays[:2] = [channels_last(array, case) for array in arrays[:2]]
        names = ("output", "input gradient", "kernel gradient", "bias gradient")
        return {
            "errors": {
                # NaN is the largest error of all.
                name: float(np.nan_to_num(abs(array - exact), nan=np.inf).max())
                / max(1, float(abs(exact).max()))
                for name, array, exact in zip(names, arrays, expected, strict=True)
            }
        }

    return by_method(case, "exactness", possible(case.task, case.task_shape), errors, options)


def determinism(case, **options):
    """Compute the gradients of every method, and of Keras's layers, several times."""
    x, cotangent = tensors(case)
    models = contenders(case, against=["upsampling"], methods=tuple(METHODS))
    models = {name.removeprefix("method "): models[name] for name in models}

    def equal(name):
        program = program_of(models[name], x, cotangent)
        runs = [
            [to_numpy(tensor).tobytes() for tensor in keras.tree.flatten(program.run())]
            for _ in range(RUNS)
        ]
        return {"runs": RUNS, "equal": all(run == runs[0] for run in runs)}

    names = [name for name in models if name in METHODS or name == KERAS]
    return by_method(case, "determinism", names, equal, options)


def by_method(case, kind, names, function, options):
    """Return the records of a function of every method; methods that fail are recorded too."""
    records, failures = [], []
    for name in names:
        record = {"engine": BACKEND, "case": case._asdict(), "method": name, **options}
        try:
            records.append({**record, **function(name)})
        except Exception as error:
            failures.append({**record, "kind": kind, "error": reason_of(error)})
    return {kind: records, "failures": failures}


def measurements(case, tf32, **options):
    """Time every method; if one fails, time the others."""
    failures = []
    try:
        choices = measure_choice(case, BACKEND, tuple(METHODS), ROUNDS, SHORT, memory=True)
    except Exception:
        free_memory()
        x, cotangent = tensors(case)

        def run(name):
            for gradient in (None, cotangent):
                program_of(model(case, upsample_conv_layer(case, name)), x, gradient).run()
            return {}

        names = possible(case.task, case.task_shape)
        tried = by_method(case, "measurements", names, run, {"tf32": tf32, **options})
        failures = tried["failures"]
        working = [record["method"] for record in tried["measurements"]]
        free_memory()
        choices = measure_choice(case, BACKEND, working, ROUNDS, SHORT, memory=True)
    cases = [as_record(choice) for choice in choices]
    settings = {**facts(), **({TF32: tf32} if tf32 else {})}
    measured = [{"engine": BACKEND, "facts": settings, "cases": cases}]
    return {"measurements": measured, "failures": failures}


KINDS = {"exactness": exactness, "determinism": determinism, "measurements": measurements}


def perform(task, flagged):
    """Return the answer to a task; an error is an answer too."""
    options = {"flagged": flagged} if task["kind"] == "determinism" else {"tf32": task["tf32"]}
    try:
        fields = dict(zip(Case._fields, task["case"], strict=True))
        case = Case(**{**fields, "spatial": tuple(fields["spatial"])})
        set_tf32(task.get("tf32"))
        return KINDS[task["kind"]](case, **options)
    except Exception as error:
        return {"failures": [{"engine": BACKEND, "task": task, "error": reason_of(error)}]}
    finally:
        free_memory()


def to_numpy(tensor):
    """Return a tensor as an array in float64."""
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")), dtype=float)


def channels_last(array, case):
    """Return a map with its channels last."""
    return np.moveaxis(array, 1, -1) if case.data_format == "channels_first" else array


def free_memory():
    """Free what models and errors hold on to."""
    gc.collect()
    if BACKEND == "torch":
        import torch

        torch.cuda.empty_cache()


def main():
    """Answer until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("backend")
    parser.add_argument("switch", choices=("plain", "flagged"))
    for name, kind in (("--cases", int), ("--seed", int), ("--work", str)):
        parser.add_argument(name, type=kind)
    options = parser.parse_args()
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the backends print must not be taken for an answer

    def answer(content):
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    flagged = options.switch == "flagged"
    if flagged:
        set_deterministic()
    here = facts()
    work = kind_of_bounds(here["device"]) if options.work == "device" else options.work
    todo = tasks(flagged, options.cases, options.seed, work)
    fit = {"cases": minimum_cases(), "methods": list(METHODS)}
    answer({"facts": here, "needed_for_a_fit": fit, "tasks": todo})
    for line in sys.stdin:
        result = perform(json.loads(line), flagged)
        answer(result)
        if result.get("failures"):
            # After some errors a GPU fails at everything. This then ends the process, and a new one
            # is started.
            ops.convert_to_numpy(ops.ones(1) + 1)


if __name__ == "__main__":
    main()
