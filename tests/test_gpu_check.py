"""The script that measures a GPU, run without one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_upsampling import __main__ as command_line
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.measurements import read_measurements
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.ops._upsample_conv.choice import METHODS
from tests.backends import BACKEND

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import gpu_check  # noqa: E402
import gpu_summary  # noqa: E402
import gpu_worker  # noqa: E402

SMALL = Case(2, (6, 6), 3, 2, 2, 3, "nearest", "float32")


def answer_of(kind, case, **options):
    """The answer to a task, as it arrives at the parent."""
    task = {"kind": kind, "case": case, "tf32": None, **options}
    return json.loads(json.dumps(gpu_worker.perform(json.loads(json.dumps(task)), False)))


def test_the_first_tasks_have_some_of_everything():
    tasks = gpu_worker.tasks(False, 8, 100, "small")
    first = tasks[: 2 * len(gpu_worker.SETTINGS)]
    assert {task["kind"] for task in first} == {"exactness", "determinism", "measurements"}
    for kind in ("exactness", "measurements"):
        cases = [task["case"] for task in first if task["kind"] == kind]
        assert {case.dtype for case in cases} == {"float32", "bfloat16"}
        assert {case.data_format for case in cases} == {"channels_last", "channels_first"}
    timed = [task for task in first if task["kind"] == "measurements"]
    assert {None, "off"} <= {task["tf32"] for task in timed}
    assert {task["kind"] for task in gpu_worker.tasks(True, 8, 100, "small")} == {"determinism"}


def test_every_method_is_compared_with_the_definition():
    case = SMALL._replace(data_format="channels_first", interpolation="linear")
    answer = answer_of("exactness", case)
    assert answer["failures"] == []
    records = answer["exactness"]
    assert {record["method"] for record in records} >= {"resize", "one_product", "matrices"}
    for record in records:
        assert len(record["errors"]) == 4
        assert 0 < max(record["errors"].values()) < 1e-5


@pytest.fixture
def few_methods(monkeypatch):
    """Fewer methods, which are tried sooner."""
    names = "resize", "phases", "one_product"
    monkeypatch.setattr(gpu_worker, "METHODS", {name: METHODS[name] for name in names})
    monkeypatch.setattr(gpu_worker, "possible", lambda *_: names)
    return names


def test_an_error_of_a_method_is_found(few_methods, monkeypatch):
    right = gpu_worker.upsample_conv_gradients

    def wrong(*arguments, **options):
        to_input, to_kernel, to_bias = right(*arguments, **options)
        return to_input, to_kernel[::-1], to_bias

    monkeypatch.setattr(gpu_worker, "upsample_conv_gradients", wrong)
    records = answer_of("exactness", SMALL)["exactness"]
    assert [record["method"] for record in records] == list(few_methods)
    for record in records:
        assert record["errors"]["kernel gradient"] > 0.1
        assert record["errors"]["input gradient"] < 1e-5


@pytest.mark.usefixtures("few_methods")
def test_a_method_that_fails_leaves_the_others(monkeypatch, tmp_path):
    layer, measure = gpu_worker.upsample_conv_layer, gpu_worker.measure_choice

    def failing(case, method):
        if method == "phases":
            raise RuntimeError("out of memory")
        return layer(case, method)

    def failing_choice(case, engine, methods, *_, memory):
        if "phases" in methods:
            raise RuntimeError("out of memory")
        return measure(case, engine, methods, 1, 1e-9, memory)

    monkeypatch.setattr(gpu_worker, "upsample_conv_layer", failing)
    monkeypatch.setattr(gpu_worker, "measure_choice", failing_choice)
    figures = gpu_check.Figures(tmp_path / "figures.json", "a command")
    needed = {"facts": {}, "needed_for_a_fit": {"cases": 24, "methods": list(METHODS)}}
    figures.content["workers"] = {f"{BACKEND} plain": needed}
    answer = answer_of("measurements", SMALL, tf32="off")
    figures.add(answer)
    figures.add({**answer, "failures": []})  # goes to the same list
    (measured,) = read_measurements((tmp_path / "figures.json").read_text())
    assert (measured.tf32, measured.engine, measured.command) == ("off", BACKEND, "a command")
    assert [choice.pass_name for choice in measured.choices] == [FORWARD, STEP] * 2
    assert measured.choices[0].case == SMALL
    for choice in measured.choices:
        assert choice.seconds.keys() == {"chosen", "resize", "one_product"}
        assert choice.peak_bytes.keys() == choice.seconds.keys()
    (failure,) = figures.content["failures"]
    assert (failure["method"], failure["error"]) == ("phases", "out of memory")
    text = gpu_summary.summary(figures.content)
    assert "| one_product |" in text
    assert f"| {BACKEND} | float32 | off | channels_last | training step | 2 | 1.00 |" in text
    assert "| out of memory | 1 |" in text
    assert "| 1 | no phases; no matrices; no transposed; fewer than 24 cases |" in text


def test_gradients_are_computed_repeatedly(few_methods):
    records = answer_of("determinism", SMALL)["determinism"]
    assert {record["method"] for record in records} == {*few_methods, "UpSampling, Conv"}
    assert all(record["equal"] and record["runs"] == 5 for record in records)
    content = {"measurements": [], "exactness": [], "determinism": records, "failures": []}
    assert "| 1 of 1 |" in gpu_summary.summary(content)


# A worker without a backend: it answers, ends or hangs, as its task says.
FAKE = """
import json, os, sys, time
print(json.dumps({"facts": {}, "needed_for_a_fit": {}, "tasks": TASKS}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    if task == "crash":
        print("a stack trace", file=sys.stderr, flush=True)
        os._exit(3)
    if task == "hang":
        time.sleep(600)
    print(json.dumps({"exactness": [task]}), flush=True)
"""


def run_fake(tmp_path, tasks, clock=time.monotonic):
    command = [sys.executable, "-c", FAKE.replace("TASKS", json.dumps(tasks)), "fake", "plain"]
    worker = gpu_check.Worker(command, dict(os.environ), tmp_path / "log")
    figures = gpu_check.Figures(tmp_path / "figures.json", "")
    gpu_check.measure([worker], figures, clock() + 120, clock)
    assert worker.process.poll() is not None
    return json.loads((tmp_path / "figures.json").read_text())


def test_a_crash_is_recorded_and_the_other_tasks_are_done(tmp_path):
    content = run_fake(tmp_path, ["one", "crash", "two"])
    assert content["exactness"] == ["one", "two"]
    (failure,) = content["failures"]
    assert failure["task"] == "crash"
    assert failure["error"] == "the worker ended with code 3: a stack trace"


def test_a_worker_that_crashes_again_and_again_is_given_up(tmp_path):
    content = run_fake(tmp_path, ["crash"] * 9 + ["two"])
    assert content["exactness"] == []
    assert [entry["error"] for entry in content["failures"]][-1] == "given up"
    assert len(content["failures"]) == gpu_check.CRASHES + 1


def test_the_time_limit_ends_a_task_that_hangs(tmp_path):
    times = iter([0, 0, 119, 119.9])  # then the time is over
    content = run_fake(tmp_path, ["hang", "two"], lambda: next(times, 120))
    assert content["failures"] == []  # the clock stopped it, no error did
    assert list(content["tasks_left"].values()) == [1]


def test_a_killed_run_leaves_a_file_that_a_fit_reads(tmp_path, capsys):
    path = tmp_path / "figures.json"
    command = [sys.executable, "tools/gpu_check.py", str(path), "--minutes", "5", "--cases", "2"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [*command, "--work", "small", "--backend", BACKEND], cwd=ROOT, env=environment
    )
    try:
        while not (path.exists() and json.loads(path.read_text())["measurements"]):
            assert process.poll() is None, "it ended without a measurement"
            time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (measured, *_) = read_measurements(path.read_text())
    assert measured.engine == BACKEND
    assert measured.facts["device"] == "CPU"
    assert command_line.main(["bench", "--fit", str(path)]) == 1
    printed = capsys.readouterr().err
    assert "Missing: " in printed or "at least 24 different cases" in printed
