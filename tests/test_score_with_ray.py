"""The example `score_with_ray.py` gives what one run of `score` gives."""

import contextlib
import functools
import importlib
import inspect
import io
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_upsampling import __main__ as command_line
from keras_upsampling.commands.scoring.states import read_state

SIDE = 24


@pytest.fixture
def program(monkeypatch):
    """Import the example as `python examples/score_with_ray.py` does, where Ray is missing."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    module = importlib.import_module("score_with_ray")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else find_spec(name)
    )
    return module


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "images"
    path.mkdir()
    noise = np.random.default_rng(0).integers(0, 200, (4, SIDE, SIDE)).astype("uint8")
    noise[::2, ::2] += 20
    np.save(path / "many.npy", noise[:3])
    Image.fromarray(noise[3]).save(path / "one.png")
    (path / "bad.png").write_bytes(b"no picture")
    return path


@pytest.fixture
def here(program, monkeypatch):
    """Run one command after another in this process, which takes no time; return what was run."""
    ran = []

    def run_process(arguments, variables):
        ran.append((arguments, variables))
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = command_line.main(arguments)
            except SystemExit as error:
                code = error.code
        return code, errors.getvalue()

    monkeypatch.setattr(program, "run_process", run_process)
    monkeypatch.setattr(program, "on_this_machine", lambda jobs, _: (job() for job in jobs))
    return ran


def figures(states):
    assert command_line.main(["merge", *map(str, states), "--json", "figures.json"]) == 1
    written = json.loads(Path("figures.json").read_text())
    written["results"].sort(key=lambda record: record["file"])
    return written


def check(program, folder, capsys, *arguments):
    """Compare the program with one run of `score`, to the last bit."""
    assert command_line.main(["score", str(folder), "--state", "one.state"]) == 1
    expected = capsys.readouterr().out
    assert program.main([folder.name, "--states", "states", *arguments]) == 1
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == sorted(expected.splitlines())
    assert f"{folder / 'bad.png'}: cannot identify image file" in err
    merged = figures(Path("states").iterdir())
    assert merged == figures(["one.state"])
    assert merged["complete"]
    return err


def test_processes_of_this_machine_give_what_one_run_gives(program, folder, capsys, monkeypatch):
    # As tests/conftest.py sets it for this process: other machine code rounds differently.
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setattr(program, "SHARES_PER_WORKER", 1)
    assert "2 of 2 shares" in check(program, folder, capsys, "--workers", "2")


def fake_ray(calls):
    """Return a module that runs every job when its result is waited for."""

    def remote(function):
        assert inspect.isfunction(function)  # or Ray refuses it
        return types.SimpleNamespace(remote=lambda job: functools.partial(function, job))

    return types.SimpleNamespace(
        init=lambda *address, **options: calls.append((*address, options)),
        remote=remote,
        wait=lambda jobs: (jobs[-1:], jobs[:-1]),
        get=lambda job: job(),
        shutdown=lambda: calls.append("shutdown"),
        exceptions=types.SimpleNamespace(RayError=ZeroDivisionError),
    )


def test_ray_runs_the_same_jobs(program, folder, here, capsys, monkeypatch):
    calls = []
    ray = fake_ray(calls)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "a name")
    check(program, folder, capsys, "--workers", "2")
    assert calls == [("local", {"num_cpus": 2}), "shutdown"]
    assert len(here) == 4
    for arguments, variables in here:
        assert arguments[1] == str(folder)  # a full path
        assert variables["KERAS_BACKEND"] == "a name"
        assert variables["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert list(program.over_ray([lambda: (0, "")], 3)) == [(0, "")]
    assert calls[2:] == [({},), "shutdown"]
    assert list(program.over_ray([lambda: 1 / 0], 3)) == [(-1, "division by zero\n")]


@pytest.mark.parametrize(
    ("ending", "code", "message"),
    [(KeyboardInterrupt(), 130, ""), ((-9, "it was killed\n"), 1, "it was killed")],
    ids=["interrupted", "a worker died"],
)
@pytest.mark.usefixtures("here")
def test_what_was_measured_is_printed(ending, code, message, program, folder, capsys, monkeypatch):
    (folder / "bad.png").unlink()

    def failing(jobs, _):
        yield jobs[0]()
        if isinstance(ending, BaseException):
            raise ending
        yield ending
        yield jobs[2]()

    monkeypatch.setattr(program, "on_this_machine", failing)
    options = ["--workers", "2", "--states", "states", "--size", "1,2", "--detect-stride"]
    assert program.main(["images", *options, "--data-range", "300"]) == code
    out, err = capsys.readouterr()
    assert f"\n{1 if code == 130 else 2} image" in out
    assert message in err
    assert "missing of the images at" in err
    assert "2/4" in err
    settings = read_state(Path("states", "1-of-4.state")).settings
    assert settings[1:] == ((1, 2), 300.0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--states", "new"], "nowhere: No such file or directory\nNothing to measure"),
        (["images", "--states", "new", "--size", "1"], "'1' is not a period"),
        (["images", "--states", "new", "--workers", "0"], "expected 1 or more. Received: 0"),
        (["images", "--states", "images"], "expected a new or empty folder. Received: images"),
        (["images", "--states", "images/one.png"], "expected a new or empty folder"),
    ],
)
@pytest.mark.usefixtures("here")
def test_bad_arguments_are_refused(arguments, message, program, folder, capsys):
    try:
        code = program.main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert len(list(folder.iterdir())) == 3
