"""The command `merge`: the results of several runs of `score` together."""

from __future__ import annotations

import argparse

from keras_upsampling.commands.files import check_outputs, named_path
from keras_upsampling.commands.scoring.results import publish_results
from keras_upsampling.commands.scoring.states import read_state
from keras_upsampling.commands.shared import Commands, add_json, add_state
from keras_upsampling.commands.streams import reason, say


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "merge",
        help="put the results of several runs of score together",
        description="Prints what one run of score would have printed of all images that several "
        "runs have measured, from the files of their --state. For equal results of each image, the "
        "numbers of the summary are the same to the last bit. A table of all images is in the "
        "order of the files.",
        epilog="The runs must have had the same --size, --data-range and --detect-stride, and the "
        "same version of this package. No image may be in two of them, which their full paths "
        "tell; links can hide it. Missing shares are named. "
        "Exit code: 0 if all images of all shares were measured, 1 if some were not, a run was "
        "interrupted or the figures could not be written, 2 if the states could not be merged.",
    )
    parser.add_argument(
        "states", type=named_path, nargs="+", metavar="STATE", help="a file of score --state"
    )
    add_state(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Merge, print and write; return the exit code."""
    tally = None
    try:
        check_outputs({"--json": options.json, "--state": options.state}, options.states)
        for path in options.states:
            try:
                other = read_state(path)
                if tally is None:
                    tally = other
                else:
                    tally.merge(other)
            except Exception as error:  # a file may contain anything
                raise ValueError(f"{path}: {reason(error)}") from None
            if other.interrupted:
                say(f"{path}: its run was interrupted, so that images are missing")
    except ValueError as error:
        say(str(error))
        return 2
    assert tally is not None
    missing = tally.missing()
    for text in missing:
        say(text)
    code = publish_results(tally, json_file=options.json, state_file=options.state)
    return code or int(tally.interrupted or bool(missing))
