"""How well methods are chosen: the chosen method timed beside all methods that support a case."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras

from keras_upsampling._tables import table
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.contenders import model, upsample_conv_layer
from keras_upsampling.bench.measurements import CHOSEN, Choice, Measurements
from keras_upsampling.bench.programs import Program, programs_of
from keras_upsampling.bench.report import facts
from keras_upsampling.bench.timing import FORWARD, STEP, tensors, time_rounds
from keras_upsampling.ops._upsample_conv.choice import (
    Machine,
    cheapest,
    possible,
    preferred,
)
from keras_upsampling.ops._upsample_conv.methods import METHODS

_MINIMUM_ROUNDS = 5
# Number of rows in the table of the worst choices.
_WORST = 10


def machine(engine: str, dtype: str, device: str) -> Machine:
    """Return the key under which the rates of a machine are stored."""
    return engine, device.lower(), dtype


def measure_choice(
    case: Case,
    engine: str,
    methods: Sequence[str] = tuple(METHODS),
    rounds: int = _MINIMUM_ROUNDS,
    short: float | None = None,
    memory: bool = False,
) -> list[Choice]:
    """Time both passes of a case, with the chosen method and with every possible method.

    Args:
        case: The case.
        engine: As in `program_of`.
        methods: Names of the methods to time and to choose from, as far as they are possible.
        rounds: Number of rounds.
        short: As in `time_rounds`.
        memory: Whether to measure the peak memory too.
    """
    names = tuple(name for name in possible(case.task, case.task_shape) if name in methods)
    layers = {CHOSEN: upsample_conv_layer(case)}
    layers.update({name: upsample_conv_layer(case, name) for name in names})
    machines = (machine(engine, case.dtype, facts()["device"]),)
    choices = []
    for pass_name, programs in _compiled(case, {FORWARD: layers, STEP: layers}, engine):
        seconds = _medians(programs, rounds, short)
        is_step = pass_name == STEP
        pair = cheapest(names, case.task, case.task_shape, machines, is_step, preferred())
        chosen = dict.fromkeys(pair if is_step else pair[:1])
        peaks = {name: program.peak_bytes() for name, program in programs.items() if memory}
        choices.append(Choice(case, pass_name, "/".join(chosen), seconds, peaks))
    return choices


def time_layers(
    case: Case, layers: Mapping[str, Mapping[str, keras.Layer]], engine: str, rounds: int
) -> dict[str, dict[str, float]]:
    """Return the median seconds of layers in each pass, by pass and name.

    Args:
        case: The case that the layers compute.
        layers: The layers to time in turn, by pass and name.
        engine: A backend, or `"tensorflow-xla"`.
        rounds: How often each is timed.
    """
    return {
        pass_name: _medians(programs, rounds)
        for pass_name, programs in _compiled(case, layers, engine)
    }


def _compiled(
    case: Case, layers: Mapping[str, Mapping[str, keras.Layer]], engine: str
) -> Iterator[tuple[str, dict[str, Program]]]:
    """Yield the compiled programs of layers by name, pass after pass."""
    x, cotangent = tensors(case)
    gradients = {FORWARD: None, STEP: cotangent}
    every = {id(layer): layer for group in layers.values() for layer in group.values()}
    models = {key: model(case, layer) for key, layer in every.items()}
    for pass_name, group in layers.items():
        of_pass = {name: models[id(layer)] for name, layer in group.items()}
        programs = programs_of(of_pass, x, gradients[pass_name], engine)
        for program in programs.values():
            program.run()  # compiles
        yield pass_name, programs
        programs.clear()
    del models, of_pass
    gc.collect()  # models are in reference cycles, and their compiled programs are large


def _medians(
    programs: Mapping[str, Program], rounds: int, short: float | None = None
) -> dict[str, float]:
    """Return the median seconds of every program, timed in turn."""
    runs = {name: program.run for name, program in programs.items()}
    times = time_rounds(runs, 0.0, rounds, short)
    return {name: statistics.median(values) for name, values in times.items()}


_COMMON_INTERPOLATIONS = ("nearest", "linear")
# Rows of the summary: a name, and which cases belong to it.
_GROUPS: tuple[tuple[str, Callable[[Case], bool]], ...] = (
    ("2-D", lambda case: len(case.spatial) == 2),
    ("2-D, nearest", lambda case: len(case.spatial) == 2 and case.interpolation == "nearest"),
    ("2-D, linear", lambda case: len(case.spatial) == 2 and case.interpolation == "linear"),
    (
        "2-D, others",
        lambda case: len(case.spatial) == 2 and case.interpolation not in _COMMON_INTERPOLATIONS,
    ),
    ("1-D", lambda case: len(case.spatial) == 1),
    ("3-D", lambda case: len(case.spatial) == 3),
    ("all", lambda _: True),
)


_TRAITS: tuple[tuple[str, Callable[[Choice], float]], ...] = (
    ("milliseconds of the quickest", lambda choice: 1e3 * min(choice.seconds.values())),
    ("batch", lambda choice: choice.case.batch),
    ("spatial axes", lambda choice: len(choice.case.spatial)),
    ("samples on an axis", lambda choice: max(choice.case.spatial)),
    ("channels", lambda choice: choice.case.channels),
    ("filters", lambda choice: choice.case.filters),
    ("factor", lambda choice: choice.case.size),
    ("taps", lambda choice: choice.case.kernel_size),
)


def report(measured: Measurements) -> str:
    """Return tables in Markdown that show how well methods were chosen."""
    rows, choices = [], measured.choices
    for name, belongs in _GROUPS:
        for pass_name in (FORWARD, STEP):
            group = [
                choice
                for choice in choices
                if choice.pass_name == pass_name and belongs(choice.case)
            ]
            if group:
                rows.append([name, pass_name, *_summary(group)])
    worst = sorted(choices, key=lambda choice: -choice.regret)[:_WORST]
    return "\n\n".join(
        [
            table(("", ""), [*measured.facts.items(), ("engine", measured.engine)]),
            "Regret: the time of the chosen method over the time of the quickest. Gain: the time "
            "of upsampling, then convolving over the time of the chosen method. Both are "
            "geometric means over the cases. `95 % below`: the regret that 95 % of the cases do "
            "not exceed. `gain, quickest`: the gain if the quickest method were always chosen. "
            "`slower`: the share of cases in which the chosen method is slower than upsampling, "
            "then convolving. The choice is timed separately from the method that it selects, "
            "and two timings of one method differ by some percent. Regret and slower cases "
            "include that difference.",
            "### Summary",
            table(
                [
                    "cases",
                    "pass",
                    "how many",
                    "regret",
                    "95 % below",
                    "worst",
                    "gain",
                    "gain, quickest",
                    "least gain",
                    "slower",
                ],
                rows,
            ),
            "### Where the choice cost most",
            table(
                ["case", "pass", "regret", "gain", "chosen", "quickest", "in ms"],
                [[str(choice.case), choice.pass_name, *_details(choice)] for choice in worst],
            ),
            "Medians over these cases and over all cases:",
            table(
                ["", "these", "all"],
                [
                    [
                        trait,
                        *(
                            f"{statistics.median(map(value, subset)):.3g}"
                            for subset in (worst, choices)
                        ),
                    ]
                    for trait, value in _TRAITS
                ],
            ),
        ]
    )


def _summary(choices: Sequence[Choice]) -> list[str]:
    regrets = sorted(choice.regret for choice in choices)
    gains = [choice.gain for choice in choices]
    return [
        str(len(choices)),
        f"{statistics.geometric_mean(regrets):.2f}",
        f"{regrets[math.ceil(0.95 * len(regrets)) - 1]:.2f}",
        f"{regrets[-1]:.2f}",
        f"{statistics.geometric_mean(gains):.2f}",
        f"{statistics.geometric_mean([choice.best_gain for choice in choices]):.2f}",
        f"{min(gains):.2f}",
        f"{100 * sum(gain < 1 for gain in gains) / len(gains):.0f} %",
    ]


def _details(choice: Choice) -> list[str]:
    method_seconds = {name: duration for name, duration in choice.seconds.items() if name != CHOSEN}
    quickest = min(method_seconds, key=lambda name: method_seconds[name])
    return [
        f"{choice.regret:.2f}",
        f"{choice.gain:.2f}",
        choice.chosen,
        quickest,
        ", ".join(f"{name} {1e3 * duration:.2f}" for name, duration in choice.seconds.items()),
    ]
