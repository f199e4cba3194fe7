"""How well methods are chosen: the chosen method timed beside all methods that support a case."""

from __future__ import annotations

import gc
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras

from keras_upsampling._tables import table
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.contenders import model, upsample_conv_layer
from keras_upsampling.bench.programs import program_of
from keras_upsampling.bench.report import facts
from keras_upsampling.bench.timing import FORWARD, STEP, tensors, time_rounds
from keras_upsampling.ops._upsample_conv.choice import (
    Machine,
    cheapest,
    possible,
    preferred,
)

CHOSEN = "chosen"
_MINIMUM_ROUNDS = 9
# Number of rows in the table of the worst choices.
_WORST = 10


class Choice(NamedTuple):
    """Seconds of every method, and of the chosen one, in one pass of a case.

    `chosen` is the name of a method, or `FORWARD/BACKWARD` if two methods are combined. The entry
    `"chosen"` of `seconds` is timed separately from the entry of the same method.
    """

    case: Case
    pass_name: str
    chosen: str
    seconds: dict[str, float]

    @property
    def regret(self) -> float:
        """Time of the chosen method over the time of the quickest."""
        return self.seconds[CHOSEN] / min(self.seconds.values())

    @property
    def gain(self) -> float:
        """Time of upsampling, then convolving over the time of the chosen method."""
        return self.seconds["resize"] / self.seconds[CHOSEN]

    @property
    def best_gain(self) -> float:
        """Time of upsampling, then convolving over the time of the quickest method."""
        return self.seconds["resize"] / min(self.seconds.values())


def machine(engine: str, dtype: str, device: str) -> Machine:
    """Return the key under which the rates of a machine are stored."""
    return engine, device.lower(), dtype


def measure_choice(case: Case, engine: str) -> list[Choice]:
    """Time both passes of a case, with the chosen method and with every possible method."""
    names = possible(case.task, case.task_shape)
    layers = {CHOSEN: upsample_conv_layer(case)}
    layers.update({name: upsample_conv_layer(case, name) for name in names})
    times = time_layers(case, {FORWARD: layers, STEP: layers}, engine, _MINIMUM_ROUNDS)
    machines = (machine(engine, case.dtype, facts()["device"]),)
    choices = []
    for pass_name, seconds in times.items():
        is_step = pass_name == STEP
        pair = cheapest(names, case.task, case.task_shape, machines, is_step, preferred())
        chosen = dict.fromkeys(pair if is_step else pair[:1])
        choices.append(Choice(case, pass_name, "/".join(chosen), seconds))
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
    x, cotangent = tensors(case)
    gradients = {FORWARD: None, STEP: cotangent}
    every = {id(layer): layer for group in layers.values() for layer in group.values()}
    models = {key: model(case, layer) for key, layer in every.items()}
    medians = {}
    for pass_name, group in layers.items():
        runs = {
            name: program_of(models[id(layer)], x, gradients[pass_name], engine).run
            for name, layer in group.items()
        }
        for run in runs.values():
            run()  # compiles
        times = time_rounds(runs, 0.0, rounds)
        medians[pass_name] = {name: statistics.median(values) for name, values in times.items()}
    del models, runs
    gc.collect()  # models are in reference cycles, and their compiled programs are large
    return medians


class Measurements(NamedTuple):
    """Measured choices, with the facts of the machine, the engine, and the command."""

    facts: dict[str, str]
    engine: str
    command: str
    choices: list[Choice]

    def as_json(self) -> str:
        """Return everything as JSON."""
        cases = [
            {
                "case": choice.case._asdict(),
                "pass": choice.pass_name,
                "chosen": choice.chosen,
                "seconds": choice.seconds,
            }
            for choice in self.choices
        ]
        header = {"facts": self.facts, "engine": self.engine, "command": self.command}
        return json.dumps({**header, "cases": cases}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Measurements:
        """Return the measurements that `as_json` wrote.

        Raises:
            ValueError: If `text` is something else.
        """
        try:
            content = json.loads(text)
            choices = [_from_record(record) for record in content["cases"]]
            return cls(dict(content["facts"]), content["engine"], content["command"], choices)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("not a file written by --random --json") from error


def _from_record(record: dict[str, Any]) -> Choice:
    fields = {**record["case"], "spatial": tuple(record["case"]["spatial"])}
    seconds = {name: float(duration) for name, duration in record["seconds"].items()}
    if not {CHOSEN, "resize"} <= seconds.keys() or not all(
        0 < duration < math.inf for duration in seconds.values()
    ):
        raise ValueError
    return Choice(Case(**fields), record["pass"], record["chosen"], seconds)


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
