"""The worker of `gpu_check.py`: the tasks of one backend.

Reads tasks from standard input and writes answers to standard output, both as lines of JSON. The
first answer has the facts of the machine and all tasks.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import sys

import keras
import numpy as np
from gpu_tasks import tasks
from keras import ops

from keras_upsampling._tables import reason_of
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.choosing import measure_choice
from keras_upsampling.bench.contenders import KERAS, contenders, model, upsample_conv_layer
from keras_upsampling.bench.fitting import minimum_cases
from keras_upsampling.bench.measurements import TF32, as_record
from keras_upsampling.bench.programs import program_of, programs_of
from keras_upsampling.bench.random_cases import kind_of_bounds
from keras_upsampling.bench.report import facts
from keras_upsampling.bench.timing import tensors
from keras_upsampling.ops._upsample_conv.choice import METHODS, possible
from tests.oracle import upsample_conv, upsample_conv_gradients

BACKEND = keras.backend.backend()
# Rounds, and seconds for the repeated calls of a round: less than on a CPU, as GPUs vary less.
ROUNDS, SHORT = 5, 0.004
RUNS = 5  # of a program whose gradients are compared


def set_tf32(value):
    """Switch TF32 `"on"` or `"off"`; None sets what is the backend's default."""
    if BACKEND == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = value == "on"
        torch.backends.cudnn.allow_tf32 = value != "off"
    elif BACKEND == "jax":
        import jax

        precision = "highest" if value == "off" else None
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

    def build(method):
        method_model = model(case, upsample_conv_layer(case, method))
        method_model.set_weights([kernel, bias])
        return method_model

    methods = possible(case.task, case.task_shape)
    program = compiler(build, methods, x, cotangent)

    def errors(method):
        output = keras.tree.flatten(program(method).run())
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

    return by_method(case, "exactness", methods, errors, options)


def determinism(case, **options):
    """Compute the gradients of every method, and of Keras's layers, several times."""
    x, cotangent = tensors(case)
    models = contenders(case, against=["upsampling"], methods=tuple(METHODS))
    models = {name.removeprefix("method "): models[name] for name in models}
    names = [name for name in models if name in METHODS or name == KERAS]
    program = compiler(models.__getitem__, names, x, cotangent)

    def equal(name):
        run = program(name).run
        runs = [
            [to_numpy(tensor).tobytes() for tensor in keras.tree.flatten(run())]
            for _ in range(RUNS)
        ]
        return {"runs": RUNS, "equal": all(run == runs[0] for run in runs)}

    return by_method(case, "determinism", names, equal, options)


def compiler(build, names, x, cotangent):
    """Return a function of a name that returns the program of the model which `build` makes.

    All are compiled at once, where the backend can, unless one of them fails.
    """
    try:
        programs = programs_of({name: build(name) for name in names}, x, cotangent)
    except Exception:
        programs = {}
    return lambda name: programs.get(name) or program_of(build(name), x, cotangent)


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


def measurements(case, tf32, engine):
    """Time every method; if one fails, time the others; without `resize`, none."""
    failures = []
    try:
        choices = measure_choice(case, engine, tuple(METHODS), ROUNDS, SHORT, memory=True)
    except Exception:
        free_memory()
        x, cotangent = tensors(case)

        def run(name):
            for gradient in (None, cotangent):
                layer = upsample_conv_layer(case, name)
                program_of(model(case, layer), x, gradient, engine).run()
            return {}

        names = possible(case.task, case.task_shape)
        settings = {"tf32": tf32, "engine": engine}
        tried = by_method(case, "measurements", names, run, settings)
        failures = tried["failures"]
        working = [record["method"] for record in tried["measurements"]]
        free_memory()
        if "resize" not in working:  # all gains are relative to it
            return {"failures": failures}
        choices = measure_choice(case, engine, working, ROUNDS, SHORT, memory=True)
    cases = [as_record(choice) for choice in choices]
    settings = {**facts(), **({TF32: tf32} if tf32 else {})}
    measured = [{"engine": engine, "facts": settings, "cases": cases}]
    return {"measurements": measured, "failures": failures}


KINDS = {"exactness": exactness, "determinism": determinism, "measurements": measurements}


def perform(task, flagged):
    """Return the answer to a task; an error is an answer too."""
    options = {name: task[name] for name in ("tf32", "engine") if name in task}
    if task["kind"] == "determinism":
        options["flagged"] = flagged
    try:
        fields = dict(zip(Case._fields, task["case"], strict=True))
        case = Case(**{**fields, "spatial": tuple(fields["spatial"])})
        set_tf32(task.get("tf32"))
        return KINDS[task["kind"]](case, **options)
    except Exception as error:
        engine = task.get("engine", BACKEND)
        return {"failures": [{"engine": engine, "task": task, "error": reason_of(error)}]}
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
    for name, kind in (("--cases", int), ("--seed", int), ("--bounds", str)):
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
    bounds = kind_of_bounds(here["device"]) if options.bounds == "device" else options.bounds
    todo = tasks(flagged, options.cases, options.seed, bounds)
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
