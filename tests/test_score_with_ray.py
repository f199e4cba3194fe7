"""The example `score_with_ray.py` gives what one run of `score` gives."""

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_upsampling import __main__ as command_line

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
def folder(tmp_path):
    path = tmp_path / "images"
    path.mkdir()
    noise = np.random.default_rng(0).integers(0, 200, (4, SIDE, SIDE)).astype("uint8")
    noise[::2, ::2] += 20
    np.save(path / "many.npy", noise[:3])
    Image.fromarray(noise[3]).save(path / "one.png")
    (path / "bad.png").write_bytes(b"no picture")
    return path


def figures(path):
    written = json.loads(path.read_text())
    written["results"].sort(key=lambda record: record["file"])
    return written


def check(program, folder, capsys, *arguments):
    """Compare the program with one run of `score`, to the last bit."""
    one, merged = folder.parent / "one.json", folder.parent / "merged.json"
    assert command_line.main(["score", str(folder), "--json", str(one)]) == 1
    expected = capsys.readouterr().out
    assert program.main([str(folder), "--json", str(merged), *arguments]) == 1
    out, err = capsys.readouterr()
    assert figures(merged) == figures(one)
    assert figures(merged)["summary"]["images"] == 4
    assert sorted(out.splitlines()) == sorted(expected.splitlines())
    assert f"{folder / 'bad.png'}: cannot identify image file" in err
    return err


def test_local_processes_give_what_one_run_gives(program, folder, capsys, monkeypatch):
    # As tests/conftest.py sets it for this process: other machine code rounds differently.
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    assert "8/8" in check(program, folder, capsys, "--workers", "2")


def test_ray_maps_the_same_function(program, folder, capsys, monkeypatch):
    calls = []
    ray = types.SimpleNamespace(
        init=lambda num_cpus: calls.append(num_cpus),
        remote=lambda function: types.SimpleNamespace(remote=function),
        get=lambda result: result,
        shutdown=lambda: calls.append("shutdown"),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check(program, folder, capsys, "--workers", "3")
    assert calls == [3, "shutdown"]
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    list(program.over_ray(str, [], 3))
    assert calls[2] is None


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError("it died"), 1)])
def test_what_was_measured_is_published(error, code, program, folder, capsys, monkeypatch):
    (folder / "bad.png").unlink()

    def failing(task, shares, _):
        yield task(shares[0])
        raise error

    monkeypatch.setattr(program, "in_processes", failing)
    state = folder.parent / "a.state"
    assert program.main([str(folder), "--workers", "3", "--state", str(state)]) == code
    out, err = capsys.readouterr()
    assert "\n1 image, " in out
    assert ("Images are missing, because a worker failed: it died" in err) == (code == 1)
    assert command_line.main(["merge", str(state)]) == 1
    assert "was interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "Nothing to measure"),
        (["--workers", "0"], "'0' is not a positive integer"),
        (["--size", "1"], "'1' is not a period"),
        (["--json", "images/one.png"], "is one of the files that are read"),
    ],
)
def test_bad_arguments_are_refused(arguments, message, program, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder.parent)
    with pytest.raises(SystemExit, match="2"):
        program.main(arguments if arguments[0] == "nowhere" else ["images", *arguments])
    assert message in capsys.readouterr().err
