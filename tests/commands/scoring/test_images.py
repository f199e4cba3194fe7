"""Files are found without a list of them, and images of an array are read one at a time."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from keras_upsampling.commands import files
from keras_upsampling.commands.scoring import images, measuring
from keras_upsampling.commands.scoring.images import FoundFiles, open_images
from keras_upsampling.commands.scoring.shares import Share
from keras_upsampling.commands.scoring.tally import Settings


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(7, 5, 6), (7, 5, 6, 3), (5, 6), (5, 6, 4), (1, 5, 6, 2)])
@pytest.mark.parametrize("dtype", ["uint8", ">f8", "bool"])
def test_images_of_an_array_are_those_that_numpy_reads(dtype, shape, order, tmp_path):
    array = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(array, order=order))
    several = shape[0] != 5  # five is the height of single images
    expected = array if several else array[None]
    if expected.ndim == 3:
        expected = expected[..., None]
    found = open_images(tmp_path / "a.npy")
    assert found.number == (len(expected) if several else None)
    assert (found.shape, found.dtype) == (expected.shape[1:], array.dtype)
    for index in reversed(range(len(expected))):
        image = found.load(index)
        np.testing.assert_array_equal(image, expected[index])
        assert image.dtype == array.dtype
        assert found.name(index) == str(tmp_path / "a.npy") + (f"[{index}]" if several else "")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(version, tmp_path):
    array = np.arange(3 * 5 * 6.0).reshape(3, 5, 6)
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, array, version)
    np.testing.assert_array_equal(open_images(tmp_path / "a.npy").load(2)[..., 0], array[2])


def test_an_unknown_version_of_the_format_is_an_error(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x09\x00" + bytes(100))
    with pytest.raises(ValueError, match=r"Received: version \(9, 0\)"):
        open_images(tmp_path / "a.npy")


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_does_not_grow_with_the_array(order, tmp_path):
    shape, most = (400, 100, 100), 6 * 100 * 100
    array = np.lib.format.open_memmap(
        tmp_path / "a.npy", "w+", "uint8", shape, fortran_order=order == "F"
    )
    array[...] = np.arange(400)[:, None, None] % 251
    del array
    open_images(tmp_path / "a.npy").load(0)  # imports what it needs
    tracemalloc.start()
    try:
        found = open_images(tmp_path / "a.npy")
        for index in range(0, 400, 7):
            assert found.load(index)[5, 6, 0] == index % 251
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most  # the array has 67 times as many bytes


def test_an_array_that_is_cut_is_refused_before_it_is_read(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 5, 6)))
    os.truncate(tmp_path / "a.npy", (tmp_path / "a.npy").stat().st_size - 1)
    with pytest.raises(ValueError, match="Failed to read all data: expected 2288 bytes"):
        open_images(tmp_path / "a.npy")


def test_an_array_that_becomes_shorter_loses_some_images_only(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 5, 6)))
    found = open_images(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", (tmp_path / "a.npy").stat().st_size - 1)
    assert found.load(7).shape == (5, 6, 1)
    with pytest.raises(ValueError, match="has become shorter"):
        found.load(8)


def slow_search(paths):
    """Find files in the simplest way: list all, sort, and drop those that were there before."""
    found = {}
    for path in paths:
        names = [path]
        if path.is_dir():
            names = [Path(folder, name) for folder, _, files in os.walk(path) for name in files]
            names = [name for name in names if name.suffix in images.ENDINGS]
        for name in sorted(names):
            found.setdefault(os.path.abspath(name), name)
    return list(found.values())


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b/x.png", "b/y.npy", "b.png", "b-c/x.png", "a/b/c.png", "a/b/no.txt", "z.jpg"):
        path = tmp_path / "t" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "t" / "a" / "link").symlink_to(tmp_path / "t" / "b")
    (tmp_path / "t" / "a" / "folder.png").mkdir()
    return Path("t")


@pytest.mark.parametrize(
    "names",
    [
        ["."],
        [".", "b", "a"],
        ["a/b", "."],
        ["a/b/c.png", "a/b/no.txt", "."],
        ["a/b/no.txt", "a/b/no.txt", "a"],
        [".", "a/link", "a/link/x.png"],
        ["a/link/x.png", "a/link", "b"],
        ["a", "a/link"],
        ["a/../b", "b"],
        ["b.png", "b", "b-c"],
    ],
    ids=" ".join,
)
def test_every_file_is_found_once_in_order(names, tree):
    paths = [tree / name for name in names]
    assert [str(path) for path in FoundFiles(paths)] == [str(path) for path in slow_search(paths)]


def test_a_folder_that_cannot_be_read_is_reported(tree, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(files.os, "scandir", refuse)
    entries = list(FoundFiles([tree]).entries())
    assert [(str(path), error) for path, error in entries] == [
        ("t/a/b", "Permission denied"),
        ("t/b", "Permission denied"),
        ("t/b-c/x.png", None),
        ("t/b.png", None),
        ("t/z.jpg", None),
    ]


def test_searching_holds_the_names_of_one_folder(tmp_path):
    for folder in range(20):
        (tmp_path / str(folder)).mkdir()
        for number in range(20):
            (tmp_path / str(folder) / f"{number:0200}.png").touch()
    assert sum(1 for _ in FoundFiles([tmp_path])) == 400
    tracemalloc.start()
    try:
        assert sum(1 for _ in FoundFiles([tmp_path])) == 400
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 400 * 200 / 2  # half of all names


def test_only_the_first_file_of_a_kind_is_looked_at_before_the_measuring(tree, monkeypatch):
    seen = []
    monkeypatch.setattr(measuring, "reading_error", seen.append)
    assert measuring.count_files(FoundFiles([tree])) == 6
    assert [path.name for path in seen] == ["c.png", "y.npy"]


def test_a_share_looks_at_its_own_pictures_alone(tree, monkeypatch):
    seen = []
    monkeypatch.setattr(measuring, "reading_error", lambda path: seen.append(path.name) or "no")
    settings = Settings("0", (2, 2), None, False)
    outcomes = measuring.measure(FoundFiles([tree]), settings, Share(2, 3))
    assert [one.result.file for one in outcomes] == ["t/b/x.png", "t/b.png"]
    assert seen == ["x.png", "y.npy", "b.png"]  # an array may have images of every share
