"""What tuning found: the shipped and the tuned choice beside upsampling, then convolving."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

from keras_upsampling._tables import table
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.choosing import time_layers
from keras_upsampling.bench.contenders import upsample_conv_layer
from keras_upsampling.bench.fitting import ByPass
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.bench.tuning import Tuned, is_better, methods_for
from keras_upsampling.ops._upsample_conv.choice import possible
from keras_upsampling.ops._upsample_conv.methods import PASSES, kinds
from keras_upsampling.ops._upsample_conv.rate_file import RateSet

# Stages of common decoders, by kind of device: batch, spatial lengths, channels, filters, factor,
# taps, interpolation.
STANDARD = {
    "cpu": (
        (1, (32, 32), 64, 32, 2, 3, "nearest"),
        (8, (14, 14), 64, 32, 2, 3, "linear"),
        (4, (16, 16), 32, 16, 4, 5, "nearest"),
    ),
    "gpu": (
        (16, (64, 64), 128, 64, 2, 3, "nearest"),
        (32, (32, 32), 128, 64, 2, 3, "linear"),
        (8, (64, 64), 64, 32, 4, 5, "nearest"),
    ),
}
_ROUNDS = 5


class Compared(NamedTuple):
    """One pass of a standard shape.

    `methods` are those of the shipped and of the tuned choice, and `gains` how many times as fast
    as upsampling, then convolving they are.
    """

    case: Case
    pass_name: str
    methods: tuple[str, str]
    gains: tuple[float, float]


class Outcome(NamedTuple):
    """What was found for one dtype on one device.

    Attributes:
        key: Engine, version of the backend, device and dtype.
        facts: The machine and the versions, as of that device.
        cases: The number of measured cases.
        seconds: The time of everything.
        tuned: The fit; None if there was none.
        compared: The standard shapes.
        problem: Why there was no fit.
    """

    key: tuple[str, str, str, str]
    facts: dict[str, str]
    cases: int
    seconds: float
    tuned: Tuned | None
    compared: tuple[Compared, ...] = ()
    problem: str = ""

    @property
    def gain(self) -> float:
        """Time by the shipped rates over time by the tuned ones, on cases outside of the fit."""
        return math.exp(statistics.mean(self._log_gains))

    @property
    def is_better(self) -> bool:
        """Whether the tuned rates are worth keeping."""
        return self.tuned is not None and is_better(self._log_gains)

    @property
    def _log_gains(self) -> list[float]:
        standard = [math.log(tuned / shipped) for *_, (shipped, tuned) in self.compared]
        return [*(self.tuned.gains if self.tuned else ()), *standard]

    def rate_set(self, source: str, command: str) -> RateSet:
        """Return the entry of the file of tuned rates, with a rate for every kind of work."""
        assert self.tuned is not None
        fitted = self.tuned.rates
        rates = {name: {kind: fitted[name].get(kind, 0.0) for kind in kinds()} for name in PASSES}
        return RateSet(*self.key, source, self.facts, command, self.cases, {**rates})

    def as_record(self) -> dict[str, Any]:
        """Return everything as a plain record, for JSON."""
        tuned = self.tuned
        return {
            **dict(zip(("engine", "version", "device", "dtype"), self.key, strict=True)),
            "facts": self.facts,
            "cases": self.cases,
            "seconds": self.seconds,
            "problem": self.problem,
            "saved": self.is_better,
            "weight": tuned.weight if tuned else None,
            "gain": self.gain if tuned else None,
            "rates": tuned.rates if tuned else None,
            "standard": [{**row._asdict(), "case": row.case._asdict()} for row in self.compared],
        }


def compare(case: Case, engine: str, shipped: ByPass | None, tuned: ByPass) -> Iterator[Compared]:
    """Time a standard shape by resizing, by the shipped and by the tuned choice."""
    names = possible(case.task, case.task_shape)
    pairs: dict[str, list[tuple[str, str]]] = {FORWARD: [], STEP: []}
    for rates in (None, shipped, tuned):
        alone, forward, backward = methods_for(case, names, rates, engine)
        pairs[FORWARD].append((alone, alone))
        pairs[STEP].append((forward, backward))
    every = {pair: upsample_conv_layer(case, *pair) for pair in (*pairs[FORWARD], *pairs[STEP])}
    # Equal choices are timed once, so that noise does not make them differ.
    layers = {
        pass_name: {"/".join(pair): every[pair] for pair in chosen}
        for pass_name, chosen in pairs.items()
    }
    times = time_layers(case, layers, engine, _ROUNDS)
    for pass_name, chosen in pairs.items():
        resizing, former, new = (times[pass_name]["/".join(pair)] for pair in chosen)
        labels = ["/".join(dict.fromkeys(pair)) for pair in chosen[1:]]
        yield Compared(case, pass_name, (labels[0], labels[1]), (resizing / former, resizing / new))


def report(outcome: Outcome) -> str:
    """Return what was found as text in Markdown."""
    engine, version, device, dtype = outcome.key
    title = f"### {engine} {version}, {device}, {dtype}"
    measured = f"{outcome.cases} cases measured in {outcome.seconds:.0f} s."
    if outcome.tuned is None:
        return f"{title}\n\n{measured} Nothing was fitted: {outcome.problem}"
    rows = [
        [str(row.case), row.pass_name, *(f"{gain:.2f}" for gain in row.gains), *row.methods]
        for row in outcome.compared
    ]
    for pass_name in (FORWARD, STEP):
        gains = [row.gains for row in outcome.compared if row.pass_name == pass_name]
        means = [f"{statistics.geometric_mean(column):.2f}" for column in zip(*gains, strict=True)]
        rows.append(["geometric mean", pass_name, *means, "", ""])
    verdict = (
        "Better by more than twice the standard error: the tuned rates are kept."
        if outcome.is_better
        else "Not better by more than twice the standard error: the shipped rates stay in use."
    )
    return "\n\n".join(
        [
            title,
            f"{measured} Times as fast as upsampling, then convolving, measured, with the methods "
            "that the shipped and the tuned rates choose:",
            table(["case", "pass", "shipped", "tuned", "shipped: by", "tuned: by"], rows),
            "On these and on the random cases, each left out of the fit in turn, the tuned choice "
            f"is {outcome.gain:.2f} times as fast as the shipped one. {verdict}",
        ]
    )
