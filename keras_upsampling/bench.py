"""The benchmark: this library beside what else one would use, timed side by side in one run.

A case is one enlargement of one feature map. All contenders of a case run in turn, round after
round, so that a busy moment of the machine meets all of them; ratios are taken within a round,
and their medians over the rounds.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import itertools
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

import keras_upsampling
from keras_upsampling._types import Tensor
from keras_upsampling.ops.devices import on_cpu
from keras_upsampling.ops.interleave import interleave
from keras_upsampling.ops.upsample_conv import upsample_conv

# The contenders, by the names that tables show. Ratios are taken over the first.
OURS = "UpsampleConv"
KERAS = "UpSampling, Conv"
TRANSPOSE = "ConvTranspose, k"
TRANSPOSE_EQUAL = "ConvTranspose, k+s-1"
SUBPIXEL = "sub-pixel"

FORWARD = "forward"
STEP = "training step"


class Case(NamedTuple):
    """One enlargement of one feature map, with the convolution that goes with it."""

    batch: int
    spatial: tuple[int, ...]
    channels: int
    filters: int
    size: int
    kernel_size: int
    interpolation: str
    dtype: str

    def __str__(self) -> str:
        spatial = "x".join(map(str, self.spatial))
        return (
            f"{self.batch}x{spatial}x{self.channels} to {self.filters}, s={self.size}, "
            f"k={self.kernel_size}, {self.interpolation}"
            + (f", {self.dtype}" if self.dtype != "float32" else "")
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the feature map, channels last."""
        return (self.batch, *self.spatial, self.channels)

    @property
    def multiply_adds(self) -> int:
        """Of a convolution with a kernel per phase, borders not counted."""
        taps = (self.kernel_size + self.size - 1) ** len(self.spatial)
        return math.prod(self.input_shape) * taps * self.filters


# Batch, spatial axes, channels, filters: from the maps of small decoders to large images.
SHAPES: tuple[tuple[int, tuple[int, ...], int, int], ...] = (
    (32, (7, 7), 64, 64),
    (4, (32, 32), 64, 64),
    (2, (56, 56), 128, 64),
    (1, (64, 64), 256, 128),
    (1, (256, 256), 16, 8),
    (16, (128,), 64, 64),
    (4, (2048,), 64, 32),
    (4, (7, 7, 7), 32, 32),
    (1, (16, 16, 16), 32, 16),
)


def cases(
    *,
    ranks: Sequence[int] = (1, 2, 3),
    sizes: Sequence[int] = (2, 3, 4),
    kernel_sizes: Sequence[int] = (3, 5),
    interpolations: Sequence[str] = ("nearest", "linear"),
    dtypes: Sequence[str] = ("float32",),
    largest: float = math.inf,
) -> list[Case]:
    """Return the grid. All but nearest is in two dimensions, as it is in Keras.

    `largest` is the most numbers that a map may have.
    """
    return [
        Case(*shape, size, kernel_size, interpolation, dtype)
        for dtype in dtypes
        for interpolation, size, kernel_size in itertools.product(
            interpolations, sizes, kernel_sizes
        )
        for shape in SHAPES
        if len(shape[1]) in ranks and (len(shape[1]) == 2 or interpolation == "nearest")
        if math.prod(shape[1]) * shape[2] <= largest
    ]


class _DepthToSpace(keras.Layer):
    """The second half of a sub-pixel convolution, in any rank."""

    def __init__(self, size: tuple[int, ...], **options: Any) -> None:
        super().__init__(**options)
        self.size = size

    def call(self, inputs: Tensor) -> Tensor:
        return interleave(inputs, self.size)


class _ByMethod(keras.Layer):
    """`UpsampleConv` by a named method."""

    def __init__(self, layer: keras.Layer, method: str) -> None:
        super().__init__(dtype=layer.dtype_policy)
        self.layer = layer
        self.method = method

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.layer.build(input_shape)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.layer.compute_output_shape(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        layer = self.layer
        outputs = upsample_conv(
            inputs,
            layer.kernel,
            layer.size,
            interpolation=layer.interpolation,
            data_format=layer.data_format,
            method=self.method,
        )
        return outputs + layer.bias


def _method_name(method: str) -> str:
    return f"method {method}"


def contenders(case: Case, methods: Sequence[str] = ()) -> dict[str, keras.Model]:
    """Return a model for each way to do a case; `methods` adds named ways of this library."""
    rank, size, kernel_size, filters = len(case.spatial), case.size, case.kernel_size, case.filters
    policy = case.dtype if case.dtype == "float32" else f"mixed_{case.dtype}"
    last = {"data_format": "channels_last", "dtype": policy}
    same = {"padding": "same", **last}
    conv, transpose = getattr(layers, f"Conv{rank}D"), getattr(layers, f"Conv{rank}DTranspose")
    enlarge = getattr(layers, f"UpSampling{rank}D")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(case.interpolation, case.interpolation)
    options = {1: {"dtype": policy}, 2: {"interpolation": mode, **last}, 3: last}[rank]

    def ours() -> keras.Layer:
        layer = getattr(keras_upsampling, f"UpsampleConv{rank}D")
        return layer(filters, kernel_size, size, interpolation=case.interpolation, **same)

    stacks = {
        OURS: [ours()],
        **{_method_name(method): [_ByMethod(ours(), method)] for method in methods},
        KERAS: [enlarge(size, **options), conv(filters, kernel_size, **same)],
        TRANSPOSE: [transpose(filters, kernel_size, strides=size, **same)],
        TRANSPOSE_EQUAL: [transpose(filters, kernel_size + size - 1, strides=size, **same)],
        SUBPIXEL: [
            conv(filters * size**rank, kernel_size, **same),
            _DepthToSpace((size,) * rank, dtype=policy),
        ],
    }
    return {
        name: keras.Sequential(
            [keras.Input(batch_shape=case.input_shape, dtype=case.dtype), *stack]
        )
        for name, stack in stacks.items()
    }


class _Program(NamedTuple):
    """One pass of one contender, compiled: `run` returns when it is done."""

    run: Callable[[], Any]
    peak_bytes: Callable[[], int | None]


def _tensorflow_program(model: keras.Model, x: Tensor, cotangent: Tensor | None) -> _Program:
    import tensorflow as tf

    weights = [variable.value for variable in model.trainable_variables]

    def forward(x: Tensor) -> Tensor:
        return model(x, training=False)

    def step(x: Tensor, cotangent: Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        return tape.gradient(y, [x, *weights], output_gradients=cotangent)

    arguments = (x,) if cotangent is None else (x, cotangent)
    function = tf.function(forward if cotangent is None else step)
    program = function.get_concrete_function(*arguments)

    def run() -> Any:
        result = program(*arguments)
        tf.test.experimental.sync_devices()
        return result

    def peak_bytes() -> int | None:
        if on_cpu(x):
            return _peak_of_graph(program.graph)
        before = tf.config.experimental.get_memory_info("GPU:0")["current"]
        tf.config.experimental.reset_memory_stats("GPU:0")
        run()
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"] - before)

    return _Program(run, peak_bytes)


# Operations of TensorFlow whose outputs are not memory of their own: what is given to the graph,
# and other views of what is there.
_GIVEN = ("Placeholder", "ReadVariableOp", "Const")
_VIEWS = ("Reshape", "Identity", "ExpandDims", "Squeeze")


def _peak_of_graph(graph: Any) -> int:
    """Return how many bytes are alive at once, at most, if a TensorFlow graph runs in order."""
    owner: dict[str, str | None] = {}
    size: dict[str, int] = {}
    last_use: dict[str | None, int] = {}
    operations = [op for op in graph.get_operations() if op.type not in _GIVEN]
    for moment, operation in enumerate(operations):
        for tensor in operation.inputs:
            last_use[owner.get(tensor.name)] = moment
        for tensor in operation.outputs:
            view = operation.type in _VIEWS
            owner[tensor.name] = owner.get(operation.inputs[0].name) if view else tensor.name
            size[tensor.name] = (tensor.shape.num_elements() or 0) * tensor.dtype.size
    kept = {owner.get(tensor.name) for tensor in graph.outputs}
    alive = peak = 0
    for moment, operation in enumerate(operations):
        made = [t.name for t in operation.outputs if owner[t.name] == t.name]
        alive += sum(size[name] for name in made)
        peak = max(peak, alive)
        seen = {owner.get(t.name) for t in operation.inputs} | set(made)
        done = [n for n in seen - kept if n and last_use.get(n, moment) == moment]
        alive -= sum(size[name] for name in done)
    return peak


def _jax_program(model: keras.Model, x: Tensor, cotangent: Tensor | None) -> _Program:
    import jax

    weights = [variable.value for variable in model.trainable_variables]

    def forward(x: Tensor, weights: list[Tensor]) -> Tensor:
        return model.stateless_call(weights, [], x)[0]

    def step(x: Tensor, weights: list[Tensor], cotangent: Tensor) -> Any:
        return jax.vjp(forward, x, weights)[1](cotangent)

    arguments = (x, weights) if cotangent is None else (x, weights, cotangent)
    program = jax.jit(forward if cotangent is None else step).lower(*arguments).compile()

    def peak_bytes() -> int | None:
        use = program.memory_analysis()
        return None if use is None else use.temp_size_in_bytes + use.output_size_in_bytes

    return _Program(lambda: jax.block_until_ready(program(*arguments)), peak_bytes)


def _torch_program(model: keras.Model, x: Tensor, cotangent: Tensor | None) -> _Program:
    import torch

    weights = [variable.value for variable in model.trainable_variables]

    def run() -> Any:
        if cotangent is None:
            with torch.no_grad():
                result = model(x, training=False)
        else:
            inputs = [x.detach().requires_grad_(), *weights]
            result = torch.autograd.grad(model(inputs[0], training=True), inputs, cotangent)
        if not on_cpu(x):
            torch.cuda.synchronize()
        return result

    def peak_bytes() -> int | None:
        if on_cpu(x):
            return _peak_resident(run)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before

    return _Program(run, peak_bytes)


_PROGRAMS: dict[str, Callable[[keras.Model, Tensor, Tensor | None], _Program]] = {
    "tensorflow": _tensorflow_program,
    "jax": _jax_program,
    "torch": _torch_program,
}


def _peak_resident(run: Callable[[], Any]) -> int | None:
    """Return how far the process's memory rises during a call; None where it cannot be seen."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def resident(entry: str) -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith(entry))
        return int(line.split()[1]) * 1024

    gc.collect()
    try:
        # Memory that was freed before, but kept, would hide what the call needs.
        ctypes.CDLL(None).malloc_trim(0)
        reset.write_text("5")  # the highest mark falls to the present
        before = resident("VmRSS")
        run()
        return max(0, resident("VmHWM") - before)
    except (OSError, AttributeError, StopIteration):  # not Linux, or not allowed
        return None


class Timing(NamedTuple):
    """One pass of one contender in one case; times in seconds.

    `ratio` is how many times as long it takes as this library, the median over the rounds;
    `ratio_quartiles` the spread of that.
    """

    seconds: float
    quartiles: tuple[float, float]
    ratio: float
    ratio_quartiles: tuple[float, float]
    peak_bytes: int | None


class Result(NamedTuple):
    """A case with the timings of every pass and contender, and the machine's own rate.

    `product_rate` is in multiply-adds a second: those of a product of two square matrices,
    measured just before.
    """

    case: Case
    passes: dict[str, dict[str, Timing]]
    product_rate: float

    @property
    def share(self) -> dict[str, float]:
        """What share of the product's rate each way's forward pass reaches.

        All are credited with the multiply-adds of one convolution per phase, whatever they do.
        """
        return {
            name: self.case.multiply_adds / timing.seconds / self.product_rate
            for name, timing in self.passes[FORWARD].items()
        }


def measure(case: Case, *, methods: Sequence[str] = (), seconds: float = 2.0) -> Result:
    """Time every contender of one case, for about `seconds` a pass once it is compiled.

    Named methods that cannot do the case are left out.
    """
    rng = np.random.default_rng(0)
    x = ops.convert_to_tensor(rng.standard_normal(case.input_shape), dtype=case.dtype)
    shape = (case.batch, *(n * case.size for n in case.spatial), case.filters)
    cotangent = ops.convert_to_tensor(rng.standard_normal(shape), dtype=case.dtype)
    models = contenders(case, methods)
    passes = {}
    rate = _product_rate(case.dtype)
    for name, incoming in {FORWARD: None, STEP: cotangent}.items():
        programs = {}
        for way, model in models.items():
            try:
                programs[way] = _PROGRAMS[keras.backend.backend()](model, x, incoming)
                programs[way].run()  # compiles
            except ValueError:
                if way not in map(_method_name, methods):
                    raise
                programs.pop(way, None)
        times = _rounds({name: program.run for name, program in programs.items()}, seconds)
        ratios = {
            name: [theirs / ours for theirs, ours in zip(of_one, times[OURS], strict=True)]
            for name, of_one in times.items()
        }
        passes[name] = {
            name: Timing(
                seconds=statistics.median(times[name]),
                quartiles=_quartiles(times[name]),
                ratio=statistics.median(ratios[name]),
                ratio_quartiles=_quartiles(ratios[name]),
                peak_bytes=program.peak_bytes(),
            )
            for name, program in programs.items()
        }
    return Result(case, passes, rate)


def _rounds(runs: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """Run all in turn, again and again; return the time a call takes, round by round."""

    def timed(run: Callable[[], Any], repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - start) / repeats

    once = {name: timed(run, 1) for name, run in runs.items()}
    # A single short call would be drowned by the clock and by whatever ran before.
    repeats = {name: max(1, math.ceil(0.004 / took)) for name, took in once.items()}
    a_round = sum(once[name] * repeats[name] for name in runs)
    count = min(51, max(2, round(seconds / a_round)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for _ in range(count):
        for name in order:
            times[name].append(timed(runs[name], repeats[name]))
        order.append(order.pop(0))  # none always runs behind the same one
    return times


def _quartiles(numbers: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low, high


def _product_rate(dtype: str, length: int = 1024) -> float:
    """Return the multiply-adds a second of a product of two square matrices."""
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(length, length), dtype=dtype),
            layers.Dense(length, use_bias=False, dtype=dtype),
        ]
    )
    x = ops.ones((length, length), dtype=dtype)
    run = _PROGRAMS[keras.backend.backend()](model, x, None).run
    run()  # compiles
    return length**3 / statistics.median(_rounds({"product": run}, 0.2)["product"])


def facts() -> dict[str, str]:
    """Return what the figures depend on besides the code: machine and versions."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line for line in lines if line.startswith("model name")).split(": ")[1]
    backend = keras.backend.backend()
    return {
        "device": "CPU" if on_cpu(ops.zeros(1)) else "GPU",
        "processor": f"{processor}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "Keras": keras.version(),
        backend: _version(backend),
        "keras_upsampling": keras_upsampling.__version__,
    }


def _version(module: str) -> str:
    return str(importlib.import_module(module).__version__)


def as_records(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the results as plain records, for JSON."""
    return [
        {
            **result.case._asdict(),
            "product_rate": result.product_rate,
            "share": result.share,
            "passes": {
                name: {way: timing._asdict() for way, timing in timings.items()}
                for name, timings in result.passes.items()
            },
        }
        for result in results
    ]


# What the summary takes medians over: a name, which cases belong, and compared with what.
_GROUPS: tuple[tuple[str, Callable[[Case], bool], str], ...] = (
    (
        "2-D, nearest, s=2, k=3",
        lambda c: _plane(c, "nearest") and (c.size, c.kernel_size) == (2, 3),
        KERAS,
    ),
    (
        "2-D, nearest, s=4 or k=5",
        lambda c: _plane(c, "nearest") and (c.size == 4 or c.kernel_size == 5),
        KERAS,
    ),
    (
        "2-D, linear, s=2, k=3",
        lambda c: _plane(c, "linear") and (c.size, c.kernel_size) == (2, 3),
        KERAS,
    ),
    ("2-D, nearest", lambda c: _plane(c, "nearest"), TRANSPOSE_EQUAL),
    ("2-D, nearest", lambda c: _plane(c, "nearest"), SUBPIXEL),
    ("1-D, nearest", lambda c: len(c.spatial) == 1, KERAS),
    ("3-D, nearest", lambda c: len(c.spatial) == 3, KERAS),
    ("all", lambda case: case.batch > 0, KERAS),
)


def _plane(case: Case, interpolation: str) -> bool:
    return len(case.spatial) == 2 and case.interpolation == interpolation


def report(results: Sequence[Result]) -> str:
    """Return the results as tables in Markdown, which a terminal shows well too."""
    # Named methods are missing where they cannot do a case.
    fullest = max((result.passes[FORWARD] for result in results), key=len)
    ways = [name for name in fullest if name != OURS]
    parts = [
        _table(("", ""), list(facts().items())),
        "Times are of this library. Ratios are how many times as long the others take, medians "
        "over the rounds of one run, with the quartiles: above 1, this library is faster. The "
        "share is that of the rate of a product of two 1024x1024 matrices, counting the "
        "multiply-adds of one convolution per phase.",
        "### Summary",
        _summary(results),
    ]
    for name in (FORWARD, STEP):
        rows = []
        for result in results:
            timings = result.passes[name]
            row = [str(result.case), f"{timings[OURS].seconds * 1e3:.2f} ms"]
            row += [_ratio(timings.get(way)) for way in ways]
            rows.append([*row, f"{result.share[OURS]:.2f}"] if name == FORWARD else row)
        head = ["case", "this library", *ways, *(["share"] if name == FORWARD else [])]
        parts += [f"### {name.capitalize()}", _table(head, rows)]
    memory = [
        [str(result.case), name, *(_mebibytes(timings.get(way)) for way in (OURS, *ways))]
        for result in results
        for name, timings in result.passes.items()
    ]
    if any(any(row[2:]) for row in memory):
        parts += [
            "### Memory",
            "What a call needs at its peak beyond inputs and weights, in MiB: on TensorFlow the "
            "tensors alive at once if its graph runs in order, on JAX what the compiled program "
            "asks for, on PyTorch what the process grows by; on a GPU what was allocated.",
            _table(["case", "pass", "this library", *ways], memory),
        ]
    return "\n\n".join(parts) + "\n"


def _summary(results: Sequence[Result]) -> str:
    rows = []
    for name, belongs, other in _GROUPS:
        chosen = [result for result in results if belongs(result.case)]
        if not chosen:
            continue
        for pass_name in (FORWARD, STEP):
            ratios = [result.passes[pass_name][other].ratio for result in chosen]
            rows.append(
                [
                    name,
                    other,
                    pass_name,
                    str(len(ratios)),
                    f"{statistics.median(ratios):.2f}",
                    f"{min(ratios):.2f}",
                    f"{max(ratios):.2f}",
                ]
            )
    return _table(["cases", "compared with", "pass", "how many", "median", "worst", "best"], rows)


def _ratio(timing: Timing | None) -> str:
    if timing is None:
        return ""
    low, high = timing.ratio_quartiles
    return f"{timing.ratio:.2f} ({low:.2f} to {high:.2f})"


def _mebibytes(timing: Timing | None) -> str:
    if timing is None or timing.peak_bytes is None:
        return ""
    return f"{timing.peak_bytes / 2**20:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), line(["-" * max(3, w) for w in widths]), *map(line, rows)])
