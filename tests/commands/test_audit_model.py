"""The command `audit`: it prints for a file what `audit` prints for the model in it."""

import json
import os

import keras
import numpy as np
import pytest
from keras import layers

from keras_upsampling import __main__ as command_line
from keras_upsampling import audit


def run_audit(capsys, *arguments):
    """Return the exit code, standard output and standard error."""
    code = command_line.main(["audit", *map(str, arguments)])
    return code, *capsys.readouterr()


@pytest.fixture
def model():
    up = layers.Conv2DTranspose(2, 3, strides=2, name="up", data_format="channels_last")
    return keras.Sequential([keras.Input((8, 8, 3)), up])


def test_a_saved_model_is_audited(model, tmp_path, capsys):
    model.save(tmp_path / "model.keras")
    code, out, err = run_audit(capsys, tmp_path / "model.keras", "--json", tmp_path / "result.json")
    assert (code, err) == (0, "")
    expected = audit(model)
    assert out == f"{expected}\n"
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["layers"] == expected.records()["layers"]


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Lambda(lambda x: 2 * x, output_shape=(8, 8, 3))]
    )
    model.save(tmp_path / "model.keras")
    code, out, err = run_audit(capsys, tmp_path / "model.keras")
    assert (code, out) == (2, "")
    assert "Lambda" in err
    assert "unsafe" in err


def test_a_file_without_a_model_is_reported_in_one_line(model, tmp_path, capsys):
    weights, broken, missing = (
        tmp_path / name for name in ("model.weights.h5", "broken.keras", "missing.keras")
    )
    model.save_weights(weights)
    broken.write_bytes(np.random.default_rng(0).bytes(100))
    for path in (weights, broken, missing):
        code, out, err = run_audit(capsys, path)
        assert (code, out) == (2, "")
        assert err.startswith(f"{path}: ")
        assert err.count("\n") == 1
    assert "expected a file that ends in .keras" in run_audit(capsys, weights)[2]


@pytest.mark.parametrize("kind", ["a pipe", "a folder"])
def test_a_path_without_a_file_is_refused(kind, tmp_path, capsys):
    path = tmp_path / "model.keras"
    os.mkfifo(path) if kind == "a pipe" else path.mkdir()
    code, out, err = run_audit(capsys, path)
    assert (code, out) == (2, "")
    assert err == f"{path}: expected a file. Received {kind}\n"


def test_names_in_a_file_cannot_command_the_terminal(tmp_path, capsys):
    name = "up\x1b[31m|\n\n| x"
    up = layers.Conv2DTranspose(2, 3, strides=2, name=name, data_format="channels_last")
    keras.Sequential([keras.Input((8, 8, 3)), up]).save(tmp_path / "model.keras")
    code, out, _ = run_audit(capsys, tmp_path / "model.keras")
    assert code == 0
    assert "\x1b" not in out
    assert r"| up\x1b[31m\|\n\n\| x |" in out


def test_the_name_of_a_file_cannot_break_the_line(tmp_path, capsys):
    code, out, err = run_audit(capsys, tmp_path / "a\nb\x1b[2J.keras")
    assert (code, out) == (2, "")
    assert err == rf"{tmp_path}/a\nb\x1b[2J.keras: No such file or directory" + "\n"


def test_an_interruption_ends_it_quietly(model, tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    model.save(tmp_path / "model.keras")
    monkeypatch.setattr("keras_upsampling.commands.audit_model.audit", interrupt)
    assert run_audit(capsys, tmp_path / "model.keras") == (130, "", "")


def test_an_empty_name_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        run_audit(capsys, "")
    assert "'' names nothing" in capsys.readouterr().err
