"""Measure the one step on a GPU: exactness, time, memory, and whether gradients are repeatable.

    python tools/gpu_check.py figures.json --wheels wheels

Runs for eight minutes, or `--minutes`, on every backend that is installed, and writes all figures
to one JSON file, which is complete after every measurement. `python -m keras_upsampling bench --fit
figures.json` fits rates to it, on any machine. Prints a summary in Markdown.

This process needs the standard library alone. Every backend runs in a worker (`gpu_worker.py`), and
in a second one with its switch for deterministic operations set. One worker at a time has a task.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import queue
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from gpu_summary import summary

BACKENDS = ("torch", "jax", "tensorflow")
WORKER = Path(__file__).with_name("gpu_worker.py")
# A start or a task that takes longer is given up, and so is a worker that is lost so often, because
# it ended or because it was slow, as when it compiles.
START_SECONDS, TASK_SECONDS, END_SECONDS = 180.0, 90.0, 10.0
MOST_LOSSES = {"ended": 4, "slow": 3}
# Shares of the time. Workers with deterministic operations have few tasks, and rates are fitted to
# what the others measure.
SHARES = {"plain": 1.0, "flagged": 0.25}
LISTS = ("exactness", "determinism", "failures")

# All workers share one GPU, so none may take all of its memory.
SHARED = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
# What has to be set before a backend starts, for its deterministic operations.
DETERMINISTIC = {
    "torch": {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
    "jax": {"XLA_FLAGS": "--xla_gpu_deterministic_ops=true"},
    "tensorflow": {},
}


class LostError(Exception):
    """A worker ended, or was too slow."""

    def __init__(self, how, message):
        super().__init__(message)
        self.how = how  # a key of `MOST_LOSSES`


class Worker:
    """A process that does the tasks of one backend, one after another."""

    def __init__(self, command, environment, log):
        self.command, self.environment, self.log = command, environment, log
        self.name, self.tasks, self.seconds = " ".join(command[2:4]), [], 0.0
        self.share, self.losses = SHARES[command[3]], dict.fromkeys(MOST_LOSSES, 0)
        self.start()

    def start(self):
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.answers = queue.Queue()
        arguments = self.process.stdout, self.answers
        self.listener = threading.Thread(target=self._listen, args=arguments, daemon=True)
        self.listener.start()

    @staticmethod
    def _listen(stream, answers):
        with stream:
            for line in stream:
                answers.put(line)
        answers.put("")  # the process has ended

    def ask(self, task):
        with contextlib.suppress(OSError):  # the process has ended, which `answer` will say
            self.process.stdin.write(json.dumps(task) + "\n")
            self.process.stdin.flush()

    def answer(self, seconds):
        """Return the next answer; raise `LostError` if there is none in this time."""
        try:
            line = self.answers.get(timeout=max(seconds, 0.01))
        except queue.Empty:
            raise LostError("slow", f"no answer in {seconds:.0f} seconds") from None
        try:
            return json.loads(line)
        except ValueError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
            code = self.process.returncode
            what = "did not answer" if code is None else f"ended with code {code}"
            lines = self.log.read_text(errors="replace").strip().splitlines()[-12:]
            raise LostError("ended", f"the worker {what}: " + " / ".join(lines)) from None

    def stop(self):
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # its driver may hang
            self.process.wait(END_SECONDS)
            self.listener.join()
        with contextlib.suppress(OSError):  # a task that nobody has read
            self.process.stdin.close()


class Figures:
    """All figures, and the file that holds them."""

    def __init__(self, path, command):
        self.path = path
        self.content = {"command": command, "measurements": [], **{name: [] for name in LISTS}}
        self.write()

    def add(self, answer):
        for name in LISTS:
            self.content[name] += answer.get(name, [])
        for measured in answer.get("measurements", []):
            cases = self.measured_with(measured["engine"], measured["facts"])
            cases += measured["cases"]
        self.write()

    def measured_with(self, engine, facts):
        """Return the list of cases of an engine and its settings."""
        for present in self.content["measurements"]:
            if (present["engine"], present["facts"]) == (engine, facts):
                return present["cases"]
        cases = []
        head = {"engine": engine, "facts": facts, "command": self.content["command"]}
        self.content["measurements"].append({**head, "cases": cases})
        return cases

    def write(self):
        partial = self.path.with_name(self.path.name + ".partial")
        # Without `indent`, which would make writing a megabyte take most of a second.
        partial.write_text(json.dumps(self.content), encoding="utf-8")
        os.replace(partial, self.path)  # in one step, so that the file is always complete


def measure(workers, figures, deadline, clock=time.monotonic):
    """Hand out the tasks until all are done or the time is over."""
    for worker in list(workers):
        try:
            hello = worker.answer(min(deadline - clock(), START_SECONDS))
            worker.tasks = hello.pop("tasks")
            figures.content.setdefault("workers", {})[worker.name] = hello
        except LostError as error:
            figures.add({"failures": [{"worker": worker.name, "error": str(error)}]})
            worker.stop()
    total = sum(len(worker.tasks) for worker in workers)
    while clock() < deadline:
        busy = [worker for worker in workers if worker.tasks]
        if not busy:
            break
        # The worker that has had the least of its share is next.
        worker = min(busy, key=lambda worker: worker.seconds / worker.share)
        start, task = clock(), worker.tasks.pop(0)
        worker.ask(task)
        try:
            figures.add(worker.answer(min(deadline - start, TASK_SECONDS)))
        except LostError as error:
            if clock() < deadline:
                lost(worker, task, error, figures, deadline, clock)
        worker.seconds += clock() - start
        left = sum(len(worker.tasks) for worker in workers)
        seconds = max(0.0, deadline - clock())
        print(f"{total - left} of {total}, {seconds:.0f} s left: {worker.name}", flush=True)
        if not worker.tasks:
            worker.stop()  # frees its memory
    for worker in workers:
        worker.stop()
    figures.content["tasks_left"] = {worker.name: len(worker.tasks) for worker in workers}
    figures.write()


def lost(worker, task, error, figures, deadline, clock):
    """Record a lost worker, and start it again."""
    figures.add({"failures": [{"worker": worker.name, "task": task, "error": str(error)}]})
    worker.stop()
    worker.losses[error.how] += 1
    if worker.losses[error.how] >= MOST_LOSSES[error.how]:
        figures.add({"failures": [{"worker": worker.name, "error": "given up"}]})
        worker.tasks = []
        return
    worker.start()
    try:
        worker.answer(min(deadline - clock(), START_SECONDS))
    except LostError as again:
        figures.add({"failures": [{"worker": worker.name, "error": str(again)}]})
        worker.tasks = []


def is_installed(backend, folder):
    """Return whether a worker can import a backend, also from the wheels in a folder."""
    found = importlib.util.find_spec(backend)
    return bool(
        found or importlib.machinery.PathFinder.find_spec(backend, [str(folder / "wheels")])
    )


def start_workers(options, folder, figures):
    """Start the workers of every backend that is installed; record and say which are not."""
    path = [str(folder / "wheels"), str(WORKER.parents[1]), os.environ.get("PYTHONPATH", "")]
    workers = []
    for backend in options.backend or BACKENDS:
        if not is_installed(backend, folder):
            print(f"{backend} is not installed, so it is not measured.", flush=True)
            figures.add({"failures": [{"worker": backend, "error": "not installed"}]})
            continue
        for deterministic in (False, True):
            environment = {
                **os.environ,
                **SHARED,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": os.pathsep.join(filter(None, path)),
            }
            if deterministic:
                for name, value in DETERMINISTIC[backend].items():
                    environment[name] = " ".join(filter(None, [os.environ.get(name), value]))
            switch = "flagged" if deterministic else "plain"
            command = [sys.executable, str(WORKER), backend, switch]
            names = "cases", "seed", "bounds"
            command += [f"--{name}={getattr(options, name)}" for name in names]
            workers.append(Worker(command, environment, folder / f"{len(workers)}.log"))
    return workers


def install(wheels, folder):
    """Install the newest fitting wheel of every package in a folder, without its requirements."""
    names = sorted({path.name.split("-")[0] for path in wheels.glob("*.whl")})
    if not names:
        raise SystemExit(f"Expected wheels in {wheels}. Received: a folder without any.")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-compile", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--find-links", str(wheels), "--target", str(folder / "wheels"), *names]
    if subprocess.run(command).returncode:
        raise SystemExit(f"pip could not install the wheels in {wheels}; see above.")


def main():
    """Measure, write and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("json", type=Path, help="file for the figures")
    parser.add_argument("--minutes", type=float, default=8.0, help="how long to run (default: 8)")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install before")
    parser.add_argument("--backend", choices=BACKENDS, nargs="+", help="(default: all installed)")
    parser.add_argument("--cases", type=int, default=150, help="random cases (default: 150)")
    parser.add_argument("--seed", type=int, default=100, help="of the random cases (default: 100)")
    parser.add_argument(
        "--bounds",
        choices=("small", "cpu", "gpu", "device"),
        default="device",
        help="how large cases are (default: as the device needs)",
    )
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    command = shlex.join(["python", "tools/gpu_check.py", *sys.argv[1:]])
    try:
        figures = Figures(options.json, command)
    except OSError as error:
        parser.error(
            f"expected a file that can be written. Received: {options.json} ({error.strerror}). "
            "Use one in an existing folder."
        )
    with tempfile.TemporaryDirectory() as folder:
        if options.wheels:
            install(options.wheels, Path(folder))
        workers = start_workers(options, Path(folder), figures)
        if not workers:
            parser.error("expected an installed backend. Install one, or use --wheels.")
        try:
            measure(workers, figures, deadline)
        finally:
            for worker in workers:
                worker.stop()
    print(summary(figures.content))
    return 0 if figures.content["measurements"] else 1


if __name__ == "__main__":
    sys.exit(main())
