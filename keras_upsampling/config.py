"""Settings of the choice of methods: the rates in use, and the preference for time or memory.

They hold for the process. A method is chosen when a function is traced: one that was traced before
keeps its choice. So set them before a model is first called.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from keras_upsampling._tables import table
from keras_upsampling.ops import devices
from keras_upsampling.ops._upsample_conv.choice import PREFERENCES, prefer, preferred, use_rates
from keras_upsampling.ops._upsample_conv.known_rates import SHIPPED, rates_of
from keras_upsampling.ops._upsample_conv.rate_file import RateSet

__all__ = ["RateSet", "RatesInUse", "preference", "rates", "set_preference", "set_rates"]

_DTYPES = ("float32", "float64", "bfloat16", "float16")


class RatesInUse(NamedTuple):
    """The rates by which methods are chosen on the devices of this machine. It prints as a table.

    Attributes:
        sets: The rates in use, one [`RateSet`](config.RateSet.md) for each engine, device and
            dtype.
        missing: Engine, device and dtype of those without rates, which upsample, then convolve.
    """

    sets: tuple[RateSet, ...]
    missing: tuple[tuple[str, str, str], ...]

    def __str__(self) -> str:
        head = ["engine", "device", "dtype", "rates", "measured on", "with", "by"]
        rows = [
            [
                entry.engine,
                entry.device,
                entry.dtype,
                entry.source,
                entry.facts.get("processor", ""),
                entry.version,
                entry.command,
            ]
            for entry in self.sets
        ]
        text = table(head, rows)
        if self.missing:
            without = "; ".join(", ".join(machine) for machine in self.missing)
            text += f"\n\nWithout rates, so upsampled, then convolved: {without}."
        return text


def rates() -> RatesInUse:
    """Return which rates are in use on this machine, and where they come from.

    Returns:
        For every engine of the backend, device and dtype: where the rates stand (`"shipped"` or
        the path of a file), the machine and the command that they come from, and the rates.

    Example:
        >>> from keras_upsampling import config
        >>> config.set_rates("shipped")
        >>> {entry.source for entry in config.rates().sets} <= {"shipped"}
        True
    """
    sets, missing = [], []
    for engine in devices.engines_of_backend():
        for device in devices.devices_to_measure():
            for dtype in _DTYPES:
                found = rates_of(engine, device, dtype)
                if found is None:
                    missing.append((engine, devices.device_name(device), dtype))
                else:
                    sets.append(found)
    return RatesInUse(tuple(sets), tuple(missing))


def set_rates(source: str | os.PathLike[str] | None = None) -> None:
    """Set the rates by which methods are chosen from now on.

    A function that is already compiled keeps its choice, so call this before a model is first
    called.

    Args:
        source: Path of a file that `python -m keras_upsampling tune` has written; `"shipped"` for
            the rates of the package alone; or None, the default, for those of the file in Keras's
            home folder, if it has some for the backend's version and the device, and otherwise
            those of the package.

    Raises:
        TypeError: If `source` is something else.
        ValueError: If the file cannot be read, is damaged, or has no rates for this machine and
            this version of the backend that can be used. Entries that cannot are passed over.

    Example:
        >>> from keras_upsampling import config
        >>> config.set_rates("shipped")
        >>> config.set_rates(None)  # the default
    """
    if not isinstance(source, str | os.PathLike | None):
        raise TypeError(
            f"`source` must be the path of a file, {SHIPPED!r} or None. Received: {source!r} (type "
            f"{type(source).__name__}). Use the path of a file of tuned rates."
        )
    use_rates(source if source is None else os.fspath(source))


def preference() -> str:
    """Return what methods are chosen for: `"time"`, the default, or `"memory"`.

    Example:
        >>> from keras_upsampling import config
        >>> config.preference()
        'time'
    """
    return preferred()


def set_preference(preference: str) -> None:
    """Set what the methods of `UpsampleConv` and `ops.upsample_conv` are chosen for from now on.

    A function that is already compiled keeps its choice, so call this before a model is first
    called.

    Args:
        preference: `"time"` for the method that is expected to take the least time, by the rates
            in use; `"memory"` for the one that holds the fewest values at once, and among several
            for the quickest. The result is the same up to rounding.

    Raises:
        ValueError: If `preference` is neither.

    Example:
        >>> from keras_upsampling import config
        >>> config.set_preference("memory")
        >>> config.preference()
        'memory'
        >>> config.set_preference("time")
    """
    if preference not in PREFERENCES:
        names = " or ".join(map(repr, PREFERENCES))
        raise ValueError(
            f"`preference` must be {names}. Received: {preference!r}. Use one of them."
        )
    prefer(preference)
