"""Arguments, normalised and checked once, with one voice for errors.

Every message says what was received, what was expected, and how to mend it.
"""

from __future__ import annotations

import inspect
import math
import numbers
import operator
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

import keras
from keras import ops

from keras_upsampling._types import DataFormat, Shape, Tensor
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


def count_phases(shape: Sequence[int], size: int | tuple[int, ...]) -> int:
    """Return how many phases the outputs of a sub-pixel convolution's kernel or bias are.

    Args:
        shape: `(*taps, channels, phases * filters)`, or `(phases * filters,)`.
        size: How many phases each axis has, or one number for every axis. A kernel tells how many
            axes those are; a bias does not, so it takes one number per axis.

    Raises:
        ValueError: it is neither a kernel nor a bias, the size is not of its rank, or its outputs
            are not divisible by the phases.
    """
    shape, rank = tuple(shape), len(shape) - 2
    if len(shape) == 1:
        if not isinstance(size, tuple):
            raise ValueError(
                "For a bias, `size` must be one integer per axis. Received: "
                f"size={size}; for images, write size=({size}, {size})."
            )
        rank = len(size)
    elif rank not in (1, 2, 3):
        raise ValueError(
            "Expected a kernel (*taps, channels, phases * filters) with one to three axes of taps, "
            f"or a bias (phases * filters,). Received a weight of shape {shape}."
        )
    phases = math.prod(positive_ints(size, rank, "size"))
    if shape[-1] % phases:
        raise ValueError(
            f"The channels must be divisible by the {phases} phases of size={size}. "
            f"Received a weight of shape {shape}."
        )
    return phases


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


def refuse_complex(dtype: str, name: str) -> None:
    """Refuse a dtype of complex numbers, of which one part would be dropped.

    Raises:
        TypeError: it is one.
    """
    if "complex" in dtype:
        raise TypeError(
            f"`{name}` must be real numbers. Received dtype {dtype}; take the real and the "
            "imaginary part apart."
        )


def cast_inputs(inputs: Tensor, dtype: str) -> Tensor:
    """Return the inputs of a layer in its dtype: Keras leaves integers as they are.

    Raises:
        TypeError: they are complex, of which one part would be dropped.
    """
    given = keras.backend.standardize_dtype(inputs.dtype)
    refuse_complex(given, "inputs")
    return inputs if given == dtype else ops.cast(inputs, dtype)


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


def concrete_tensor(value: Any, layers: str) -> Tensor:
    """Return `value` as a tensor.

    Raises:
        TypeError: it is symbolic, a place in a functional model; the message names the
            `layers` to use there.
    """
    if isinstance(value, keras.KerasTensor):
        raise TypeError(
            f"Expected a tensor or an array. Received the symbolic {value!r}; in a functional "
            f"model, use {layers}."
        )
    return ops.convert_to_tensor(value)


def data_format_or_default(value: Any) -> DataFormat:
    """Return `value` checked, or Keras's setting for None."""
    if value is None:
        return keras.config.image_data_format()
    return cast(DataFormat, one_of(value, get_args(DataFormat), "data_format"))


def spatial_axes(rank: int, data_format: str) -> tuple[int, ...]:
    """Return the positions of the spatial axes in a batched tensor."""
    first = 1 if data_format == "channels_last" else 2
    return tuple(range(first, first + rank))


def channel_axis(rank: int, data_format: str) -> int:
    """Return the position of the channel axis in a batched tensor."""
    return rank + 1 if data_format == "channels_last" else 1


def spatial_rank(shape: Sequence[int | None]) -> int:
    """Return how many axes there are besides batch and channels.

    Raises:
        ValueError: not one, two or three.
    """
    rank = len(shape) - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            "Expected an input with one, two or three spatial axes besides batch and channels. "
            f"Received an input of shape {tuple(shape)}."
        )
    return rank


def check_rank(shape: Sequence[int | None], rank: int, data_format: str) -> Shape:
    """Return `shape` as a tuple if it has batch, channels and `rank` spatial axes.

    Raises:
        ValueError: it has not; the message spells out the shape that is expected.
    """
    shape = tuple(shape)
    if len(shape) != rank + 2:
        spatial = ("depth", "height", "width")[-rank:] if rank > 1 else ("length",)
        names = (
            ("batch", *spatial, "channels")
            if data_format == "channels_last"
            else ("batch", "channels", *spatial)
        )
        raise ValueError(
            f"Expected an input with {rank + 2} axes ({', '.join(names)}). "
            f"Received an input of shape {shape} with {len(shape)}."
        )
    return shape


def check_samples(shape: Sequence[int | None], rank: int, data_format: str) -> None:
    """Refuse a map without samples.

    Raises:
        ValueError: a spatial axis is empty.
    """
    if any(shape[axis] == 0 for axis in spatial_axes(rank, data_format)):
        raise ValueError(
            "Every spatial axis must have at least one sample. "
            f"Received an input of shape {tuple(shape)}."
        )
