"""The rates in use: those of a tuned file if it has some for the device, else the shipped ones."""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path

from keras_upsampling.ops import devices
from keras_upsampling.ops._upsample_conv.methods import PASSES
from keras_upsampling.ops._upsample_conv.rate_file import RateSet, default_path, read

SHIPPED = "shipped"

# What `use` set: None for the default lookup, `SHIPPED`, or the entries of a named file.
_source: str | tuple[RateSet, ...] | None = None


@functools.cache
def shipped_rates() -> dict[tuple[str, str, str], RateSet]:
    """Return the rates of the package, by engine, kind of device and dtype."""
    text = resources.files(__package__).joinpath("rates.json").read_text(encoding="utf-8")
    return {
        (entry["engine"], entry["device"], entry["dtype"]): RateSet(
            entry["engine"],
            entry["facts"].get(entry["engine"].removesuffix("-xla"), ""),
            entry["device"],
            entry["dtype"],
            SHIPPED,
            entry["facts"],
            entry["command"],
            entry["cases"],
            {name: entry[name] for name in PASSES},
        )
        for entry in json.loads(text)
    }


@functools.cache
def tuned_rates() -> dict[tuple[str, str, str, str], RateSet]:
    """Return the tuned rates, by `RateSet.key`; none if their file is missing or unusable."""
    if _source == SHIPPED:
        return {}
    if isinstance(_source, tuple):
        return {entry.key: entry for entry in _source}
    try:
        entries, _ = read(default_path())
    except (OSError, ValueError):
        return {}
    return {entry.key: entry for entry in entries}


@functools.cache
def rates_of(engine: str, device: str, dtype: str) -> RateSet | None:
    """Return the rates by which methods are chosen; None if there are none.

    The rates that were tuned on this very device come first, then those that ship for its kind.

    Args:
        engine: An engine of the current backend.
        device: A device of `devices.device_of`.
        dtype: Name of a dtype.
    """
    tuned = tuned_rates()
    if tuned:  # names of devices are looked up only if they are needed
        version, name = devices.backend_version(), devices.device_name(device)
        found = tuned.get((engine, version, name, dtype))
        if found is not None:
            return found
    return shipped_rates().get((engine, device.partition(":")[0], dtype))


def use(source: str | Path | None) -> None:
    """Set where rates are looked up, as `config.set_rates` documents."""
    global _source
    _source = source if source is None or source == SHIPPED else _named(Path(source))
    tuned_rates.cache_clear()
    rates_of.cache_clear()


def _named(path: Path) -> tuple[RateSet, ...]:
    """Return the entries of a file that the user named, without those that cannot be used.

    Raises:
        ValueError: If it cannot be read, or has no usable rates for this machine.
    """
    expected = "Expected a file written by `python -m keras_upsampling tune`"
    again = "Run that command again, or use None or 'shipped'."
    try:
        entries, problems = read(path)
    except OSError as error:
        raise ValueError(f"{expected}. Received: {path} ({error.strerror}). {again}") from None
    except ValueError as error:
        raise ValueError(f"{expected}. Received: {path} ({error}). {again}") from None
    version = devices.backend_version()
    names = {devices.device_name(device) for device in ("cpu", *devices.devices_to_measure())}
    here = [entry for entry in entries if entry.version == version and entry.device in names]
    if not here:
        found = "; ".join([*(" ".join(entry.key[:3]) for entry in entries), *problems])
        raise ValueError(
            f"Expected rates of {devices.engines_of_backend()[0]} {version} on "
            f"{' or '.join(sorted(names))}. Received: {path} ({found or 'no rates'}). "
            f"{again}"
        )
    return tuple(entries)
