"""Print where the quickest method of the one step spends its time, by the backend's profiler.

KERAS_BACKEND=torch python tools/profile_methods.py
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keras_upsampling._tables import table
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.contenders import model, upsample_conv_layer
from keras_upsampling.bench.programs import program_of
from keras_upsampling.bench.report import facts
from keras_upsampling.bench.timing import FORWARD, STEP, tensors, time_rounds
from keras_upsampling.ops._upsample_conv.choice import possible

CASES = (
    Case(4, (32, 32), 64, 64, 2, 3, "nearest", "float32"),
    Case(1, (64, 64), 128, 64, 2, 3, "linear", "float32"),
    Case(1, (128, 128), 16, 8, 4, 5, "nearest", "float32"),
    Case(4, (256,), 256, 128, 8, 7, "nearest", "float32"),
)

# What the operations of the backends do, by their names. The first pattern that matches counts.
# PyTorch's depthwise convolutions have the name of all others on a CPU, so they count as products.
KINDS = {
    "filters": r"depthwise",
    "products": r"conv(?!ert)|mm$|matmul|ynn_fusion|^dot",
    "sums": r"add|sum|mul|reduce",
    "moves": r"copy|cat|fill|pad|slice|pack|split|stack|transpose|flip|reverse|contiguous"
    r"|bitcast|convert",
    "others": "",
}
# The names of operations, among all that the profilers record.
OPERATIONS = {
    "tensorflow": r".*/(?!_Recv|_Send)[^/]*:\w+",
    "jax": r"[a-z][a-z_\-]*(\.\d+)*",
    "torch": r"aten::\w+",
}
_RUNS = 20


def kind_of(name: str) -> str:
    """Return what an operation does: a key of `KINDS`."""
    operation = name.rpartition(":")[2]  # TensorFlow writes the layer's name before it
    return next(kind for kind, part in KINDS.items() if re.search(part, operation, re.I))


def events_on_torch(run: Callable[[], Any]) -> Counter[str]:
    """Return the milliseconds of every operation in a run, by name."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(_RUNS):
            run()
    return Counter({e.key: e.self_cpu_time_total / 1e3 / _RUNS for e in profiler.key_averages()})


def events_on_jax(run: Callable[[], Any]) -> Counter[str]:
    """Return the milliseconds of every operation in a run, by name."""
    import jax
    from jax.profiler import ProfileData

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(_RUNS):
                run()
        planes = ProfileData.from_file(str(next(Path(folder).rglob("*.xplane.pb")))).planes
        events = [(e.name, e.duration_ns) for p in planes for line in p.lines for e in line.events]
    return _sums((name, nanoseconds / 1e6) for name, nanoseconds in events)


def events_on_tensorflow(run: Callable[[], Any]) -> Counter[str]:
    """Return the milliseconds of every operation in a run, by name."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(_RUNS):
            run()
        tf.profiler.experimental.stop()
        space = XSpace.FromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    return _sums(
        (plane.event_metadata[event.metadata_id].name, event.duration_ps / 1e9)
        for plane in space.planes
        if plane.name == "/host:CPU"
        for line in plane.lines
        for event in line.events
    )


def _sums(events: Any) -> Counter[str]:
    sums: Counter[str] = Counter()
    for name, milliseconds in events:
        sums[name] += milliseconds / _RUNS
    return sums


EVENTS = {"tensorflow": events_on_tensorflow, "jax": events_on_jax, "torch": events_on_torch}


def row(case: Case, pass_name: str) -> list[str]:
    """Return a row of the table: the quickest method and the shares of its time."""
    x, cotangent = tensors(case)
    programs = {
        name: program_of(
            model(case, upsample_conv_layer(case, name)),
            x,
            cotangent if pass_name == STEP else None,
        )
        for name in possible(case.task, case.task_shape)
    }
    for program in programs.values():
        program.run()  # compiles
    times = time_rounds({name: program.run for name, program in programs.items()}, 0.0, 5)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    best = min(medians, key=lambda name: medians[name])
    shares: Counter[str] = Counter()
    pattern = re.compile(OPERATIONS[keras.backend.backend()])
    for name, milliseconds in EVENTS[keras.backend.backend()](programs[best].run).items():
        if pattern.fullmatch(name):
            shares[kind_of(name)] += milliseconds
    total = sum(shares.values())
    cells = [f"{100 * shares[kind] / total:.0f} %" if total else "" for kind in KINDS]
    return [str(case), pass_name, best, f"{1e3 * medians[best]:.2f}", f"{total:.2f}", *cells]


def main(arguments: list[str] | None = None) -> None:
    """Profile the cases, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=len(CASES), help="how many to profile")
    options = parser.parse_args(arguments)
    rows = [row(case, name) for case in CASES[: options.cases] for name in (FORWARD, STEP)]
    head = ["case", "pass", "method", "ms", "ms in operations", *KINDS]
    print(table(("", ""), list(facts().items())), table(head, rows), sep="\n\n")


if __name__ == "__main__":
    main()
