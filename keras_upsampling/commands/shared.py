"""Argument types that several commands use."""

from __future__ import annotations

import argparse
import math
from typing import TypeAlias

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


def add_state(parser: argparse.ArgumentParser) -> None:
    """Add the argument `--state`."""
    parser.add_argument(
        "--state",
        type=only_a_file,
        metavar="FILE",
        help="also write the sums of the summary and the rows, from which the command merge makes "
        "the results of several runs together",
    )
