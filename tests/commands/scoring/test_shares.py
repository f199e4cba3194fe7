"""Which shares there are, which are missing, and what would count an image twice."""

import itertools

import pytest

from keras_upsampling.commands.scoring.shares import Share, joined, part_of


def parts_of(*runs):
    """Join what runs measured: each is a share, as in "2/3", and its paths."""
    parts = []
    for share, *paths in runs:
        parts = joined(parts, part_of(paths, Share(*map(int, share.split("/")))))
    return parts


@pytest.mark.parametrize("images", [[3], [1, 1, 1, 1, 1], [4, 1, 0, 7, 1, 2]])
@pytest.mark.parametrize("shares", [1, 2, 5, 9])
def test_every_image_is_in_one_share(images, shares):
    found = [
        (file, index)
        for number in range(1, shares + 1)
        for file, length in enumerate(images)
        for index in Share(number, shares).indices(file, length)
    ]
    expected = [(file, index) for file, length in enumerate(images) for index in range(length)]
    assert sorted(found) == expected


@pytest.mark.parametrize("order", [*itertools.permutations(["1/3", "2/3", "3/3"])], ids=" ".join)
def test_all_shares_are_one_whole_in_any_order(order):
    (part,) = parts_of(*((share, "/a", "/b") for share in order))
    assert part.missing() is None
    assert part.paths == ("/a", "/b")


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([("3/3", "/a")], "shares 1/3, 2/3 are missing of the images at '/a'"),
        ([("1/3", "/a"), ("3/3", "/a")], "share 2/3 is missing of the images at '/a'"),
        ([("1/2", "/a", "/b", "/c")], "share 2/2 is missing of the images at '/a' and 2 more"),
        (
            [("1/1000000000", "/a")],
            "shares "
            + ", ".join(f"{n}/1000000000" for n in range(2, 11))
            + " and 999999990 more are missing of the images at '/a'",
        ),
    ],
)
def test_missing_shares_are_named(runs, message):
    (part,) = parts_of(*runs)
    assert part.missing() == message


def test_paths_are_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert part_of(["a", "../b"], Share(1, 1)).paths == (
        str(tmp_path / "a"),
        str(tmp_path.parent / "b"),
    )


TWICE = "no image may be scored twice"


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([("1/1", "/a"), ("1/1", "/a")], f"{TWICE}.*share 1/1 of the images at '/a' again"),
        ([("2/3", "/a"), ("1/3", "/a"), ("2/3", "/a")], f"{TWICE}.*share 2/3 .* again"),
        ([("1/2", "/a"), ("2/3", "/a")], "Expected: 2, as before. Received: 3, of .* '/a'"),
        ([("1/1", "/a"), ("1/1", "/a/b/c")], f"{TWICE}.*results of '/a/b/c'"),
        ([("1/1", "/a/b/c"), ("1/1", "/x", "/a")], f"{TWICE}.*results of '/a/b/c'"),
        ([("1/2", "/a", "/b"), ("2/2", "/b", "/a")], f"{TWICE}.*results of '/b'"),
        ([("1/1", "/a"), ("1/1", "/b"), ("1/1", "/c"), ("1/1", "/a/d")], f"{TWICE}.*'/a/d'"),
        ([("1/1", "/a"), ("1/1", "/")], f"{TWICE}.*results of '/a'"),
    ],
)
def test_an_image_in_two_of_them_is_refused(runs, message):
    parts_of(*runs[:-1])
    with pytest.raises(ValueError, match=message):
        parts_of(*runs)


def test_paths_beside_each_other_are_joined():
    runs = [("1/1", "/a/b"), ("1/1", "/a/bc"), ("1/1", "/a/c"), ("1/1", "/b"), ("1/1", "/ab")]
    assert len(parts_of(*runs)) == 5
