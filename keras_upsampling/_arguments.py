"""Arguments, normalised and checked once, with one voice for errors.

Every message says what was received, what was expected, and how to mend it.
"""

from __future__ import annotations

import inspect
import math
import numbers
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from keras_upsampling.maths.interpolation import NAMES_OF_RANK, interpolation_names

# What other libraries, or other ranks, call things: words that users bring along.
_OTHER_WORDS = {
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
_OTHER_ARGUMENTS = {
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

    Raises:
        TypeError: it is not an integer (a float such as `2.0`, a bool, text).
        ValueError: it is zero or negative.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except Exception:  # arrays and tensors that are not integers raise errors of their own
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
    """Return one positive integer per axis, from one for all or a sequence of `rank`.

    Raises:
        TypeError: an entry is not an integer.
        ValueError: an entry is not positive, or there are not `rank` of them.
    """
    if _is_sequence(value):
        entries = tuple(value)
        if len(entries) != rank:
            raise ValueError(
                f"`{name}` must be a positive integer, or {rank} of them, one per axis. "
                f"Received: {name}={entries}."
            )
    else:
        entries = (value,) * rank
    return tuple(positive_int(entry, name) for entry in entries)


def positive_int_or_ints(value: Any, name: str) -> int | tuple[int, ...]:
    """Return one positive integer for however many axes there will be, or one per axis.

    Raises:
        TypeError: an entry is not an integer.
        ValueError: an entry is not positive.
    """
    if _is_sequence(value):
        return positive_ints(value, len(value), name)
    return positive_int(value, name)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or len(getattr(value, "shape", ())) == 1


def positive_number(value: Any, name: str) -> float:
    """Return `value` as a plain float above 0.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not above 0, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"`{name}` must be a number above 0. Received: {name}={value!r} of type "
            f"{type(value).__name__}."
        )
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(
            f"`{name}` must be a number above 0, not infinite. Received: {name}={value!r}."
        )
    return number


def one_of(value: Any, known: Sequence[str], name: str) -> str:
    """Return `value` in lower case if it is one of the `known` words.

    Raises:
        ValueError: it is not; the message lists the known ones.
    """
    word = value.lower() if isinstance(value, str) else value
    if not isinstance(word, str) or word not in known:
        meant = _OTHER_WORDS.get(str(word))
        hint = f" What others call {value!r} is {meant!r} here." if meant in known else ""
        raise ValueError(
            f"Unknown `{name}`. Received: {name}={value!r}; "
            f"expected one of: {', '.join(map(repr, known))}.{hint}"
        )
    return word


def refuse_other_arguments(layer: type[Any], given: Mapping[str, Any]) -> None:
    """Refuse arguments by which other libraries call those of a layer.

    Raises:
        ValueError: there is one of them; the message says what it is called here.
    """
    known = inspect.signature(layer.__init__).parameters
    for name, value in given.items():
        meant = _OTHER_ARGUMENTS.get(name)
        if meant in known and name not in known:
            raise ValueError(
                f"{layer.__name__} has no argument `{name}`; here it is called `{meant}`. "
                f"Received: {name}={value!r}; write {meant}={value!r}."
            )
        if name == "align_corners":
            raise ValueError(
                f"{layer.__name__} has no argument `align_corners`; positions are half-pixel "
                f"centres, as with align_corners=False. Received: align_corners={value!r}; leave "
                "it out."
            )


def interpolation_name(value: Any, rank: int) -> str:
    """Return the name in every rank of an interpolation that is known in `rank` dimensions.

    Raises:
        ValueError: it is unknown; the message lists the known ones.
    """
    word = one_of(value, interpolation_names(rank), "interpolation")
    return NAMES_OF_RANK[rank].get(word, word)
