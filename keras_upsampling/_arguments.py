"""Validation of arguments.

Every message says what is expected, what was received, and how to fix it.
"""

from __future__ import annotations

import inspect
import math
import numbers
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from keras_upsampling.maths.interpolation import NAMES_OF_RANK, interpolation_names

# Names that other libraries, or layers of another rank, use for the same choices.
_SYNONYMS = {
    "bilinear": "linear",
    "trilinear": "linear",
    "bicubic": "cubic",
    "nearest-exact": "nearest",
    "lanczos": "lanczos3",
    "zeros": "same",
    "constant": "same",
    "replicate": "edge",
    "border": "edge",
    "nearest": "edge",
    "circular": "wrap",
    "mirror": "reflect",
    "reflection": "reflect",
    "nhwc": "channels_last",
    "nchw": "channels_first",
}
_ARGUMENT_SYNONYMS = {
    "strides": "size",
    "stride": "size",
    "scale_factor": "size",
    "upscale_factor": "size",
    "scale": "size",
    "factor": "size",
    "upsample": "size",
    "pool_size": "size",
    "mode": "interpolation",
    "method": "interpolation",
    "padding_mode": "padding",
    "dilation": "dilation_rate",
    "bias": "use_bias",
}


def positive_int(value: Any, name: str) -> int:
    """Return `value` as a plain positive integer.

    Args:
        value: Value of the argument.
        name: Name of the argument, for error messages.

    Raises:
        TypeError: If `value` is not an integer, for example `2.0`, a bool or a string.
        ValueError: If `value` is below 1.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except Exception:  # arrays and tensors raise errors of other types than TypeError
        number = None
    if number is None:
        raise TypeError(
            f"`{name}` must be a positive integer. Received: {name}={value!r} of type "
            f"{type(value).__name__}; integers are needed, for example {name}=2."
        )
    if number < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={number}; use 1 or more."
        )
    return number


def positive_ints(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """Return `rank` positive integers, one per axis.

    Args:
        value: One integer for all axes, or a sequence of `rank` integers.
        rank: Number of axes.
        name: Name of the argument, for error messages.

    Raises:
        TypeError: If an entry is not an integer.
        ValueError: If an entry is below 1, or the number of entries is not `rank`.
    """
    if _is_sequence(value):
        entries = tuple(value)
        if len(entries) != rank:
            raise ValueError(
                f"`{name}` must be a positive integer, or {rank} of them, one per axis. "
                f"Received: {name}={entries}. Pass {rank} integers, or one for all axes."
            )
    else:
        entries = (value,) * rank
    return tuple(positive_int(entry, name) for entry in entries)


def positive_int_or_ints(value: Any, name: str) -> int | tuple[int, ...]:
    """Return one positive integer, or one per axis, when the rank is not known yet.

    Raises:
        TypeError: If an entry is not an integer.
        ValueError: If an entry is below 1.
    """
    if _is_sequence(value):
        return positive_ints(value, len(value), name)
    return positive_int(value, name)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or len(getattr(value, "shape", ())) == 1


def positive_number(value: Any, name: str) -> float:
    """Return `value` as a plain float above 0.

    Raises:
        TypeError: If `value` is not a number.
        ValueError: If `value` is not above 0, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"`{name}` must be a number above 0. Received: {name}={value!r} of type "
            f"{type(value).__name__}. Pass an int or a float."
        )
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(
            f"`{name}` must be a number above 0, and finite. Received: {name}={value!r}. "
            f"Use, for example, {name}=1.0."
        )
    return number


def one_of(value: Any, choices: Sequence[str], name: str) -> str:
    """Return `value` in lower case if it is one of `choices`.

    Raises:
        ValueError: If it is not. The message lists the choices.
    """
    word = value.lower() if isinstance(value, str) else value
    if not isinstance(word, str) or word not in choices:
        synonym = _SYNONYMS.get(str(word))
        hint = f" Use {synonym!r} instead of {value!r}." if synonym in choices else ""
        raise ValueError(
            f"Unknown `{name}`. Received: {name}={value!r}; "
            f"expected one of: {', '.join(map(repr, choices))}.{hint}"
        )
    return word


def check_argument_names(layer: type[Any], arguments: Mapping[str, Any]) -> None:
    """Raise for argument names that other libraries use for an argument of this layer.

    Raises:
        ValueError: If `arguments` contains such a name. The message gives the right one.
    """
    parameters = inspect.signature(layer.__init__).parameters
    for name, value in arguments.items():
        synonym = _ARGUMENT_SYNONYMS.get(name)
        if synonym in parameters and name not in parameters:
            raise ValueError(
                f"{layer.__name__} has no argument `{name}`; the argument is called "
                f"`{synonym}`. Received: {name}={value!r}. Use {synonym}={value!r}."
            )
        if name == "align_corners":
            raise ValueError(
                f"{layer.__name__} has no argument `align_corners`; positions are half-pixel "
                f"centres, as with align_corners=False. Received: align_corners={value!r}. "
                "Remove the argument."
            )


def interpolation_name(value: Any, rank: int) -> str:
    """Return the name of an interpolation that is the same in every rank.

    Args:
        value: Name of the interpolation in `rank` dimensions, such as `"bilinear"`.
        rank: Number of spatial axes.

    Raises:
        ValueError: If the name is unknown. The message lists the known names.
    """
    word = one_of(value, interpolation_names(rank), "interpolation")
    return NAMES_OF_RANK[rank].get(word, word)
