"""How well methods are chosen: every method that can do a case, beside the one that is chosen."""

from __future__ import annotations

import gc
import json
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras_upsampling._tables import table
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.contenders import model, upsample_conv_layer
from keras_upsampling.bench.programs import compiled
from keras_upsampling.bench.report import facts
from keras_upsampling.bench.timing import FORWARD, STEP, rounds, tensors
from keras_upsampling.ops._upsample_conv.choice import Machine, cheapest, possible

CHOSEN = "chosen"
_LEAST_ROUNDS = 9
# How many of the cases that were chosen worst are shown.
_WORST = 10


class Choice(NamedTuple):
    """One pass of a case: the seconds of every method, and of what was chosen.

    `chosen` is a method's name, or `FORWARD/BACKWARD` where two differ; `seconds` has it under
    `"chosen"`, measured apart from the method that it is.
    """

    case: Case
    pass_name: str
    chosen: str
    seconds: dict[str, float]

    @property
    def regret(self) -> float:
        """How many times as long the chosen method takes as the quickest."""
        return self.seconds[CHOSEN] / min(self.seconds.values())

    @property
    def gain(self) -> float:
        """How many times as long upsampling, then convolving takes as the chosen method."""
        return self.seconds["resize"] / self.seconds[CHOSEN]

    @property
    def best_gain(self) -> float:
        """How many times as long upsampling, then convolving takes as the quickest method."""
        return self.seconds["resize"] / min(self.seconds.values())


def machine(engine: str, dtype: str, device: str) -> Machine:
    """Return what the rates of a machine belong to."""
    return engine, device.lower(), dtype


def measure_choice(case: Case, engine: str) -> list[Choice]:
    """Time the forward pass and the training step of a case, by every method and as chosen."""
    x, cotangent = tensors(case)
    names = possible(case.task, case.task_shape)
    layers = {CHOSEN: upsample_conv_layer(case)}
    layers.update({name: upsample_conv_layer(case, name) for name in names})
    models = {name: model(case, layer) for name, layer in layers.items()}
    choices = []
    for pass_name, incoming in {FORWARD: None, STEP: cotangent}.items():
        programs = {name: compiled(one, x, incoming, engine) for name, one in models.items()}
        for program in programs.values():
            program.run()  # compiles
        times = rounds({name: one.run for name, one in programs.items()}, 0.0, _LEAST_ROUNDS)
        pair = cheapest(
            names,
            case.task,
            case.task_shape,
            (machine(engine, case.dtype, facts()["device"]),),
            pass_name == STEP,
        )
        chosen = dict.fromkeys(pair if pass_name == STEP else pair[:1])
        choices.append(
            Choice(
                case,
                pass_name,
                "/".join(chosen),
                {name: statistics.median(of_one) for name, of_one in times.items()},
            )
        )
    del models, programs
    gc.collect()  # models are in circles, and what was compiled for one case is large
    return choices


class Measurements(NamedTuple):
    """What was measured, where, and by which command; `engine` is what ran it."""

    facts: dict[str, str]
    engine: str
    command: str
    choices: list[Choice]

    def as_json(self) -> str:
        """Return all of it as JSON."""
        cases = [
            {
                "case": c.case._asdict(),
                "pass": c.pass_name,
                "chosen": c.chosen,
                "seconds": c.seconds,
            }
            for c in self.choices
        ]
        of_all = {"facts": self.facts, "engine": self.engine, "command": self.command}
        return json.dumps({**of_all, "cases": cases}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Measurements:
        """Return what `as_json` made text of.

        Raises:
            ValueError: it is something else.
        """
        try:
            found = json.loads(text)
            choices = [_from_record(record) for record in found["cases"]]
            return cls(dict(found["facts"]), found["engine"], found["command"], choices)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("it is not what --random --json writes") from error


def _from_record(record: dict[str, Any]) -> Choice:
    fields = {**record["case"], "spatial": tuple(record["case"]["spatial"])}
    seconds = {name: float(took) for name, took in record["seconds"].items()}
    if not {CHOSEN, "resize"} <= seconds.keys() or not all(
        0 < took < math.inf for took in seconds.values()
    ):
        raise ValueError
    return Choice(Case(**fields), record["pass"], record["chosen"], seconds)


_DRAWN = ("nearest", "linear")
_GROUPS: tuple[tuple[str, Callable[[Case], bool]], ...] = (
    ("2-D", lambda case: len(case.spatial) == 2),
    ("2-D, nearest", lambda case: len(case.spatial) == 2 and case.interpolation == "nearest"),
    ("2-D, linear", lambda case: len(case.spatial) == 2 and case.interpolation == "linear"),
    ("2-D, others", lambda case: len(case.spatial) == 2 and case.interpolation not in _DRAWN),
    ("1-D", lambda case: len(case.spatial) == 1),
    ("3-D", lambda case: len(case.spatial) == 3),
    ("all", lambda _: True),
)


_TRAITS: tuple[tuple[str, Callable[[Choice], float]], ...] = (
    ("milliseconds of the quickest", lambda c: 1e3 * min(c.seconds.values())),
    ("batch", lambda c: c.case.batch),
    ("spatial axes", lambda c: len(c.case.spatial)),
    ("samples on an axis", lambda c: max(c.case.spatial)),
    ("channels", lambda c: c.case.channels),
    ("filters", lambda c: c.case.filters),
    ("factor", lambda c: c.case.size),
    ("taps", lambda c: c.case.kernel_size),
)


def report(measured: Measurements) -> str:
    """Return tables in Markdown of how well methods were chosen."""
    rows, choices = [], measured.choices
    for name, belongs in _GROUPS:
        for pass_name in (FORWARD, STEP):
            of_group = [c for c in choices if c.pass_name == pass_name and belongs(c.case)]
            if of_group:
                rows.append([name, pass_name, *_summary(of_group)])
    worst = sorted(choices, key=lambda choice: -choice.regret)[:_WORST]
    return "\n\n".join(
        [
            table(("", ""), [*measured.facts.items(), ("engine", measured.engine)]),
            "Regret is the time of the chosen method over that of the quickest; gain is how many "
            "times as long upsampling, then convolving takes. Both are geometric means over the "
            "cases. `95 % below`: the regret that 95 % of the cases do not exceed. `gain, "
            "quickest`: the gain if the quickest method were always chosen. `slower`: in how many "
            "cases the chosen method is slower than upsampling, then convolving. What is chosen is "
            "timed apart from the method that it is, and two timings of one method differ by some "
            "percent: regret and slower cases include that.",
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
                [[str(c.case), c.pass_name, *_details(c)] for c in worst],
            ),
            "What these have in common, in medians, beside all that were measured:",
            table(
                ["", "these", "all"],
                [
                    [
                        what,
                        *(f"{statistics.median(map(of, part)):.3g}" for part in (worst, choices)),
                    ]
                    for what, of in _TRAITS
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
    of_methods = {name: took for name, took in choice.seconds.items() if name != CHOSEN}
    quickest = min(of_methods, key=lambda name: of_methods[name])
    return [
        f"{choice.regret:.2f}",
        f"{choice.gain:.2f}",
        choice.chosen,
        quickest,
        ", ".join(f"{name} {1e3 * took:.2f}" for name, took in choice.seconds.items()),
    ]
