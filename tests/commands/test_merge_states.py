"""The command `merge` gives what one run over all images would have given."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import keras_upsampling
from keras_upsampling.commands.scoring import measuring, tally
from keras_upsampling.commands.scoring.states import read_state
from keras_upsampling.metrics import CheckerboardScore, Stride
from tests.commands.running import run

SIDE = 24


def image(seed):
    noise = np.random.default_rng(seed).integers(0, 200, (SIDE, SIDE))
    noise[::2] += 5 * seed
    return noise.astype("uint8")


@pytest.fixture(autouse=True)
def _quick_scores(monkeypatch):
    """Replace the measuring by figures that depend on all pixels, and take no time."""

    def score(images, *_, **__):
        mean = images.mean()
        values = (mean / 7, mean / 1000, mean / 9, mean / 300, mean > 99)
        return CheckerboardScore(*(np.array([value]) for value in values))

    def stride(images, **_):
        return Stride(np.array([1 + int(images.mean()) % 3]), {})

    monkeypatch.setattr(measuring, "checkerboard_score", score)
    monkeypatch.setattr(measuring, "detect_stride", stride)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with pictures and arrays, readable and not."""
    path = tmp_path / "images"
    (path / "in").mkdir(parents=True)
    for seed in range(3):
        Image.fromarray(image(seed)).save(path / f"{seed}.png")
    np.save(path / "in" / "many.npy", np.stack([image(seed) for seed in range(3, 8)]))
    np.save(path / "in" / "one.npy", image(8))
    return path


def score(capsys, state, *arguments):
    code, _, err = run(capsys, "score", *arguments, "--state", state)
    assert code in (0, 1), err
    return state


def comparable(path):
    """Return written figures, in which the order of the images does not count."""
    figures = json.loads(path.read_text())
    for key in ("results", "failures"):
        figures[key].sort(key=lambda record: record["file"])
    return figures


@pytest.mark.parametrize(
    ("options", "most"), [([], 1000), (["--detect-stride"], 3)], ids=["all", "strongest"]
)
def test_shares_give_what_one_run_gives(options, most, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tally, "MOST", most)
    (folder / "bad.npy").write_bytes(b"no array")
    (folder / "in" / "bad.png").write_bytes(b"no picture")
    one, merged = tmp_path / "one.json", tmp_path / "merged.json"
    code, expected, _ = run(
        capsys, "score", folder, *options, "--json", one, "--state", tmp_path / "one.state"
    )
    assert code == 1
    shares = [
        score(capsys, tmp_path / f"{k}.state", folder, "--share", f"{k}/3", *options)
        for k in (2, 1, 3)
    ]
    # The images within an array are shared too.
    assert sorted(one.images + one.failed for one in map(read_state, shares)) == [3, 3, 5]
    code, out, err = run(
        capsys, "merge", *shares, "--json", merged, "--state", tmp_path / "all.state"
    )
    assert code == 1
    assert comparable(merged) == comparable(one)
    assert sorted(out.splitlines()) == sorted(expected.splitlines())
    assert [f"{name}: " in err for name in ("bad.npy", "bad.png")] == [True, True]
    again = run(capsys, "merge", tmp_path / "all.state")
    assert again[:2] == (1, out)


def test_more_shares_than_images_are_empty(folder, tmp_path, capsys):
    states = []
    for k in range(1, 12):
        state = tmp_path / f"{k}.state"
        code, out, _ = run(capsys, "score", folder, "--share", f"{k}/11", "--state", state)
        assert code == 0
        assert bool(out) == bool(read_state(state).images)
        states.append(state)
    code, out, _ = run(capsys, "merge", *states)
    assert code == 0
    assert "\n9 images, " in out


def test_a_missing_share_is_named(folder, tmp_path, capsys):
    first, second, third = (
        score(capsys, tmp_path / f"{k}.state", folder, "--share", f"{k}/3") for k in (1, 2, 3)
    )
    both, figures = tmp_path / "both.state", tmp_path / "all.json"
    code, out, err = run(capsys, "merge", third, first, "--state", both, "--json", figures)
    assert code == 1
    assert "\n5 images, " in out  # of nine
    assert err == f"share 2/3 is missing of the images at {str(folder)!r}\n"
    assert not json.loads(figures.read_text())["complete"]
    code, _, err = run(capsys, "merge", both, second, "--json", figures)
    assert (code, err) == (0, "")
    assert json.loads(figures.read_text())["complete"]
    code, out, err = run(capsys, "merge", both, first)
    assert (code, out) == (2, "")
    assert f"{first}: no image may be scored twice. Received: share 1/3 of the images" in err


@pytest.fixture
def states(folder, tmp_path, capsys):
    return [
        score(capsys, tmp_path / "a.state", folder / "0.png"),
        score(capsys, tmp_path / "b.state", folder / "1.png"),
    ]


def copy(state, tmp_path, *_):
    return shutil.copy(state, tmp_path / "copy.state")


def link(state, tmp_path, *_):
    (tmp_path / "link.state").symlink_to(state)
    return tmp_path / "link.state"


def overlapping(_, tmp_path, folder, capsys):
    return score(capsys, tmp_path / "c.state", folder)


def of_other_size(_, tmp_path, folder, capsys):
    return score(capsys, tmp_path / "c.state", folder / "2.png", "--size", "1,2")


def with_strides(_, tmp_path, folder, capsys):
    return score(capsys, tmp_path / "c.state", folder / "2.png", "--detect-stride")


def of_other_range(_, tmp_path, folder, capsys):
    return score(capsys, tmp_path / "c.state", folder / "2.png", "--data-range", "300")


def of_other_package(_, tmp_path, folder, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_upsampling, "__version__", "0.0.1")
        return score(capsys, tmp_path / "c.state", folder / "2.png")


def of_other_format(state, *_):
    state.write_text(state.read_text().replace('"version": 1,', '"version": 7,'))
    return state


def cut(state, *_):
    os.truncate(state, state.stat().st_size // 2)
    return state


def changed(state, *_):
    state.write_text(state.read_text().replace('"images": 1', '"images": 2'))
    return state


def pipe(_, tmp_path, *__):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


BAD = {
    "itself": (lambda state, *_: state, "Received: share 1/1 of the images at"),
    "link": (link, "Received: share 1/1 of the images at"),
    "copy": (copy, "Received: share 1/1 of the images at"),
    "overlap": (overlapping, "which those before have too, by other paths"),
    "other size": (of_other_size, "Expected: size=(2, 2), as before. Received: size=(1, 2)"),
    "strides": (with_strides, "Received: detect_stride=True"),
    "other range": (of_other_range, "Received: data_range=300.0"),
    "other package": (of_other_package, "Received: version='0.0.1'"),
    "other format": (of_other_format, "Received: version 7"),
    "cut": (cut, "expected a state that"),
    "changed": (changed, "the state is damaged"),
    "picture": (lambda _, __, folder, ___: folder / "1.png", "expected a state that"),
    "folder": (lambda _, __, folder, ___: folder, "Received: a folder"),
    "pipe": (pipe, "Received: a pipe"),
    "missing": (lambda _, tmp_path, *__: tmp_path / "none", "No such file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_merged_is_refused(kind, states, folder, tmp_path, capsys):
    make, message = BAD[kind]
    bad = make(states[1], tmp_path, folder, capsys)
    figures = tmp_path / "figures.json"
    code, out, err = run(capsys, "merge", *states, bad, "--json", figures)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"{bad}: ")
    assert message in line
    assert not figures.exists()


def test_states_are_not_overwritten(states, tmp_path, capsys):
    before = states[0].read_bytes()
    for option in ("--json", "--state"):
        code, out, err = run(capsys, "merge", *states, option, states[0])
        assert (code, out) == (2, "")
        assert f"{option}: " in err
        assert "is one of the files that are read" in err
    assert states[0].read_bytes() == before
    both = tmp_path / "both"
    code, _, err = run(capsys, "merge", *states, "--json", both, "--state", both)
    assert code == 2
    assert "is the file of --json" in err
    assert not both.exists()


def test_standard_output_can_have_the_figures(states, capsys):
    code, out, err = run(capsys, "merge", *states, "--json", "-")
    assert code == 0
    assert json.loads(out)["summary"]["images"] == 2
    assert "| ---" in err
