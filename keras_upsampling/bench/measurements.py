"""What the choice of a method cost, measured, and the files that hold it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from keras_upsampling.bench.cases import Case

CHOSEN = "chosen"
# The fact that says how TF32 was set; without it, as the backend sets it.
TF32 = "TF32"


class Choice(NamedTuple):
    """Seconds of every method, and of the chosen one, in one pass of a case.

    `chosen` is the name of a method, or `FORWARD/BACKWARD` if two methods are combined. The entry
    `"chosen"` of `seconds` is timed separately from the entry of the same method. `peak_bytes` has
    the peak memory of every program, if it was measured; None where the system does not tell.
    """

    case: Case
    pass_name: str
    chosen: str
    seconds: dict[str, float]
    peak_bytes: Mapping[str, int | None] = MappingProxyType({})

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


class Measurements(NamedTuple):
    """Measured choices, with the facts of the machine, the engine, and the command."""

    facts: dict[str, str]
    engine: str
    command: str
    choices: list[Choice]

    def __str__(self) -> str:
        dtypes = dict.fromkeys(choice.case.dtype for choice in self.choices)
        formats = dict.fromkeys(choice.case.data_format for choice in self.choices)
        tf32 = f" with TF32 {self.tf32}" if self.tf32 else ""
        named = f"{self.engine} in {' and '.join(dtypes) or 'no dtype'}{tf32}"
        return ", ".join([named, *[" and ".join(formats)] * bool(formats)])

    @property
    def tf32(self) -> str | None:
        """Whether TF32 was `"on"` or `"off"`; None if it was as the backend sets it."""
        return self.facts.get(TF32)

    def as_record(self) -> dict[str, Any]:
        """Return everything as a plain record."""
        header = {"facts": self.facts, "engine": self.engine, "command": self.command}
        return {**header, "cases": [as_record(choice) for choice in self.choices]}

    def as_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(self.as_record(), indent=1)

    def only(self, dtype: str, data_format: str) -> Measurements:
        """Return the choices of one dtype and one data format."""
        wanted = dtype, data_format
        return self._replace(
            choices=[
                choice
                for choice in self.choices
                if (choice.case.dtype, choice.case.data_format) == wanted
            ]
        )


def as_record(choice: Choice) -> dict[str, Any]:
    """Return a choice as a plain record."""
    return {
        "case": choice.case._asdict(),
        "pass": choice.pass_name,
        "chosen": choice.chosen,
        "seconds": choice.seconds,
        "peak_bytes": dict(choice.peak_bytes),
    }


def read_measurements(text: str) -> list[Measurements]:
    """Return the measurements of a file: one of `--random --json`, or those of a GPU check.

    Raises:
        ValueError: If `text` is something else.
    """
    try:
        content = json.loads(text)
        return [_measurements(record) for record in content.get("measurements", [content])]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "not a file written by --random --json or by tools/gpu_check.py"
        ) from error


def _measurements(record: dict[str, Any]) -> Measurements:
    choices = [_choice(entry) for entry in record["cases"]]
    return Measurements(dict(record["facts"]), record["engine"], record["command"], choices)


def _choice(record: dict[str, Any]) -> Choice:
    fields = {**record["case"], "spatial": tuple(record["case"]["spatial"])}
    seconds = {name: float(duration) for name, duration in record["seconds"].items()}
    if not {CHOSEN, "resize"} <= seconds.keys() or not all(
        0 < duration < math.inf for duration in seconds.values()
    ):
        raise ValueError
    peak_bytes = dict(record.get("peak_bytes", {}))  # earlier files have none
    return Choice(Case(**fields), record["pass"], record["chosen"], seconds, peak_bytes)
