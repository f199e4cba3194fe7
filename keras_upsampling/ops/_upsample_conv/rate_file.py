"""The file of tuned rates: where it is, and reading and composing its text."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from keras_upsampling.ops._upsample_conv.methods import PASSES, counting, kinds
from keras_upsampling.ops.devices import engines_of_backend

# Seconds per unit of each kind of work.
Rates: TypeAlias = Mapping[str, float]

NAME = "keras_upsampling.json"
_FORMAT = 1
# Every entry has about 2 kB. Whatever is much larger is something else, and is not read.
_LARGEST = 4_000_000


class RateSet(NamedTuple):
    """The rates of one engine on one device in one dtype, and where they come from.

    Attributes:
        engine: A backend, or `"tensorflow-xla"` for functions that XLA compiles.
        version: The version of the backend.
        device: The model of the device. Of rates that ship with the package, its kind: `"cpu"` or
            `"gpu"`.
        dtype: The dtype of the maps.
        source: Path of the file that holds the rates, or `"shipped"`.
        facts: The machine and the versions that they were measured with.
        command: The command that measured them.
        cases: The number of measured cases.
        rates: Seconds per unit of each kind of work, of the `"forward"` and `"backward"` passes.
    """

    engine: str
    version: str
    device: str
    dtype: str
    source: str
    facts: dict[str, str]
    command: str
    cases: int
    rates: dict[str, Rates]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What identifies tuned rates: engine, version of the backend, device and dtype."""
        return self.engine, self.version, self.device, self.dtype


class DamagedError(ValueError):
    """A file that holds nothing of use, so that it may be written anew."""


def default_path() -> Path:
    """Return the path of the file in Keras's home folder, which Keras finds in the same way."""
    if "KERAS_HOME" in os.environ:
        return Path(os.path.expanduser(os.environ["KERAS_HOME"]), NAME)
    home = os.path.expanduser("~")
    return Path(home if os.access(home, os.W_OK) else "/tmp", ".keras", NAME)


def read(path: Path) -> tuple[list[RateSet], list[str]]:
    """Return the usable entries of a file, and what is wrong with the others.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not a file of tuned rates.
    """
    entries, problems = [], []
    for record in _records(path):
        try:
            entries.append(_entry(record, str(path)))
        except ValueError as error:
            problems.append(str(error))
    return entries, problems


def with_changes(
    path: Path, saved: list[RateSet], forgotten: list[tuple[str, str, str, str]]
) -> str:
    """Return the text of a file with some entries saved, some removed, and the others kept.

    A file that is missing or damaged has no entries to keep. Entries of the present backend that
    this version cannot use are left out.

    Raises:
        OSError: If there is a file that cannot be read.
        ValueError: If it may hold something of use to others, such as a later version.
    """
    try:
        records = _records(path)
    except (FileNotFoundError, DamagedError):
        records = []
    changed = {_key(record): record for record in records if _is_kept(record)}
    changed.update((entry.key, _record(entry)) for entry in saved)
    for key in forgotten:
        changed.pop(key, None)
    return json.dumps({"format": _FORMAT, "rates": [*changed.values()]}, indent=1) + "\n"


def _is_kept(record: dict[str, Any]) -> bool:
    """Return whether an entry is usable, or of another backend, which checks it itself."""
    if _is_complete(_key(record)) and record["engine"] not in engines_of_backend():
        return True
    try:
        _entry(record, "")
    except ValueError:
        return False
    return True


def _record(entry: RateSet) -> dict[str, Any]:
    """Return an entry as it is written."""
    fields = entry._asdict()
    rates = fields.pop("rates")
    del fields["source"]
    return {**fields, "counting": counting(), **rates}


def _records(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a file, unchecked.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not a file of tuned rates.
    """
    status = path.stat()
    # A pipe in the place of the file would be waited for.
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size > _LARGEST:
        raise ValueError(f"{status.st_size} bytes, too large for a file of rates")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise DamagedError("not a file of rates: no JSON") from None
    if not isinstance(content, dict) or "format" not in content:
        raise DamagedError("not a file of rates")
    if content["format"] != _FORMAT:
        raise ValueError(
            f"format {content['format']!r}, but this version reads {_FORMAT}; use the version that "
            "wrote it, or remove it"
        )
    records = content.get("rates")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DamagedError("not a file of rates: no list of entries")
    return records


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in ("engine", "version", "device", "dtype"))


def _is_complete(key: tuple[Any, ...]) -> bool:
    return all(isinstance(part, str) for part in key)


def _entry(record: dict[str, Any], source: str) -> RateSet:
    """Return a checked entry.

    Raises:
        ValueError: If something is missing or malformed.
    """
    key, facts = _key(record), record.get("facts")
    if not _is_complete(key):
        raise ValueError(f"the entry {key} lacks its engine, version, device or dtype")
    name = ", ".join(key)
    if record["engine"] not in engines_of_backend():  # each backend counts work by its own methods
        raise ValueError(f"the rates of {name} are of another backend")
    if record.get("counting") != counting():
        raise ValueError(f"the rates of {name} are for work that this version counts differently")
    if not isinstance(facts, dict) or not all(isinstance(fact, str) for fact in facts.values()):
        raise ValueError(f"the facts of {name} are malformed")
    if not isinstance(record.get("command"), str) or not isinstance(record.get("cases"), int):
        raise ValueError(f"the command or the number of cases of {name} is malformed")
    rates: dict[str, Any] = {pass_name: record.get(pass_name) for pass_name in PASSES}
    for pass_rates in rates.values():
        if not isinstance(pass_rates, dict) or pass_rates.keys() != set(kinds()):
            raise ValueError(f"the rates of {name} are not those of every kind of work")
        if not all(map(_is_rate, pass_rates.values())) or not any(pass_rates.values()):
            raise ValueError(f"the rates of {name} are not all numbers of seconds")
    engine, version, device, dtype = key
    command, cases = record["command"], record["cases"]
    return RateSet(engine, version, device, dtype, source, facts, command, cases, rates)


def _is_rate(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return value >= 0 and math.isfinite(value)
    except OverflowError:
        return False
