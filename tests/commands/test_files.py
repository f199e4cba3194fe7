"""What commands write: only where it may go, whole, and never over what is read."""

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

from keras_upsampling import __main__ as command_line
from keras_upsampling.bench import timing
from keras_upsampling.bench.contenders import OURS
from keras_upsampling.commands import files

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
def commands(picture, model, monkeypatch):
    """The arguments of every command, for a run of a moment."""

    def measure(case, **_):
        timings = {OURS: timing.Timing(1.0, (1.0, 1.0), 1.0, (1.0, 1.0), 3, None)}
        return timing.Result(case, dict.fromkeys((timing.FORWARD, timing.STEP), timings), 1.0)

    monkeypatch.setattr("keras_upsampling.commands.bench_layers.measure", measure)
    bench = ["bench", "--quick", "--rank", "1"]
    return {"score": ["score", picture], "audit": ["audit", model], "bench": bench}


def run(capsys, *arguments):
    """Exit code, what was printed and what was said beside."""
    try:
        code = command_line.main([str(argument) for argument in arguments])
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()


def everything(folder):
    """Every path in a folder, with what kind of thing is there, and what is in it."""
    return {
        path: (stat.S_IFMT(path.lstat().st_mode), path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
    }


COMMANDS = ["score", "audit", "bench"]


@pytest.mark.parametrize("command", COMMANDS)
def test_standard_output_has_the_figures_alone(command, commands, capsys):
    code, out, err = run(capsys, *commands[command], "--json", "-")
    assert code == 0
    assert json.loads(out)
    assert "| ---" in err  # the table
    assert not os.path.exists("-")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_stays_and_what_it_names_is_replaced(command, commands, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "figures.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    code, _, err = run(capsys, *commands[command], "--json", link)
    assert code == 0, err
    assert link.is_symlink()
    assert json.loads(target.read_text())
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert list(target.parent.iterdir()) == [target]


def test_a_link_to_nothing_makes_what_it_names(tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to("new.json")
    files.replace_file(link, lambda path: path.write_text("new"))
    assert link.is_symlink()
    assert (tmp_path / "new.json").read_text() == "new"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_new_file_has_the_permissions_that_files_have(umask, tmp_path):
    old = os.umask(umask)
    try:
        files.replace_file(tmp_path / "new", lambda path: path.write_text("new"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("name", ["figures.json", "x" * 255])
def test_files_beside_are_left_alone(name, tmp_path):
    beside = [tmp_path / other for other in ("figures.json.part", ".figures.json", "partial")]
    for path in beside:
        path.write_text("mine")
    files.replace_file(tmp_path / name, lambda path: path.write_text("new"))
    assert (tmp_path / name).read_text() == "new"
    assert {path.read_text() for path in beside} == {"mine"}
    assert len(list(tmp_path.iterdir())) == 4


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "figures.json").write_text("old")

    def fail(path):
        path.write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        files.replace_file(tmp_path / "figures.json", fail)
    assert everything(tmp_path) == {tmp_path / "figures.json": (stat.S_IFREG, b"old")}


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
    """A device that nobody can replace, whatever the code does, unlike /dev/null."""
    return os.ttyname(opened_terminal()[1])


@functools.cache  # it is there for as long as it is open
def opened_terminal():
    return os.openpty()


def circle(folder):
    (folder / "circle").symlink_to("circle")
    return folder / "circle"


def below_a_file(folder):
    (folder / "file").write_text("mine")
    return folder / "file" / "figures.json"


NO_PLACES = {
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


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", NO_PLACES)
def test_what_is_no_place_for_a_file_is_refused_at_once(
    place, command, commands, tmp_path, capsys, monkeypatch
):
    for module in ("score_images", "audit_model", "bench_layers"):
        monkeypatch.setattr(f"keras_upsampling.commands.{module}.run", None)
    make, message = NO_PLACES[place]
    path = make(tmp_path)
    before = everything(tmp_path) if place != "circle" else None
    code, out, err = run(capsys, *commands[command], "--json", path)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert before is None or everything(tmp_path) == before


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


def test_where_standard_output_goes_is_refused(tmp_path, capfd):
    path = tmp_path / "out"
    with path.open("w") as out:
        kept = os.dup(1)
        os.dup2(out.fileno(), 1)
        try:
            with pytest.raises(ValueError, match="where standard output or standard error go"):
                files.check_writable(path)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
    capfd.readouterr()


OTHER_NAMES = {
    "itself": lambda path: path,
    "symbolic link": lambda path: (path.with_name("link").symlink_to(path), "link")[1],
    "hard link": lambda path: (path.with_name("link").hardlink_to(path), "link")[1],
    "roundabout": lambda path: path.parent / ".." / path.parent.name / path.name,
}


@pytest.mark.parametrize("name", OTHER_NAMES)
@pytest.mark.parametrize("command", ["score", "score of a folder", "audit"])
def test_what_is_read_is_not_overwritten(name, command, picture, model, tmp_path, capsys):
    source = model if command == "audit" else picture
    given = tmp_path if command == "score of a folder" else source
    target = tmp_path / OTHER_NAMES[name](source)
    before = everything(tmp_path)
    code, out, err = run(capsys, command.split()[0], given, "--json", target)
    assert (code, out) == (2, "")
    assert "is one of the files that are read" in err
    assert err.count("\n") == 1
    assert everything(tmp_path) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_figures_that_can_no_longer_be_written_are_said(command, commands, tmp_path, capsys):
    path = tmp_path / "figures.json"
    replace_file = files.replace_file

    def too_late(file, write):
        os.mkfifo(path)
        return replace_file(file, write)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_upsampling.commands.streams.replace_file", too_late)
        code, out, err = run(capsys, *commands[command], "--json", path)
    assert code == 1
    assert "| ---" in out
    assert f"{path}: " in err.splitlines()[-1]
    assert "a pipe" in err.splitlines()[-1]
