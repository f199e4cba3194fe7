"""The command line: `python -m keras_upsampling COMMAND`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from keras_upsampling.commands import (
    audit_model,
    bench_layers,
    merge_states,
    score_images,
    tune,
)
from keras_upsampling.commands.streams import abandon


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_upsampling",
        description="Upsampling for Keras 3 decoders, without checkerboards.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (audit_model, bench_layers, merge_states, score_images, tune):
        command.add(commands)
    try:
        try:
            options = parser.parse_args(arguments)
            return int(options.run(options))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # a closed pipe raises here, not at interpreter exit
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        abandon(sys.stdout)
        return 128 + 13  # the exit code after SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
