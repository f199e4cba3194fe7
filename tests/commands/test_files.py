"""Output files of commands: only at allowed paths, complete, and never over an input."""

import argparse
import functools
import json
import os
import socket
import stat

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_upsampling.bench import timing
from keras_upsampling.bench.contenders import OURS
from keras_upsampling.commands import files
from keras_upsampling.commands.scoring.shares import ALL, part_of
from keras_upsampling.commands.scoring.states import state_text
from keras_upsampling.commands.scoring.tally import Row, Settings, Tally
from tests.commands.running import run

SIDE = 24


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "in.png"
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE))
    Image.fromarray(noise.astype("uint8")).save(path)
    return path


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "in.keras"
    up = layers.Conv2DTranspose(2, 3, strides=2, data_format="channels_last")
    keras.Sequential([keras.Input((8, 8, 3)), up]).save(path)
    return path


@pytest.fixture
def commands(picture, model, monkeypatch, tmp_path):
    """Return the arguments of every command, for a short run."""

    def measure(case, **_):
        timings = {OURS: timing.Timing(1.0, (1.0, 1.0), 1.0, (1.0, 1.0), 3, None)}
        return timing.Result(case, dict.fromkeys((timing.FORWARD, timing.STEP), timings), 1.0)

    monkeypatch.setattr("keras_upsampling.commands.bench_layers.measure", measure)
    state = tmp_path / "in.state"
    state.write_text(state_text(one_image()))
    return {
        "score": ["score", picture],
        "merge": ["merge", state],
        "audit": ["audit", model],
        "bench": ["bench", "--quick", "--rank", "1"],
    }


def one_image():
    tally = Tally(Settings("0", (2, 2), None, False), [part_of(["in.png"], ALL)])
    tally.add(Row("in.png", (SIDE, SIDE, 1), 255.0, 1.0, 2.0, 3.0, 0.5, False, None))
    return tally


def contents(folder):
    """Return every path in a folder, with its file type and its content."""
    return {
        path: (stat.S_IFMT(path.lstat().st_mode), path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
    }


COMMANDS = ["score", "merge", "audit", "bench"]
OUTPUTS = [*((command, "--json") for command in COMMANDS)]
OUTPUTS += [("score", "--state"), ("score", "--lines"), ("merge", "--state")]


@pytest.mark.parametrize("command", COMMANDS)
def test_standard_output_contains_only_the_figures(command, commands, capsys):
    code, out, err = run(capsys, *commands[command], "--json", "-")
    assert code == 0
    assert json.loads(out)
    assert "| ---" in err  # the table
    assert not os.path.exists("-")


@pytest.mark.parametrize(("command", "option"), OUTPUTS)
def test_a_link_is_kept_and_its_target_is_replaced(command, option, commands, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "figures.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    code, _, err = run(capsys, *commands[command], option, link)
    assert code == 0, err
    assert link.is_symlink()
    assert json.loads(target.read_text())
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert list(target.parent.iterdir()) == [target]


def test_a_link_to_a_missing_file_creates_it(tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to("new.json")
    files.replace_file(link, lambda path: path.write_text("new"))
    assert link.is_symlink()
    assert (tmp_path / "new.json").read_text() == "new"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_new_file_has_the_usual_permissions(umask, tmp_path):
    old = os.umask(umask)
    try:
        files.replace_file(tmp_path / "new", lambda path: path.write_text("new"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("name", ["figures.json", "x" * 255])
def test_neighbouring_files_are_not_changed(name, tmp_path):
    neighbours = [
        tmp_path / neighbour for neighbour in ("figures.json.part", ".figures.json", "partial")
    ]
    for path in neighbours:
        path.write_text("mine")
    files.replace_file(tmp_path / name, lambda path: path.write_text("new"))
    assert (tmp_path / name).read_text() == "new"
    assert {path.read_text() for path in neighbours} == {"mine"}
    assert len(list(tmp_path.iterdir())) == 4


def test_a_failure_keeps_the_previous_file(tmp_path):
    (tmp_path / "figures.json").write_text("old")

    def fail(path):
        path.write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        files.replace_file(tmp_path / "figures.json", fail)
    assert contents(tmp_path) == {tmp_path / "figures.json": (stat.S_IFREG, b"old")}


def pipe(folder):
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def link_to_a_pipe(folder):
    (folder / "link").symlink_to(pipe(folder))
    return folder / "link"


def socket_file(folder):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
    return folder / "socket"


def terminal(_):
    """Return a device that cannot be replaced by a file, unlike /dev/null."""
    return os.ttyname(opened_terminal()[1])


@functools.cache  # the device exists as long as it is open
def opened_terminal():
    return os.openpty()


def circle(folder):
    (folder / "circle").symlink_to("circle")
    return folder / "circle"


def below_a_file(folder):
    (folder / "file").write_text("mine")
    return folder / "file" / "figures.json"


BAD_PATHS = {
    "pipe": (pipe, "is not a regular file, but a pipe"),
    "link to a pipe": (link_to_a_pipe, "is not a regular file, but a pipe"),
    "socket": (socket_file, "is not a regular file, but a socket"),
    "device": (terminal, "is not a regular file, but a device"),
    "folder": (lambda folder: folder, "is a folder"),
    "folder to be": (lambda folder: f"{folder}/new/", "is not the name of a file"),
    "no folder": (lambda folder: folder / "new" / "file", "there is no folder for"),
    "below a file": (below_a_file, "there is no folder for"),
    "long name": (lambda folder: folder / ("x" * 256), "cannot be written: File name too long"),
    "circle": (circle, "cannot be written: Too many levels"),
    "nothing": (lambda _: "", "is not the name of a file"),
}


@pytest.mark.parametrize(("command", "option"), OUTPUTS)
@pytest.mark.parametrize("place", BAD_PATHS)
def test_bad_paths_are_refused_at_once(
    place, command, option, commands, tmp_path, capsys, monkeypatch
):
    for module in ("score_images", "merge_states", "audit_model", "bench_layers"):
        monkeypatch.setattr(f"keras_upsampling.commands.{module}.run", None)
    make, message = BAD_PATHS[place]
    path = make(tmp_path)
    before = contents(tmp_path) if place != "circle" else None
    code, out, err = run(capsys, *commands[command], option, path)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert before is None or contents(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def refuse(*_, **options):
        raise PermissionError(13, "Permission denied", options["dir"])

    monkeypatch.setattr(files.tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(argparse.ArgumentTypeError, match="in its folder: Permission denied"):
        files.file_to_write(str(tmp_path / "figures.json"))


def test_a_write_protected_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "figures.json").write_text("old")
    monkeypatch.setattr(files.os, "access", lambda *_: False)  # the tests may run as root
    with pytest.raises(argparse.ArgumentTypeError, match="is write-protected"):
        files.file_to_write(str(tmp_path / "figures.json"))


def test_the_target_of_standard_output_is_refused(tmp_path, capfd):
    path = tmp_path / "out"
    with path.open("w") as out:
        saved = os.dup(1)
        os.dup2(out.fileno(), 1)
        try:
            with pytest.raises(ValueError, match="where standard output or standard error go"):
                files.check_writable(path)
        finally:
            os.dup2(saved, 1)
            os.close(saved)
    capfd.readouterr()


OTHER_NAMES = {
    "itself": lambda path: path,
    "symbolic link": lambda path: (path.with_name("link").symlink_to(path), "link")[1],
    "hard link": lambda path: (path.with_name("link").hardlink_to(path), "link")[1],
    "roundabout": lambda path: path.parent / ".." / path.parent.name / path.name,
}


INPUTS = [one for one in OUTPUTS if "bench" not in one]


@pytest.mark.parametrize("name", OTHER_NAMES)
@pytest.mark.parametrize(("command", "option"), [*INPUTS, ("score of a folder", "--json")])
def test_inputs_are_not_overwritten(name, command, option, commands, tmp_path, capsys):
    source = commands[command.split()[0]][-1]
    argument = tmp_path if command == "score of a folder" else source
    target = tmp_path / OTHER_NAMES[name](source)
    before = contents(tmp_path)
    code, out, err = run(capsys, command.split()[0], argument, option, target)
    assert (code, out) == (2, "")
    assert "is one of the files that are read" in err
    assert err.count("\n") == 1
    assert contents(tmp_path) == before


AT_THE_END = [one for one in OUTPUTS if "--lines" not in one]


@pytest.mark.parametrize(("command", "option"), AT_THE_END)
def test_what_can_no_longer_be_written_is_reported(command, option, commands, tmp_path, capsys):
    path = tmp_path / "figures.json"
    replace_file = files.replace_file

    def too_late(file, write):
        os.mkfifo(path)
        return replace_file(file, write)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_upsampling.commands.streams.replace_file", too_late)
        code, out, err = run(capsys, *commands[command], option, path)
    assert code == 1
    assert "| ---" in out
    assert f"{path}: " in err.splitlines()[-1]
    assert "a pipe" in err.splitlines()[-1]
