"""Score the images of folders with several workers: over Ray, or else processes of this machine.

Every worker runs `python -m keras_upsampling score` for one share of the images after another and
writes the states into a folder; then `merge` prints the results of all. Where Ray is installed
(`pip install ray`, or the extra `ray`), it runs the workers on this machine, or on the cluster that
the environment variable RAY_ADDRESS names. Its machines must find the images and the folder of the
states at the same full paths. Without Ray, they are processes of this machine.

Ctrl-C prints what was measured until then; with Ray, of complete shares alone. If the program is
ended otherwise, the states stay. `merge` names missing shares, and `score --share` measures them.

Every worker computes with one thread. On a machine with a GPU, which all would use at once, set
CUDA_VISIBLE_DEVICES to an empty string, or take one worker.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from keras_upsampling.__main__ import main as command_line

# More than one for each worker, so that none waits long for the last. Each searches all folders.
SHARES_PER_WORKER = 2

# The threads of PyTorch, of TensorFlow (two variables) and of JAX.
VARIABLES = dict.fromkeys(
    ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC"), "1"
)

Result = tuple[int, str]  # the exit code of a process, and its messages
Job = Callable[[], Result]


def run_process(arguments: Sequence[str], variables: dict[str, str]) -> Result:
    """Run a command with further environment variables; this is called in a worker."""
    finished = subprocess.run(
        [sys.executable, "-m", "keras_upsampling", *arguments],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    return finished.returncode, finished.stderr.decode(errors="replace")


def over_ray(jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """Yield the result of every job as soon as Ray has it."""
    import ray

    if "RAY_ADDRESS" in os.environ:
        ray.init()
    else:  # "local" joins no cluster that happens to run on this machine
        ray.init("local", num_cpus=workers)
    try:
        run = ray.remote(lambda job: job())
        pending = [run.remote(job) for job in jobs]
        while pending:
            (ended,), pending = ray.wait(pending)
            try:
                yield ray.get(ended)
            except ray.exceptions.RayError as error:  # a machine is gone
                yield -1, f"{error}\n"
    finally:
        ray.shutdown()


def on_this_machine(jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """Yield the result of every job as soon as it is there."""
    pool = concurrent.futures.ThreadPoolExecutor(workers)  # its threads wait for processes
    try:
        for future in concurrent.futures.as_completed([pool.submit(job) for job in jobs]):
            yield future.result()
    finally:  # Ctrl-C reaches the processes too, which then write what they have
        pool.shutdown(cancel_futures=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return the exit code, which is that of `merge`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, or a folder to search")
    parser.add_argument("--states", required=True, metavar="FOLDER", help="for the states; empty")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="default: %(default)s")
    parser.add_argument("--size", default="2", help="as for score")
    parser.add_argument("--data-range", help="as for score")
    parser.add_argument("--detect-stride", action="store_true", help="as for score")
    options = parser.parse_args(argv)
    folder = Path(options.states).absolute()
    if options.workers < 1:
        parser.error(f"--workers: expected 1 or more. Received: {options.workers}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        parser.error(f"--states: expected a new or empty folder. Received: {options.states}")
    folder.mkdir(parents=True, exist_ok=True)

    score = ["score", *map(os.path.abspath, options.paths), f"--size={options.size}"]
    score += [f"--data-range={options.data_range}"] if options.data_range else []
    score += ["--detect-stride"] if options.detect_stride else []
    # The machines of a cluster have environments of their own.
    variables = VARIABLES | {k: v for k, v in os.environ.items() if k == "KERAS_BACKEND"}
    number = SHARES_PER_WORKER * options.workers
    states = {f"{k}/{number}": folder / f"{k}-of-{number}.state" for k in range(1, number + 1)}
    jobs = [
        functools.partial(run_process, [*score, f"--share={share}", f"--state={state}"], variables)
        for share, state in states.items()
    ]
    run = over_ray if importlib.util.find_spec("ray") else on_this_machine
    interrupted = False
    try:
        for done, (code, messages) in enumerate(run(jobs, options.workers), 1):
            if code not in (0, 1):
                sys.stderr.write(messages)
            if code == 2:  # nothing to measure, for all of them
                return 2
            print(f"{done} of {number} shares", file=sys.stderr)
    except KeyboardInterrupt:
        interrupted = True
    written = [str(state) for state in states.values() if state.exists()]
    code = command_line(["merge", *written]) if written else 1
    return 130 if interrupted else code


if __name__ == "__main__":
    sys.exit(main())
