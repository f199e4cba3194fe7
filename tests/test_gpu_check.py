"""The script that measures a GPU, run without one."""

import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_upsampling import __main__ as command_line
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.fitting import minimum_cases
from keras_upsampling.bench.measurements import read_measurements
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.ops._upsample_conv.choice import METHODS
from keras_upsampling.ops.devices import engines_of_backend
from tests.backends import BACKEND

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import gpu_check  # noqa: E402
import gpu_summary  # noqa: E402
import gpu_tasks  # noqa: E402
import gpu_worker  # noqa: E402

SMALL = Case(2, (6, 6), 3, 2, 2, 3, "nearest", "float32")


@pytest.fixture(autouse=True)
def _tf32_as_it_was():
    yield
    gpu_worker.set_tf32(None)


def answer_of(kind, case, **options):
    """The answer to a task, as it arrives at the parent."""
    engine = {"engine": BACKEND} if kind == "measurements" else {}
    task = {"kind": kind, "case": case, "tf32": None, **engine, **options}
    return json.loads(json.dumps(gpu_worker.perform(json.loads(json.dumps(task)), False)))


def test_the_times_that_one_fit_needs_come_first():
    tasks = gpu_tasks.tasks(False, 60, 100, "small")
    kinds = [task["kind"] for task in tasks]
    assert kinds[:3] == ["measurements", "determinism", "exactness"]
    engines = engines_of_backend()
    first = [tasks[0], *tasks[3 : 2 + len(engines) * minimum_cases()]]
    for engine in engines:
        cases = {task["case"] for task in first if task["engine"] == engine}
        assert len(cases) == minimum_cases()
        assert {(case.dtype, case.data_format) for case in cases} == {("float32", "channels_last")}
    assert {task["tf32"] for task in first} == {None}
    # Then all that is not timed, and then every other setting.
    last = max(i for i, kind in enumerate(kinds) if kind != "measurements")
    halves = [
        i for i, task in enumerate(tasks) if "engine" in task and task["case"][7] != "float32"
    ]
    assert last < min(halves)
    exact = [task["case"] for task in tasks if task["kind"] == "exactness"]
    later = [task for task in tasks[last:] if task["kind"] == "measurements"]
    for cases in (exact, [task["case"] for task in later]):
        assert {case.dtype for case in cases} == {"float32", "bfloat16"}
        assert {case.data_format for case in cases} == {"channels_last", "channels_first"}
    assert {None, "off"} <= {task["tf32"] for task in later}
    assert {task["engine"] for task in later} == set(engines)
    assert [task["kind"] for task in gpu_tasks.tasks(True, 8, 100, "small")] == ["determinism"] * 4


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


@pytest.mark.parametrize("kind", ["exactness", "determinism"])
def test_one_that_fails_is_not_compiled_with_the_others(kind, few_methods, monkeypatch):
    program_of = gpu_worker.program_of
    failing = iter([False, True, False, False])  # the second of three methods, and Keras's layers

    def together(*_):
        raise RuntimeError("no kernel")

    def alone(*arguments):
        return together() if next(failing) else program_of(*arguments)

    monkeypatch.setattr(gpu_worker, "programs_of", together)
    monkeypatch.setattr(gpu_worker, "program_of", alone)
    answer = answer_of(kind, SMALL)
    (failure,) = answer["failures"]
    assert (failure["method"], failure["kind"], failure["error"]) == ("phases", kind, "no kernel")
    assert {"resize", "one_product"} <= {record["method"] for record in answer[kind]}
    assert few_methods[1] == "phases"


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


@pytest.mark.usefixtures("few_methods")
def test_without_resize_there_is_nothing_to_compare_with(monkeypatch):
    layer = gpu_worker.upsample_conv_layer

    def failing(case, method):
        if method == "resize":
            raise RuntimeError("out of memory")
        return layer(case, method)

    def failing_choice(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu_worker, "upsample_conv_layer", failing)
    monkeypatch.setattr(gpu_worker, "measure_choice", failing_choice)
    answer = answer_of("measurements", SMALL)
    assert "measurements" not in answer
    assert [failure["method"] for failure in answer["failures"]] == ["resize"]


def test_gradients_are_computed_repeatedly(few_methods):
    records = answer_of("determinism", SMALL)["determinism"]
    assert {record["method"] for record in records} == {*few_methods, "UpSampling, Conv"}
    assert all(record["equal"] and record["runs"] == 5 for record in records)
    content = {"measurements": [], "exactness": [], "determinism": records, "failures": []}
    assert "| 1 of 1 |" in gpu_summary.summary(content)


@pytest.mark.usefixtures("few_methods")
def test_gradients_that_differ_are_found(monkeypatch):
    counter = itertools.count()
    monkeypatch.setattr(gpu_worker, "to_numpy", lambda _: np.full(1, next(counter)))
    records = answer_of("determinism", SMALL)["determinism"]
    assert records
    assert not any(record["equal"] for record in records)


def test_the_backend_is_told_to_be_deterministic(monkeypatch):
    calls = []
    if BACKEND == "torch":
        import torch

        monkeypatch.setattr(torch, "use_deterministic_algorithms", calls.append)
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        experimental = tf.config.experimental
        monkeypatch.setattr(experimental, "enable_op_determinism", lambda: calls.append(True))
    gpu_worker.set_deterministic()
    assert calls == ([] if BACKEND == "jax" else [True])


@pytest.mark.parametrize("value", ["off", None])
def test_tf32_is_switched(value):
    gpu_worker.set_tf32(value)
    if BACKEND == "torch":
        import torch

        assert torch.backends.cudnn.allow_tf32 == (value is None)
        assert not torch.backends.cuda.matmul.allow_tf32
        gpu_worker.set_tf32("on")
        assert torch.backends.cuda.matmul.allow_tf32
    elif BACKEND == "jax":
        import jax

        assert jax.config.jax_default_matmul_precision == ("highest" if value else None)
    else:
        import tensorflow as tf

        enabled = tf.config.experimental.tensor_float_32_execution_enabled()
        assert enabled == (value is None)


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
    if task == "mumble":
        print("no answer", flush=True)
    print(json.dumps({"exactness": [task]}), flush=True)
"""


def run_fake(tmp_path, tasks, clock=time.monotonic):
    script = tmp_path / "fake.py"
    script.write_text(FAKE.replace("TASKS", json.dumps(tasks)))
    command = [sys.executable, str(script), "fake", "plain"]
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


@pytest.mark.parametrize(("task", "how"), [("crash", "ended"), ("hang", "slow")])
def test_a_worker_that_is_lost_again_and_again_is_given_up(tmp_path, monkeypatch, task, how):
    monkeypatch.setattr(gpu_check, "TASK_SECONDS", 120 if how == "ended" else 0.1)
    content = run_fake(tmp_path, [task] * 9 + ["two"])
    assert content["exactness"] == []
    assert [entry["error"] for entry in content["failures"]][-1] == "given up"
    assert len(content["failures"]) == gpu_check.MOST_LOSSES[how] + 1


def test_slow_tasks_are_no_crashes(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, "MOST_LOSSES", {"ended": 2, "slow": 2})
    monkeypatch.setattr(gpu_check, "TASK_SECONDS", 2.0)
    content = run_fake(tmp_path, ["hang", "crash", "two"])
    assert content["exactness"] == ["two"]
    errors = [entry["error"] for entry in content["failures"]]
    assert errors == ["no answer in 2 seconds", "the worker ended with code 3: a stack trace"]


def test_a_worker_that_answers_something_else_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, "END_SECONDS", 0.1)
    content = run_fake(tmp_path, ["mumble", "two"])
    assert content["exactness"] == ["two"]
    assert [entry["error"] for entry in content["failures"]] == ["the worker did not answer: "]


def test_plain_workers_have_most_of_the_time(tmp_path):
    done, now = {"plain": 0, "flagged": 0}, itertools.count()

    class Stub:
        def __init__(self, name):
            self.name, self.share, self.seconds = name, gpu_check.SHARES[name], 0.0
            self.tasks = []

        def ask(self, _):
            done[self.name] += 1

        def answer(self, _):
            return {} if self.tasks else {"tasks": list(range(100))}

        def stop(self):
            pass

    figures = gpu_check.Figures(tmp_path / "figures.json", "")
    gpu_check.measure([Stub("plain"), Stub("flagged")], figures, 150, lambda: next(now))
    assert 3 * done["flagged"] <= done["plain"] <= 5 * done["flagged"]


def test_the_time_limit_ends_a_task_that_hangs(tmp_path):
    times = iter([0, 0, 119, 119.9])  # then the time is over
    content = run_fake(tmp_path, ["hang", "two"], lambda: next(times, 120))
    assert content["failures"] == []  # the clock stopped it, no error did
    assert list(content["tasks_left"].values()) == [1]


ANSWER = {
    "measurements": [
        {
            "engine": BACKEND,
            "facts": {},
            "cases": [
                {
                    "case": SMALL._asdict(),
                    "pass": FORWARD,
                    "seconds": {"resize": 1.0, "chosen": 0.5},
                    "peak_bytes": {},
                }
            ],
        }
    ]
}
# A worker whose facts are how it was started.
WORKER = f"""
import json, os, sys
facts = {{"arguments": " ".join(sys.argv[1:]), "flags": os.environ.get("XLA_FLAGS", "")}}
needed = {{"cases": 1, "methods": []}}
print(json.dumps({{"facts": facts, "needed_for_a_fit": needed, "tasks": [1]}}), flush=True)
for line in sys.stdin:
    print({json.dumps(ANSWER)!r}, flush=True)
"""


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", *map(str, arguments)])
    return gpu_check.main()


def test_a_whole_run(tmp_path, monkeypatch, capfd):
    fake, path, deadlines = tmp_path / "tools" / "fake.py", tmp_path / "figures.json", []
    fake.parent.mkdir()
    fake.write_text(WORKER)
    measure = gpu_check.measure

    def spied(workers, figures, deadline):
        deadlines.append(deadline - time.monotonic())
        measure(workers, figures, deadline)

    monkeypatch.setattr(gpu_check, "WORKER", fake)
    monkeypatch.setattr(gpu_check, "measure", spied)
    monkeypatch.setattr(gpu_check, "BACKENDS", ("jax", "none"))
    monkeypatch.setattr(gpu_check, "is_installed", lambda backend, _: backend == "jax")
    monkeypatch.setenv("XLA_FLAGS", "--some")
    assert run_main(monkeypatch, path, "--minutes", 0.5, "--cases", 3, "--bounds", "small") == 0
    assert deadlines[0] == pytest.approx(30, abs=5)
    content = json.loads(path.read_text())
    options = "--cases=3 --seed=100 --bounds=small"
    assert {name: hello["facts"] for name, hello in content["workers"].items()} == {
        "jax plain": {"arguments": f"jax plain {options}", "flags": "--some"},
        "jax flagged": {
            "arguments": f"jax flagged {options}",
            "flags": "--some --xla_gpu_deterministic_ops=true",
        },
    }
    assert content["tasks_left"] == {"jax plain": 0, "jax flagged": 0}
    assert [len(measured["cases"]) for measured in content["measurements"]] == [2]
    printed = capfd.readouterr().out
    assert "none is not installed, so it is not measured." in printed
    assert "2 of 2" in printed
    assert "| jax plain | arguments jax plain" in printed
    assert "| none |" in printed.partition("Failures")[2]


def test_a_run_that_cannot_start_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "is_installed", lambda *_: False)
    for path, message in (
        (tmp_path / "figures.json", "expected an installed backend. Install one, or use --wheels"),
        (tmp_path / "no" / "figures.json", "(No such file or directory). Use one in an existing"),
    ):
        with pytest.raises(SystemExit) as ended:
            run_main(monkeypatch, path, "--backend", "jax")
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def test_a_backend_may_come_as_a_wheel(tmp_path):
    wheels = tmp_path / "given"
    wheels.mkdir()
    with pytest.raises(SystemExit, match="Expected wheels in"):
        gpu_check.install(wheels, tmp_path)
    assert not gpu_check.is_installed("a_backend", tmp_path)
    pytest.importorskip("pip")
    information = "a_backend-1.0.dist-info"
    contents = {
        "a_backend/__init__.py": "",
        f"{information}/METADATA": "Metadata-Version: 2.1\nName: a_backend\nVersion: 1.0\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/RECORD": "",
    }
    with zipfile.ZipFile(wheels / "a_backend-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in contents.items():
            wheel.writestr(name, text)
    gpu_check.install(wheels, tmp_path)
    importlib.invalidate_caches()
    assert gpu_check.is_installed("a_backend", tmp_path)


def test_a_killed_run_leaves_a_file_that_a_fit_reads(tmp_path, capsys):
    path = tmp_path / "figures.json"
    command = [sys.executable, "tools/gpu_check.py", str(path), "--minutes", "5", "--cases", "2"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [*command, "--bounds", "small", "--backend", BACKEND],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )
    try:
        while not (path.exists() and json.loads(path.read_text())["measurements"]):
            assert process.poll() is None, "it ended without a measurement"
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers
        process.wait()
    started = json.loads(path.read_text())["workers"]
    assert set(started) == {f"{BACKEND} plain", f"{BACKEND} flagged"}
    (measured, *_) = read_measurements(path.read_text())
    assert measured.engine == BACKEND
    assert measured.facts["device"] == "CPU"
    assert command_line.main(["bench", "--fit", str(path)]) == 1
    printed = capsys.readouterr().err
    assert "Missing: " in printed or "at least 26 different cases" in printed
