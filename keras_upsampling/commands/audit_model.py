"""`audit`: says which layers of a saved model make checkerboards."""

from __future__ import annotations

import argparse
import stat

import keras

from keras_upsampling import audit
from keras_upsampling._tables import visible
from keras_upsampling.commands.files import check_output, kind_of, named_path
from keras_upsampling.commands.shared import Commands, add_json
from keras_upsampling.commands.streams import aside, publish, reason, say


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "audit",
        help="find the layers of a model that make checkerboards",
        description="Says of every layer of a saved model that enlarges maps, or makes them "
        "smaller, how unevenly it does so, and what to do about it. Prints tables in Markdown.",
        epilog="Models are loaded in Keras's safe mode, which runs no code that a file brings "
        "along. Exit code: 0 if the model was audited, 1 if the figures could not be written, 2 if "
        "it could not be audited.",
    )
    parser.add_argument(
        "model", type=named_path, metavar="MODEL.keras", help="a model as Keras saves it"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, audit, print and write; return the exit code."""
    path = options.model
    try:
        if path.suffix != ".keras":  # older formats know no safe mode
            raise ValueError("expected a file that ends in .keras")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise ValueError(f"expected a file. Received {kind_of(status)}")
        check_output(options.json, [path])
        with aside():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
            audited = audit(model)
    except Exception as error:  # files hold anything, and say so in every way
        say(f"{path}: {reason(error)}")
        return 2
    # Sentences name layers, whose names may hold anything.
    text = visible(str(audited), line_breaks=True)
    return 0 if publish(text, audited.to_json(), options.json) else 1
