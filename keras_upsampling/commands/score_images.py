"""The command `score`: measure the checkerboards of the images in files."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import keras

import keras_upsampling
from keras_upsampling._arguments import positive_int
from keras_upsampling.commands.files import check_outputs, named_path, only_a_file, reading_error
from keras_upsampling.commands.scoring.images import ENDINGS, FoundFiles
from keras_upsampling.commands.scoring.measuring import count_files, measure
from keras_upsampling.commands.scoring.results import publish_results
from keras_upsampling.commands.scoring.shares import ALL, Share, part_of
from keras_upsampling.commands.scoring.tally import MOST, Settings, Tally
from keras_upsampling.commands.shared import (
    Commands,
    add_json,
    add_state,
    positive_number,
)
from keras_upsampling.commands.streams import append, aside, say


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "score",
        help="measure the checkerboards in images",
        description="Measures in every image the strength of the pattern of period SIZE, the "
        "trace of an upsampling. Prints a table in Markdown.",
        epilog="PNG and JPEG are read with Pillow, with pixels as they are stored: palettes become "
        "RGB, an alpha channel is dropped, colours of 16 bits become bytes. A .npy file contains "
        "one image, (H, W) or (H, W, C), or several, (N, H, W) or (N, H, W, C). With three axes, "
        "the last axis is the channels if its length is at most 4. All channels of an array are "
        "measured. Images are read one at a time, and their names folder by folder; of more than "
        f"{MOST} images, only the {MOST} with the strongest patterns are printed, the detected "
        f"first, by db, and of the failures the first {MOST}. After Ctrl-C, what was measured is "
        "printed and written. "
        "Exit code: 0 if all images were measured, 1 if some were not or the figures "
        "could not be written, 2 if there was nothing to measure.",
    )
    parser.add_argument(
        "paths",
        type=named_path,
        nargs="+",
        metavar="PATH",
        help=f"a file, or a folder to search ({' '.join(ENDINGS)})",
    )
    parser.add_argument(
        "--size",
        type=_size,
        default=(2, 2),
        metavar="N[,N]",
        help="period of the pattern, or one for the rows and one for the columns: 2,4 (default: 2)",
    )
    parser.add_argument(
        "--detect-stride",
        action="store_true",
        help="also find the period of each image's pattern; takes about ten times as long",
    )
    parser.add_argument(
        "--data-range",
        type=positive_number,
        help="difference between the highest and the lowest possible value (default: 255 "
        "for bytes, 65535 for unsigned integers of 16 bits, 1 for floats)",
    )
    parser.add_argument(
        "--share",
        type=_share,
        default=ALL,
        metavar="K/N",
        help="measure only the K-th of N shares of the images, as in 2/8, for N processes or "
        "machines that see the same files; see merge --help",
    )
    add_state(parser)
    parser.add_argument(
        "--lines",
        type=only_a_file,
        metavar="FILE",
        help="also write the results of every image, and every failure, as a line of JSON, at once",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def _size(text: str) -> tuple[int, int]:
    try:
        entries = [positive_int(int(entry), "size") for entry in text.split(",")]
    except ValueError:
        entries = []
    if len(entries) not in (1, 2) or max(entries) == 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a period. Use a positive integer, or two as in 2,4; at least "
            "one must be above 1"
        )
    return entries[0], entries[-1]


def _share(text: str) -> Share:
    try:
        number, shares = (positive_int(int(part), "share") for part in text.split("/"))
    except ValueError:
        number, shares = 1, 0
    if number > shares:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a share. Use K/N, with K from 1 to N, as in 2/8"
        )
    return Share(number, shares)


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; return the exit code."""
    files = FoundFiles(options.paths)
    outputs = {"--json": options.json, "--state": options.state, "--lines": options.lines}
    try:
        target = count_files(files, options.share)
        check_outputs(outputs, files)
        if options.lines:
            Path(options.lines).write_text("")
    except (OSError, ValueError, ImportError) as error:
        for path, problem in files.entries():
            if problem := problem or reading_error(path):
                say(f"{path}: {problem}")
        say(str(error))
        return 2
    settings = Settings(
        keras_upsampling.__version__, options.size, options.data_range, options.detect_stride
    )
    tally = Tally(settings, [part_of(options.paths, options.share)])
    tally.interrupted = True  # by whatever ends the measuring early
    code = 0
    try:
        if not _measure_all(files, options, tally, target):
            code = 1
        tally.interrupted = False
    except KeyboardInterrupt:
        code = 130
    finally:  # results must not be lost
        published = publish_results(tally, json_file=options.json, state_file=options.state)
    return code or published


def _measure_all(files: FoundFiles, options: argparse.Namespace, tally: Tally, target: int) -> bool:
    """Measure one image after another, add them to the tally, and show a progress bar.

    Returns:
        False if the lines could not be written; a message has then been printed.
    """
    # Where a line cannot be overwritten, such as in a log, lines are rare.
    interval = 0.05 if sys.stderr is not None and sys.stderr.isatty() else 10
    lines = options.lines
    # The progress bar must not be part of standard output.
    with aside():
        progress = keras.utils.Progbar(target, interval=interval, unit_name="image")
        try:
            progress.update(0)
            for outcome in measure(files, tally.settings, options.share):
                tally.add(outcome.result)
                if lines and not append(lines, json.dumps(outcome.result.record())):
                    lines = None
                progress.target += outcome.more
                progress.update(tally.images + tally.failed, finalize=False)
        finally:  # also ends the line before other messages
            progress.update(tally.images + tally.failed, finalize=True)
    return lines == options.lines
