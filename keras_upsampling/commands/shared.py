"""What commands have in common: kinds of arguments, and a way to write files."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import TypeAlias

from keras_upsampling._arguments import positive_int

# What commands are added to.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def positive_integer(text: str) -> int:
    """Read a positive integer."""
    try:
        return positive_int(int(text), "value")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer") from None


def positive_number(text: str) -> float:
    """Read a number that is positive and finite."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def file_to_write(text: str) -> Path:
    """Read the name of a file that can be written, as far as one can tell."""
    # Found out now, not after minutes of measuring.
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; name a file in it")
    if not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder for {text!r}; make it first")
    return path


def write(path: Path, text: str) -> None:
    """Write a file beside its place, then move it there: never half a file."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
