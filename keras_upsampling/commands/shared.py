"""Argument types that several commands use."""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Sequence
from typing import TypeAlias

import keras
from keras import ops

from keras_upsampling._arguments import positive_int
from keras_upsampling.commands.files import file_to_write, only_a_file

# The object to which commands are added.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def positive_integer(text: str) -> int:
    """Parse a positive integer."""
    try:
        return positive_int(int(text), "value")
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a positive integer. Use 1 or more"
        ) from None


def positive_number(text: str) -> float:
    """Parse a positive finite number."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a positive number. Use a finite number above 0"
        )
    return number


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the argument `--json`."""
    parser.add_argument(
        "--json",
        type=file_to_write,
        metavar="FILE",
        help="also write the figures as JSON to this file; with -, write them to standard output "
        "and the tables to standard error",
    )


def dtype_error(dtypes: Sequence[str]) -> str | None:
    """Return the error of dtypes that the backend turns into others; None if there are none."""
    for dtype in dtypes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # JAX warns less clearly than the error below
            received = keras.backend.standardize_dtype(ops.zeros(1, dtype).dtype)
        if received != dtype:
            backend = keras.backend.backend()
            return f"Keras on {backend} turns {dtype} into {received}. Set JAX_ENABLE_X64=1."
    return None


def add_state(parser: argparse.ArgumentParser) -> None:
    """Add the argument `--state`."""
    parser.add_argument(
        "--state",
        type=only_a_file,
        metavar="FILE",
        help="also write the state of the results, from which the command merge puts those of "
        "several runs together",
    )
