"""The command `score` measures the images of files, and continues after a bad file."""

import contextlib
import io
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import weakref
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_upsampling import __main__ as command_line
from keras_upsampling import checkerboard_score, detect_stride
from keras_upsampling.commands import score_images
from keras_upsampling.commands.scoring import measuring as command
from keras_upsampling.commands.scoring import tally as tally_module
from keras_upsampling.commands.scoring.images import ImagesOfFile
from keras_upsampling.commands.scoring.states import read_state
from keras_upsampling.commands.scoring.tally import Tally
from keras_upsampling.metrics import Checkerboard, CheckerboardScore
from tests.backends import BACKEND

# JAX compiles for every shape, so all images have the same one, in grey or in colour.
SIDE = 24


def pixels(*shape, most=255, dtype="uint8", seed=0):
    """Return noise with stripes."""
    noise = np.random.default_rng(seed).random(shape)
    noise[..., ::2, :, :] *= 0.8
    return (most * noise).astype(dtype)


GREY = pixels(SIDE, SIDE, 1)
COLOUR = pixels(SIDE, SIDE, 3)
DEEP = pixels(SIDE, SIDE, 1, most=65535, dtype="uint16")


def scored(capsys, *arguments):
    """Return the exit code, the standard output and the standard error."""
    code = command_line.main(["score", *map(str, arguments)])
    return code, *capsys.readouterr()


def records(capsys, folder, *arguments):
    """Return the figures that are written for the files in a folder."""
    path = folder.parent / "figures.json"
    code, _, err = scored(capsys, folder, "--json", path, *arguments)
    assert code == 0, err
    return json.loads(path.read_text())


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "images"
    path.mkdir()
    return path


def check(row, image, data_range, size=2):
    expected = checkerboard_score(
        image[None], size, data_range=data_range, data_format="channels_last"
    )
    for field, value in expected._asdict().items():
        assert row[field] == value[0].item(), field
    assert row["shape"] == list(image.shape)
    assert row["data_range"] == data_range


def with_alpha(image):
    alpha = pixels(SIDE, SIDE, 1, seed=1)
    return Image.fromarray(np.concatenate([image, alpha], axis=-1))


def palette_picture():
    """Return a picture with a palette of 16 colours, and its pixels."""
    colours = pixels(16, 1, 3, seed=2)
    indices = pixels(SIDE, SIDE, 1, most=15.99)[..., 0]
    picture = Image.fromarray(indices)
    picture.putpalette(colours.tobytes())
    return picture, colours[indices, 0]


PICTURES = {
    "grey": (Image.fromarray(GREY[..., 0]), GREY, {}),
    "grey and alpha": (with_alpha(GREY), GREY, {}),
    "colour": (Image.fromarray(COLOUR), COLOUR, {}),
    "colour and alpha": (with_alpha(COLOUR), COLOUR, {}),
    "palette": (*palette_picture(), {}),
    "see-through palette": (*palette_picture(), {"transparency": bytes(range(16))}),
    "black and white": (Image.fromarray(GREY[..., 0] > 99), 255 * (GREY > 99), {}),
    "16 bits": (Image.fromarray(DEEP[..., 0]), DEEP, {}),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_png_is_measured_as_its_pixels(kind, folder, capsys):
    picture, image, options = PICTURES[kind]
    picture.save(folder / "one.PNG", **options)
    (row,) = records(capsys, folder)["results"]
    check(row, image, 65535 if kind == "16 bits" else 255)


@pytest.mark.parametrize("ending", ["jpg", "jpeg"])
@pytest.mark.parametrize("image", [GREY[..., 0], COLOUR], ids=["grey", "colour"])
def test_a_jpeg_is_measured_as_its_pixels(image, ending, folder, capsys):
    Image.fromarray(image).save(folder / f"one.{ending}")
    (row,) = records(capsys, folder)["results"]
    with Image.open(folder / f"one.{ending}") as picture:
        check(row, np.asarray(picture).reshape(SIDE, SIDE, -1), 255)


@pytest.mark.parametrize(
    ("array", "images"),
    [
        (GREY[..., 0], [GREY]),
        (GREY, [GREY]),
        (COLOUR, [COLOUR]),
        (np.stack([GREY[..., 0], GREY[::-1, :, 0], GREY[..., 0]]), [GREY, GREY[::-1], GREY]),
        (np.stack([COLOUR, COLOUR[::-1]]), [COLOUR, COLOUR[::-1]]),
        (np.asfortranarray(COLOUR[None]), [COLOUR]),
    ],
    ids=["HW", "HW1", "HW3", "NHW", "NHWC", "1HWC"],
)
def test_an_array_is_one_image_or_several(array, images, folder, capsys):
    np.save(folder / "one.npy", array)
    rows = records(capsys, folder)["results"]
    for row, image in zip(rows, images, strict=True):
        check(row, image, 255)
    name = str(folder / "one.npy")
    is_batch = array.ndim == 4 or len(images) > 1
    names = [f"{name}[{index}]" for index in range(len(images))] if is_batch else [name]
    assert [row["file"] for row in rows] == names


@pytest.mark.parametrize(
    ("array", "data_range"),
    [
        (GREY, 255),
        (DEEP.astype(">u2"), 65535),
        (GREY / 255, 1),
        (GREY.astype("float16") / 255, 1),
        (GREY > 99, 1),
    ],
    ids=lambda value: getattr(value, "dtype", None),
)
def test_default_range_follows_from_the_dtype(array, data_range, folder, capsys):
    np.save(folder / "one.npy", array)
    (row,) = records(capsys, folder)["results"]
    check(row, array, data_range)


def test_data_range_can_be_set(folder, capsys):
    np.save(folder / "a.npy", GREY.astype(float))
    np.save(folder / "b.npy", GREY.astype("int64"))
    for row in records(capsys, folder, "--data-range", 300)["results"]:
        check(row, GREY, 300)


def test_size_can_differ_between_rows_and_columns(folder, capsys):
    np.save(folder / "one.npy", GREY)
    figures = records(capsys, folder, "--size", "1,2")
    check(figures["results"][0], GREY, 255, size=(1, 2))
    assert figures["size"] == [1, 2]
    assert figures["results"] != records(capsys, folder, "--size", "2,1")["results"]


def test_stride_is_detected_if_requested(folder, capsys):
    images = np.stack([pixels(SIDE, SIDE, 1), pixels(SIDE, SIDE, 1, most=255, seed=3)])
    images[1, ::2] = images[1, 1::2]  # no stripes
    images[1, ::3] //= 2
    np.save(folder / "one.npy", images)
    rows = records(capsys, folder, "--detect-stride")["results"]
    expected = detect_stride(images, data_range=255, data_format="channels_last").stride.tolist()
    assert expected[0] != expected[1]
    assert [row["stride"] for row in rows] == expected
    _, out, _ = scored(capsys, folder, "--detect-stride")
    assert [line.split("|")[-2].strip() for line in out.splitlines()[:4]] == [
        "stride", "-" * len("stride"), *map(str, expected)
    ]  # fmt: skip
    assert "stride" not in records(capsys, folder)["results"][0]


def test_output_is_a_table_with_one_row_per_image_and_a_summary(folder, capsys):
    calm = pixels(SIDE, SIDE, 1, seed=5)
    calm[::2] = calm[::2] / 0.8
    np.save(folder / "all.npy", np.stack([calm, GREY]))
    (folder / "in a|b").mkdir()
    Image.fromarray(GREY[..., 0]).save(folder / "in a|b" / "one.png")
    (folder / "notes.txt").write_text("not an image")
    code, out, err = scored(capsys, folder, folder / "all.npy")
    assert code == 0
    head, rule, *rows, empty, last = out.splitlines()
    names = ["file", "shape", "db", "amplitude", "band_db", "p_value", "detected"]
    assert [cell.strip() for cell in head.split("|")[1:-1]] == names
    assert set(rule) == {"|", "-", " "}
    assert {len(line) for line in (head, rule, *rows)} == {len(head)}
    assert [row.split("|")[1].strip().removeprefix(str(folder)) for row in rows[:2]] == [
        os.sep + "all.npy[0]", os.sep + "all.npy[1]"
    ]  # fmt: skip
    assert rows[2].startswith(f"| {folder / 'in a'}\\|b{os.sep}one.png | 24x24x1")
    metric = Checkerboard(2, data_range=255, data_format="channels_last")
    metric.update_state(None, np.stack([calm, GREY, GREY]).astype("float32"))
    score = checkerboard_score(GREY[None], data_range=255, data_format="channels_last")
    cells = [cell.strip() for cell in rows[1].split("|")[2:-1]]
    assert cells == [
        "24x24x1",
        f"{score.db[0]:.2f}",
        f"{score.amplitude[0]:.3g}",
        f"{score.band_db[0]:.2f}",
        f"{score.p_value[0]:.2g}",
        "yes",
    ]
    assert empty == ""
    assert last == f"3 images, mean {metric.details()['db']:.2f} dB, 66.7% detected"
    assert "3/3" in err  # the progress bar, separate from the table


def test_figures_are_written_with_a_summary(folder, capsys):
    np.save(folder / "one.npy", np.stack([GREY, GREY]))
    figures = records(capsys, folder)
    row = figures["results"][0]
    assert figures["summary"] == {
        "images": 2,
        "failures": 0,
        "db": pytest.approx(row["db"]),
        "detection_rate": 1.0,
        "relative_amplitude": pytest.approx(row["amplitude"] / 255),
    }
    assert figures["failures"] == []
    assert figures["complete"]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["figures.json", "images"]


BAD = {
    "text.png": (b"no picture", "cannot identify"),
    "text.npy": (b"no array at all", "magic string"),
    "cut.npy": (GREY, "Failed to read all data"),
    "cut.png": (GREY, "truncated"),
    "small.png": (GREY[:9], "size 2x2 needs 10x10 pixels or more. Received: 9x24x1"),
    "narrow.npy": (GREY[:, :9], "size 2x2 needs 10x10 pixels or more. Received: 24x9x1"),
    "nan.npy": (np.full((SIDE, SIDE), np.nan), "it has a NaN"),
    "line.npy": (np.zeros(SIDE), "Received: shape (24,)"),
    "video.npy": (np.zeros((1, 1, SIDE, SIDE, 1)), "Received: shape (1, 1, 24, 24, 1)"),
    "none.npy": (np.zeros((0, SIDE, SIDE, 1)), "Received: shape (0, 24, 24, 1)"),
    "words.npy": (np.full((SIDE, SIDE), "word"), "Received: dtype <U4"),
    "object.npy": (np.full((SIDE, SIDE), None), "Received: dtype object"),
    "wide.npy": (GREY.astype(float), "far more than data_range=1"),
    "whole.npy": (GREY.astype(int), "dtype int64 have an unknown range"),
    "one.bmp": (b"BM", "must end in .png, .jpg, .jpeg, .npy"),
    "missing.png": (None, "No such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_unreadable_files_are_reported_and_the_rest_is_measured(name, folder, capsys):
    bad, message = BAD[name]
    path = folder / name
    if isinstance(bad, bytes):
        path.write_bytes(bad)
    elif bad is not None:
        if path.suffix == ".npy":
            np.save(path, bad)
        else:
            Image.fromarray(bad[..., 0]).save(path)
        if path.stem == "cut":
            path.write_bytes(path.read_bytes()[:-100])
    Image.fromarray(GREY[..., 0]).save(folder / "z.png")
    figures = folder / "figures.json"
    code, out, err = scored(capsys, path, folder / "z.png", "--json", figures)
    assert code == 1
    (line,) = (line for line in err.splitlines() if line.startswith(str(path)))
    assert message in line
    assert out.endswith("\n\n1 image, mean " + out.split("mean ")[1])
    assert "z.png" in out
    assert name not in out
    written = json.loads(figures.read_text())
    assert [f"{failure['file']}: {failure['reason']}" for failure in written["failures"]] == [line]
    assert len(written["results"]) == 1


def test_a_bad_image_does_not_affect_the_others_of_its_file(folder, capsys):
    images = np.stack([GREY, GREY, GREY]) / 255
    images[1, 3, 4] = np.inf
    np.save(folder / "one.npy", images)
    code, out, err = scored(capsys, folder)
    assert code == 1
    assert "one.npy[1]: it has a NaN or an infinity" in err
    assert "3/3" in err
    assert [f"[{index}]" in out for index in range(3)] == [True, False, True]


def test_figures_are_written_if_no_image_could_be_measured(folder, capsys):
    (folder / "one.png").write_bytes(b"")
    figures = folder / "figures.json"
    code, out, _ = scored(capsys, folder, "--json", figures)
    assert (code, out) == (1, "")
    assert json.loads(figures.read_text())["summary"]["images"] == 0


def test_no_files_is_an_error(folder, capsys):
    (folder / "notes.txt").write_text("not an image")
    code, out, err = scored(capsys, folder, folder / "nowhere")
    assert (code, out) == (2, "")
    assert "nowhere: No such file" in err
    assert "Nothing to measure" in err


@pytest.mark.parametrize("names", [("a.npy", "b.png"), ("a.npy",)], ids=["a picture", "none"])
def test_without_pillow_only_arrays_are_measured(names, folder, capsys, monkeypatch):
    np.save(folder / "a.npy", GREY)
    Image.fromarray(GREY[..., 0]).save(folder / "b.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    code, out, err = scored(capsys, *(folder / name for name in names))
    if len(names) == 1:
        assert code == 0
        assert "a.npy" in out
    else:
        assert (code, out) == (2, "")
        assert 'python -m pip install "pillow>=10"' in err


def test_an_interruption_keeps_the_results(folder, capsys, monkeypatch):
    (folder / "a.png").write_bytes(b"no picture")
    np.save(folder / "b.npy", np.stack([GREY] * 3))
    measure, calls = command.checkerboard_score, []

    def interrupted(*arguments, **options):
        if calls:
            raise KeyboardInterrupt
        calls.append(arguments)
        return measure(*arguments, **options)

    monkeypatch.setattr(command, "checkerboard_score", interrupted)
    figures = folder / "figures.json"
    code, out, err = scored(capsys, folder, "--json", figures)
    assert code == 130
    assert "b.npy[0]" in out
    assert "b.npy[1]" not in out
    # On a separate line, after the progress bar.
    assert any(line.startswith(f"{folder / 'a.png'}: ") for line in err.splitlines())
    assert len(json.loads(figures.read_text())["results"]) == 1
    assert not json.loads(figures.read_text())["complete"]


def test_an_interruption_is_noted_in_the_state(folder, capsys, monkeypatch):
    np.save(folder / "a.npy", np.stack([GREY] * 3))
    measure, calls = command.checkerboard_score, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    monkeypatch.setattr(command, "checkerboard_score", interrupted)
    state, lines = folder / "a.state", folder / "lines"
    code, out, _ = scored(capsys, folder, "--state", state, "--lines", lines)
    assert code == 130
    tally = read_state(state)
    assert (tally.images, tally.interrupted) == (2, True)
    assert len(lines.read_text().splitlines()) == 2
    assert command_line.main(["merge", str(state)]) == 1
    merged = capsys.readouterr()
    assert merged.out == out
    assert f"{state}: its run was interrupted, so that images are missing" in merged.err


def constant_score(*_, **__):
    """Return the same score for every image, at once."""
    return CheckerboardScore(*map(np.array, ([1.0], [0.1], [2.0], [0.5], [False])))


class Counted(np.ndarray):
    """An array of which the number is known that are alive."""

    alive, most = set(), 0

    def __array_finalize__(self, _):
        Counted.alive.add(id(self))
        Counted.most = max(Counted.most, len(Counted.alive))
        weakref.finalize(self, Counted.alive.discard, id(self))


def test_few_images_and_results_are_held(folder, capsys, monkeypatch):
    number = 3000
    (folder / "a.npy").touch()
    (folder / "b.npy").touch()

    def load(index):
        if index % 2:
            raise ValueError("it is odd")
        return GREY.view(Counted)

    def many(path):
        return ImagesOfFile(path, number, GREY.shape, GREY.dtype, load)

    tallies = []

    class Watched(Tally):
        def add(self, result):
            tallies[:] = [self]
            super().add(result)
            assert len(self.kept) + len(self.failures) <= 20 + 10

    monkeypatch.setattr(tally_module, "MOST", 10)
    monkeypatch.setattr(command, "open_images", many)
    monkeypatch.setattr(command, "checkerboard_score", constant_score)
    monkeypatch.setattr(score_images, "Tally", Watched)
    Counted.alive.clear()
    Counted.most = 0
    lines = folder.parent / "lines"
    code, out, err = scored(capsys, folder, "--lines", lines)
    assert code == 1
    assert 1 <= Counted.most <= 8  # views of one or two images
    assert (tallies[0].images, tallies[0].failed) == (number, number)
    *rows, empty, summary, note = out.splitlines()
    assert (len(rows), empty) == (12, "")
    assert summary == "3000 images, mean 1.00 dB, 0.0% detected"
    assert note == "The table has the 10 with the strongest patterns, the strongest first."
    assert err.count("it is odd") == 10
    assert "2990 more could not be measured" in err
    assert "6000/6000" in err
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    names = [f"{folder / name}[{index}]" for name in ("a.npy", "b.npy") for index in range(number)]
    assert [one["file"] for one in written] == names
    assert written[1] == {"file": names[1], "reason": "it is odd"}
    assert written[2]["db"] == 1.0


def test_of_many_images_the_table_has_the_strongest(folder, capsys, monkeypatch):
    monkeypatch.setattr(tally_module, "MOST", 2)
    calm = pixels(SIDE, SIDE, 1, seed=5)
    calm[::2] = calm[::2] / 0.8
    weak = calm.copy()
    weak[::2] = weak[::2] * 0.9
    np.save(folder / "all.npy", np.stack([calm, GREY, calm, weak, calm]))
    figures = records(capsys, folder, "--detect-stride")
    strongest = [row["file"].removeprefix(str(folder)) for row in figures["results"]]
    assert strongest == ["/all.npy[1]", "/all.npy[3]"]
    assert figures["summary"]["images"] == 5
    assert sum(figures["summary"]["strides"].values()) == 5
    _, out, _ = scored(capsys, folder, "--detect-stride")
    assert out.splitlines()[-1].startswith("Strides of all images: 1 in ")
    monkeypatch.undo()
    assert figures["summary"] == records(capsys, folder, "--detect-stride")["summary"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
def test_a_full_disk_loses_the_lines_and_nothing_else(folder, capsys, monkeypatch):
    np.save(folder / "a.npy", np.stack([GREY, GREY]))
    lines = folder.parent / "lines"

    def fill(*_, **__):
        lines.unlink(missing_ok=True)
        lines.symlink_to("/dev/full")
        return constant_score()

    monkeypatch.setattr(command, "checkerboard_score", fill)
    code, out, err = scored(capsys, folder, "--lines", lines)
    assert code == 1
    assert err.count(f"{lines}: No space left on device") == 1
    assert "2 images" in out


def test_lines_replace_a_file_and_are_there_while_the_run_goes_on(folder, capsys, monkeypatch):
    np.save(folder / "a.npy", np.stack([GREY] * 3))
    lines, numbers = folder.parent / "lines", []
    lines.write_text("old\n" * 9)

    def count(*_, **__):
        numbers.append(len(lines.read_text().splitlines()))
        return constant_score()

    monkeypatch.setattr(command, "checkerboard_score", count)
    assert scored(capsys, folder, "--lines", lines)[0] == 0
    assert numbers == [0, 1, 2]


@pytest.mark.parametrize("error", [ValueError("a mistake"), OSError(5, "a bad disk")])
def test_what_an_unexpected_error_ends_is_not_taken_for_complete(
    error, folder, capsys, monkeypatch
):
    np.save(folder / "a.npy", np.stack([GREY] * 3))

    def measured(*arguments):
        yield from itertools.islice(command.measure(*arguments), 2)
        raise error

    monkeypatch.setattr(score_images, "measure", measured)
    monkeypatch.setattr(command, "checkerboard_score", constant_score)
    state = folder.parent / "a.state"
    with pytest.raises(type(error)):
        scored(capsys, folder, "--state", state)
    assert "\n2 images, " in capsys.readouterr().out
    assert (read_state(state).images, read_state(state).interrupted) == (2, True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_a_failure(value, folder, capsys, monkeypatch):
    np.save(folder / "a.npy", np.stack([GREY] * 3))
    scores = iter([1.0, value, 3.0])

    def score(*_, **__):
        return constant_score()._replace(db=np.array([next(scores)]))

    monkeypatch.setattr(command, "checkerboard_score", score)
    code, out, err = scored(capsys, folder)
    assert code == 1
    assert "a.npy[1]: its score is not finite" in err
    assert "\n2 images, " in out


def test_programs_of_many_shapes_are_forgotten(folder, capsys, monkeypatch):
    for height in range(10, 16):
        np.save(folder / f"{height}.npy", np.zeros((2, height, 12, 1)))
    calls = []
    monkeypatch.setattr(command, "_SHAPES_AT_ONCE", 2)
    monkeypatch.setattr(command, "forget_compiled", lambda: calls.append(1))
    monkeypatch.setattr(command, "checkerboard_score", constant_score)
    assert scored(capsys, folder)[0] == 0
    assert len(calls) == 2


def exceed_memory(*_, **__):
    if BACKEND == "tensorflow":  # which would try for ten seconds before it raises
        from tensorflow.errors import ResourceExhaustedError

        raise ResourceExhaustedError(None, None, "failed to allocate memory")
    # More than any machine can address, so the backend raises its own exception at once.
    keras.ops.zeros((2**25, 2**25))


def exceed_memory_in_numpy(*_, **__):
    np.zeros((2**25, 2**25))


def raise_memory_error(*_, **__):
    raise MemoryError


def fail_in_a_graph(*_, **__):
    raise RuntimeError("Graph execution error:\n\nDetected at node x\nOOM when allocating tensor")


@pytest.mark.parametrize(
    "fail", [exceed_memory, exceed_memory_in_numpy, raise_memory_error, fail_in_a_graph]
)
def test_running_out_of_memory_does_not_affect_other_pictures(fail, folder, capsys, monkeypatch):
    for name in ("a", "b", "c"):
        Image.fromarray(GREY[..., 0]).save(folder / f"{name}.png")
    measure, calls = command.checkerboard_score, []

    def limited(*arguments, **options):
        calls.append(arguments)
        return (fail if len(calls) == 2 else measure)(*arguments, **options)

    monkeypatch.setattr(command, "checkerboard_score", limited)
    code, out, err = scored(capsys, folder)
    assert code == 1
    assert f"{folder / 'b.png'}: it does not fit into memory" in err.splitlines()
    assert [f"{name}.png" in out for name in "abc"] == [True, False, True]


def test_any_error_of_a_picture_does_not_affect_the_others(folder, capsys, monkeypatch):
    for name in ("a", "b"):
        Image.fromarray(GREY[..., 0]).save(folder / f"{name}.png")
    measure, calls = command.checkerboard_score, []

    def failing(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            raise RuntimeError("the device is in the next room")
        return measure(*arguments, **options)

    monkeypatch.setattr(command, "checkerboard_score", failing)
    code, out, err = scored(capsys, folder)
    assert code == 1
    assert "a.png: the device is in the next room" in err
    assert "b.png" in out


@pytest.mark.parametrize(("max_pixels", "code"), [(SIDE * SIDE - 1, 0), (SIDE * SIDE // 2 - 1, 1)])
def test_too_large_pictures_are_errors_and_large_ones_do_not_warn(
    max_pixels, code, folder, capsys, monkeypatch
):
    Image.fromarray(GREY[..., 0]).save(folder / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", max_pixels)
    exit_code, _, err = scored(capsys, folder)
    assert exit_code == code
    assert ("a.png: Image size (576 pixels) exceeds limit" in err) == bool(code)


def make_special_file(path, kind):
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "a device":
        path.symlink_to("/dev/zero")  # reading it would never end
    else:
        path.symlink_to("nothing")


@pytest.mark.parametrize("named", [True, False], ids=["named", "in a folder"])
@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a device", "a link to nothing"])
def test_special_files_are_reported_and_not_opened(kind, named, folder, capsys):
    path = folder / "a.png"
    make_special_file(path, kind)
    np.save(folder / "b.npy", GREY)
    code, out, err = scored(capsys, *([path, folder / "b.npy"] if named else [folder]))
    assert code == 1
    reason = "No such file or directory" if "link" in kind else f"expected a file. Received: {kind}"
    assert f"{path}: {reason}" in err.splitlines()
    assert "b.npy" in out


def png(width, height, bits, colour, rows):
    """Encode a PNG by its specification; rows use all five filters in turn."""
    size = {0: 1, 2: 3, 4: 2, 6: 4}[colour] * bits // 8
    above, filtered = bytes(width * size), b""
    for number, row in enumerate(rows):
        kind = number % 5
        line = [kind]
        for i, value in enumerate(row):
            a = row[i - size] if i >= size else 0
            b = above[i]
            c = above[i - size] if i >= size else 0
            paeth = min((a, b, c), key=lambda neighbour, p=a + b - c: abs(p - neighbour))
            line.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
        filtered += bytes(line)
        above = row

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(filtered))
        + chunk(b"IEND", b"")
    )


def test_grey_of_16_bits_with_alpha_keeps_16_bits(folder, capsys):
    alpha = pixels(SIDE, SIDE, 1, most=65535, dtype="uint16", seed=4)
    rows = [row.tobytes() for row in np.concatenate([DEEP, alpha], axis=-1).astype(">u2")]
    (folder / "a.png").write_bytes(png(SIDE, SIDE, 16, 4, rows))
    (row,) = records(capsys, folder)["results"]
    check(row, DEEP, 65535)
    broken = bytearray(png(SIDE, SIDE, 16, 4, rows))
    broken[32] ^= 1  # the checksum of the header
    (folder / "a.png").write_bytes(broken)
    code, _, err = scored(capsys, folder)
    assert code == 1
    assert f"{folder / 'a.png'}: " in err


def test_grey_of_8_bits_with_alpha_is_read(folder, capsys):
    alpha = pixels(SIDE, SIDE, 1, seed=4)
    rows = [row.tobytes() for row in np.concatenate([GREY, alpha], axis=-1)]
    (folder / "a.png").write_bytes(png(SIDE, SIDE, 8, 4, rows))
    check(records(capsys, folder)["results"][0], GREY, 255)


def test_a_file_name_cannot_break_the_table_or_a_line(folder, capsys):
    name = "a\nb\x1b[2J\u202e|.npy"
    np.save(folder / name, GREY)
    np.save(folder / f"bad {name}", np.full((SIDE, SIDE), np.nan))
    figures = folder / "figures.json"
    code, out, err = scored(capsys, folder, "--json", figures)
    assert code == 1
    assert rf"{folder}/a\nb\x1b[2J\u202e\|.npy |" in out
    assert len(out.splitlines()) == 5
    assert rf"{folder}/bad a\nb\x1b[2J\u202e|.npy: it has a NaN" in err
    written = json.loads(figures.read_text())
    assert written["results"][0]["file"] == f"{folder}/{name}"
    assert written["failures"][0]["file"] == f"{folder}/bad {name}"


@pytest.mark.parametrize("value", [1e39, -1e39])
def test_numbers_beyond_float32_are_not_called_infinite(value, folder, capsys):
    image = GREY.astype("float64")
    image[3, 4] = value
    np.save(folder / "a.npy", image)
    code, _, err = scored(capsys, folder)
    assert code == 1
    assert "it has numbers as large as 1e+39, and float32" in err
    assert "infinity" not in err


@pytest.fixture
def unread():
    """Return a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    yield stream
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_a_pipe_that_nobody_reads_ends_the_command_quietly(folder, unread, capsys, monkeypatch):
    np.save(folder / "a.npy", GREY)
    figures = folder / "figures.json"
    monkeypatch.setattr(sys, "stdout", unread)
    assert command_line.main(["score", str(folder), "--json", str(figures)]) == 141
    assert "Error" not in capsys.readouterr().err
    assert len(json.loads(figures.read_text())["results"]) == 1


def test_a_pipe_that_nobody_reads_does_not_stop_the_progress(folder, unread, capsys, monkeypatch):
    np.save(folder / "a.npy", GREY)
    (folder / "b.npy").write_bytes(b"no array")
    monkeypatch.setattr(sys, "stderr", unread)
    code = command_line.main(["score", str(folder)])
    assert code == 1
    assert "a.npy" in capsys.readouterr().out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
def test_a_full_disk_is_reported_and_loses_no_figures(folder, capsys, monkeypatch):
    np.save(folder / "a.npy", GREY)
    figures = folder / "figures.json"
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert command_line.main(["score", str(folder), "--json", str(figures)]) == 1
    assert "standard output: No space left" in capsys.readouterr().err
    assert len(json.loads(figures.read_text())["results"]) == 1


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_stream_loses_no_figures(closed, folder, monkeypatch):
    np.save(folder / "a.npy", GREY)
    figures = folder / "figures.json"
    monkeypatch.setattr(sys, closed, None)  # as in a program that starts with the stream closed
    assert command_line.main(["score", str(folder), "--json", str(figures)]) == 0
    assert len(json.loads(figures.read_text())["results"]) == 1


def test_figures_lost_to_a_closed_standard_output_are_reported(folder, monkeypatch, capsys):
    np.save(folder / "a.npy", GREY)
    monkeypatch.setattr(sys, "stdout", None)
    assert command_line.main(["score", str(folder), "--json", "-"]) == 1
    assert "standard output is closed, so the figures are lost" in capsys.readouterr().err


def test_a_pipe_that_nobody_reads_causes_no_error_at_exit(folder):
    np.save(folder / "a.npy", GREY)
    (folder / "b.npy").write_bytes(b"no array")
    figures = folder / "figures.json"
    reader, writer = os.pipe()
    os.close(reader)
    process = [sys.executable, "-m", "keras_upsampling", "score", folder, "--json", figures]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    finished = subprocess.run(
        process, stdout=writer, stderr=writer, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    os.close(writer)
    assert finished.returncode == 141
    assert len(json.loads(figures.read_text())["results"]) == 1


def test_an_empty_name_is_not_the_current_folder(capsys):
    with pytest.raises(SystemExit, match="2"):
        scored(capsys, "")
    assert "'' names nothing; for the current folder, use ." in capsys.readouterr().err


def test_a_file_name_that_cannot_be_shown_loses_no_results(folder, monkeypatch):
    np.save(folder / "é.npy", GREY)
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", printed)
    assert command_line.main(["score", str(folder)]) == 0
    printed.flush()
    assert rb"\xe9.npy" in printed.buffer.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "1"], "'1' is not a period"),
        (["--size", "1,1"], "'1,1' is not a period"),
        (["--size", "2,2,2"], "'2,2,2' is not a period"),
        (["--size", "two"], "'two' is not a period"),
        (["--size", "0,2"], "'0,2' is not a period"),
        (["--data-range", "-1"], "'-1' is not a positive number"),
        (["--json", "nowhere/figures.json"], "there is no folder for"),
        (["--state", "nowhere/a.state"], "there is no folder for"),
        (["--state", "-"], "'-' is not the name of a file"),
        (["--lines", "-"], "'-' is not the name of a file"),
        (["--share", "0/2"], "'0/2' is not a share"),
        (["--share", "3/2"], "'3/2' is not a share"),
        (["--share", "1"], "'1' is not a share"),
        (["--share", "1/2/3"], "'1/2/3' is not a share"),
    ],
)
def test_bad_options_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["score", *arguments, "image.png"])
    assert message in capsys.readouterr().err
