"""Score the images of folders with several workers: over Ray, or else local processes.

The workers measure shares of the images, as `python -m keras_upsampling score --share K/N` does on
one machine of several, and their tallies are merged. The numbers of the summary are those of a
single run. Where Ray is installed (`pip install ray`, or the extra `ray`), it runs the workers on
this machine, or on the cluster that the environment variable RAY_ADDRESS names; its machines must
find the files at the same full paths. Without Ray, they are processes of this machine.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras

from keras_upsampling.commands.files import check_outputs
from keras_upsampling.commands.score_images import add_measuring, settings_of
from keras_upsampling.commands.scoring.images import FoundFiles
from keras_upsampling.commands.scoring.measuring import Share, count_files, measure
from keras_upsampling.commands.scoring.results import publish_results
from keras_upsampling.commands.scoring.states import state_text, tally_of
from keras_upsampling.commands.scoring.tally import Settings, Tally
from keras_upsampling.commands.shared import positive_integer
from keras_upsampling.commands.streams import aside, reason, say

# More shares than workers, so that none waits long for the last, and the progress is seen.
SHARES_PER_WORKER = 4

Task = Callable[[Share], str]


def score_share(paths: Sequence[Path], settings: Settings, rows: int, share: Share) -> str:
    """Measure a share of the images, and return the state; this runs in a worker."""
    tally = Tally(settings, rows)
    for outcome in measure(FoundFiles(paths), settings, share):
        tally.add(outcome.result, outcome.mark)
    return state_text(tally)


def over_ray(task: Task, shares: Sequence[Share], workers: int) -> Iterator[str]:
    """Yield the result of every share, computed by Ray."""
    import ray

    # A cluster knows its own number of processors.
    ray.init(num_cpus=None if "RAY_ADDRESS" in os.environ else workers)
    try:
        remote = ray.remote(lambda share: task(share))
        yield from map(ray.get, [remote.remote(share) for share in shares])
    finally:
        ray.shutdown()


def in_processes(task: Task, shares: Sequence[Share], workers: int) -> Iterator[str]:
    """Yield the result of every share, computed by processes of this machine."""
    # Forked processes would inherit threads of the backend in the middle of their work.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)
    try:
        yield from pool.map(task, shares)
    finally:
        pool.shutdown(cancel_futures=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return the exit code, which is that of `score`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_measuring(parser)
    parser.add_argument(
        "--workers",
        type=positive_integer,
        default=os.cpu_count() or 1,
        help="number of workers (default: the number of processors, here %(default)s)",
    )
    options = parser.parse_args(argv)
    files = FoundFiles(options.paths)
    try:
        count_files(files)
        check_outputs({"--json": options.json, "--state": options.state}, files)
    except (ValueError, ImportError) as error:
        parser.error(str(error))

    settings = settings_of(options)
    task = functools.partial(score_share, options.paths, settings, options.rows)
    number = SHARES_PER_WORKER * options.workers
    shares = [Share(k, number) for k in range(1, number + 1)]
    run = over_ray if importlib.util.find_spec("ray") else in_processes
    tally = Tally(settings, options.rows)
    code = 0
    try:
        with aside():
            progress = keras.utils.Progbar(number, unit_name="share")
            for done, state in enumerate(run(task, shares, options.workers), 1):
                tally.merge(tally_of(state))
                progress.update(done)
    except KeyboardInterrupt:
        tally.interrupted, code = True, 130
    except Exception as error:  # a worker has died
        say(f"Images are missing, because a worker failed: {reason(error)}")
        tally.interrupted, code = True, 1
    finally:  # results must not be lost
        published = publish_results(tally, json_file=options.json, state_file=options.state)
    return code or published


if __name__ == "__main__":
    sys.exit(main())
