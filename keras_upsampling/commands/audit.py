"""`audit`: says which layers of a saved model make checkerboards."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import keras

from keras_upsampling import audit
from keras_upsampling._tables import reason_of
from keras_upsampling.commands.shared import Commands, file_to_write, write


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "audit",
        help="find the layers of a model that make checkerboards",
        description="Says of every layer of a saved model that enlarges maps, or makes them "
        "smaller, how unevenly it does so, and what to do about it. Prints tables in Markdown.",
        epilog="Models are loaded in Keras's safe mode, which runs no code that a file brings "
        "along. Exit code: 0 if the model was audited, 2 if it could not be.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL.keras", help="a model as Keras saves it")
    parser.add_argument(
        "--json", type=file_to_write, metavar="FILE", help="write the figures there as well"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, audit, print and write; return the exit code."""
    if options.model.suffix != ".keras":  # older formats know no safe mode
        print(f"{options.model}: expected a file that ends in .keras", file=sys.stderr)
        return 2
    try:
        model = keras.saving.load_model(options.model, compile=False, safe_mode=True)
        found = audit(model)
    except Exception as error:  # files hold anything, and say so in every way
        print(f"{options.model}: {reason_of(error)}", file=sys.stderr)
        return 2
    print(found)
    if options.json:
        write(options.json, found.to_json() + "\n")
    return 0
