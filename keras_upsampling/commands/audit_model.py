"""`audit`: reports which layers of a saved model make checkerboards."""

from __future__ import annotations

import argparse
import stat

import keras

from keras_upsampling import audit
from keras_upsampling._tables import visible
from keras_upsampling.commands.files import check_outputs, kind_of, named_path
from keras_upsampling.commands.shared import Commands, add_json
from keras_upsampling.commands.streams import aside, publish, reason, say


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "audit",
        help="find the layers of a model that make checkerboards",
        description="Report for every layer of a saved model that upsamples or downsamples how "
        "uneven its phases are, and how to fix it. Prints tables in Markdown.",
        epilog="Models are loaded in Keras's safe mode, which does not run code from the file. "
        "Exit code: 0 if the model was audited, 1 if the figures could not be written, 2 if the "
        "model could not be audited.",
    )
    parser.add_argument(
        "model", type=named_path, metavar="MODEL.keras", help="a model saved by Keras"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load and audit the model, print and write the result, and return the exit code."""
    path = options.model
    try:
        if path.suffix != ".keras":  # older formats have no safe mode
            raise ValueError("expected a file that ends in .keras")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
            raise ValueError(f"expected a file. Received {kind_of(status)}")
        check_outputs({"--json": options.json}, [path])
        with aside():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
            result = audit(model)
    except Exception as error:  # a file may contain anything and raise any error
        say(f"{path}: {reason(error)}")
        return 2
    # Layer names from the file may contain control characters.
    text = visible(str(result), line_breaks=True)
    return 0 if publish(text, result.to_json(), options.json) else 1
