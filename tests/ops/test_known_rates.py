"""Tuned rates are used on the machine that they belong to, and shipped ones everywhere else."""

import builtins
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops
from keras.src.backend import config as keras_config

from keras_upsampling import config
from keras_upsampling.ops import devices
from keras_upsampling.ops._upsample_conv import known_rates, rate_file
from keras_upsampling.ops._upsample_conv.choice import PASSES
from keras_upsampling.ops._upsample_conv.known_rates import rates_of, shipped_rates
from keras_upsampling.ops._upsample_conv.methods import kinds
from keras_upsampling.ops._upsample_conv.rate_file import RateSet, read, with_changes
from tests.backends import BACKEND
from tests.ops.test_choice import chosen

HERE = (BACKEND, "cpu", "float32")


def tuned(costly="convolution", **changes):
    """Rates of this machine by which one kind of work takes all of the time."""
    key = (BACKEND, devices.backend_version(), devices.device_name("cpu"), "float32")
    rates = {name: {kind: float(kind == costly) for kind in kinds()} for name in PASSES}
    entry = RateSet(*key, "", {"processor": "a processor"}, "a command", 9, rates)
    return entry._replace(**changes)


def write(path, *entries, forgotten=()):
    path.write_text(with_changes(path, list(entries), list(forgotten)))


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The path of the file in Keras's home folder, as seen by a new process."""
    path = tmp_path / "keras_upsampling.json"
    monkeypatch.setattr(known_rates, "default_path", lambda: path)
    config.set_rates(None)
    yield path
    monkeypatch.undo()
    config.set_rates(None)


def test_tuned_rates_come_before_shipped_ones(path):
    write(path, tuned("convolution"))
    found = rates_of(*HERE)
    assert found == tuned("convolution", source=str(path))
    assert chosen((4, 32, 32, 256))[0] in ("one_product", "matrices")
    # What is not in the file is shipped, or unknown.
    assert rates_of(BACKEND, "cpu", "float64") is None
    path.unlink()
    write(path, tuned("product", dtype="float64"))
    config.set_rates(None)
    assert rates_of(*HERE).source == "shipped"
    assert rates_of(BACKEND, "cpu", "float64").source == str(path)


def test_the_file_is_read_once(path, monkeypatch):
    write(path, tuned())
    calls = []
    monkeypatch.setattr(known_rates, "read", lambda path: calls.append(path) or read(path))
    for size in (2, 3):
        chosen((4, 32, 32, 8), size=size)
        rates_of(BACKEND, "cpu", f"float{32 * size}")
    assert calls == [path]


@pytest.mark.parametrize("field", ["engine", "version", "device", "dtype"])
def test_rates_of_another_machine_are_not_used(path, field):
    write(path, tuned(**{field: "another"}))
    assert rates_of(*HERE).source == "shipped"


def rewritten(change):
    """The text of a file with something changed."""
    content = json.loads(with_changes(Path("nothing"), [tuned()], []))
    return json.dumps(change(content) or content)


def with_rate(value):
    return rewritten(lambda file: file["rates"][0]["forward"].update(convolution=value))


GOOD = with_changes(Path("nothing"), [tuned()], [])
DAMAGES = {
    "empty": "",
    "truncated": GOOD[: len(GOOD) // 2],
    "not text": b"\xff\xfe\x00",
    "deep": "[" * 100_000,
    "a list": "[]",
    "a number": "1",
    "no format": rewritten(lambda file: file.pop("format") and None),
    "another format": rewritten(lambda file: file.update(format=0)),
    "no entries": rewritten(lambda file: file.pop("rates") and None),
    "wrong entries": rewritten(lambda file: file.update(rates=[1])),
    "wrong key": rewritten(lambda file: file["rates"][0].update(engine=["jax"])),
    "no facts": rewritten(lambda file: file["rates"][0].pop("facts") and None),
    "wrong cases": rewritten(lambda file: file["rates"][0].update(cases="many")),
    "counted differently": rewritten(lambda file: file["rates"][0].update(counting="0")),
    "no backward pass": rewritten(lambda file: file["rates"][0].pop("backward") and None),
    "a kind missing": rewritten(
        lambda file: file["rates"][0]["forward"].pop("convolution") and None
    ),
    "a kind too many": rewritten(lambda file: file["rates"][0]["forward"].update(more=1.0)),
    "all zero": rewritten(lambda file: file["rates"][0].update(forward=dict.fromkeys(kinds(), 0))),
    "NaN": with_rate(float("nan")),
    "infinity": with_rate(float("inf")),
    "negative": with_rate(-1.0),
    "huge": with_rate(10**400),
    "true": with_rate(True),
    "text": with_rate("1.0"),
    "null": with_rate(None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_mean_shipped_rates(path, damage):
    content = DAMAGES[damage]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert rates_of(*HERE).source == "shipped"
    with pytest.raises(ValueError, match=r"Expected .*Received: .*keras_upsampling\.json"):
        config.set_rates(path)
    assert rates_of(*HERE).source == "shipped"  # a refused file changes nothing


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_written_anew(path, damage):
    content = DAMAGES[damage]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if damage == "another format":
        before = path.read_bytes()
        with pytest.raises(ValueError, match="format 0, but this version reads 1"):
            write(path, tuned(dtype="float64"))
        assert path.read_bytes() == before
    else:
        write(path, tuned(dtype="float64"))
        assert [entry.key for entry in read(path)[0]] == [tuned(dtype="float64").key]
        assert len(json.loads(path.read_text())["rates"]) == 1  # what cannot be used is gone


def test_entries_of_other_backends_are_kept_as_they_are(path):
    """They count work by other methods, so their checksum is another."""
    content = json.loads(with_changes(path, [tuned(engine="another"), tuned(dtype="float64")], []))
    for record in content["rates"]:
        record.update(counting="0", more=1)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"the rates of another, .* are of another backend"):
        config.set_rates(path)
    write(path, tuned())
    kept, saved = json.loads(path.read_text())["rates"]
    assert kept == content["rates"][0]
    assert saved["dtype"] == "float32"
    config.set_rates(path)
    assert rates_of(*HERE).source == str(path)


def test_a_file_that_cannot_be_read_is_not_overwritten(path):
    path.mkdir()
    with pytest.raises(ValueError, match="not a regular file"):
        with_changes(path, [tuned()], [])
    path.rmdir()
    path.symlink_to(path)  # a link in a circle
    with pytest.raises(OSError, match="symbolic links"):
        with_changes(path, [tuned()], [])


@given(st.binary(max_size=40), st.integers(0, len(GOOD)), st.integers(0, 40))
@example(b"1e999", GOOD.index("1.0"), 3)
def test_no_damage_raises(tmp_path_factory, inserted, start, removed):
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    content = GOOD.encode()
    path.write_bytes(content[:start] + inserted + content[start + removed :])
    try:
        entries, _ = read(path)
    except ValueError:
        return
    for entry in entries:
        assert all(
            0 <= rate < float("inf")
            for pass_rates in entry.rates.values()
            for rate in pass_rates.values()
        )


def test_whatever_stands_in_the_place_of_the_file(path):
    path.mkdir()
    assert rates_of(*HERE).source == "shipped"
    path.rmdir()
    for make in (os.mkfifo, lambda path: path.symlink_to(path), lambda path: path.touch(0)):
        make(path)
        config.set_rates(None)
        assert rates_of(*HERE).source == "shipped"
        with pytest.raises(ValueError, match="Expected a file written by"):
            config.set_rates(path)
        path.unlink()
    with path.open("wb") as file:
        file.truncate(10**9)
    assert rates_of(*HERE).source == "shipped"


def test_changes_keep_other_entries(path):
    write(path, tuned(), tuned(dtype="float64"))
    write(path, tuned(device="another"))
    write(path, tuned("product"))
    entries, problems = read(path)
    assert not problems
    assert {entry.key: entry.rates["forward"]["product"] for entry in entries} == {
        tuned(dtype="float64").key: 0,
        tuned(device="another").key: 0,
        tuned().key: 1,
    }
    write(path, forgotten=[tuned().key])
    assert len(read(path)[0]) == 2
    path.write_text("damaged")
    write(path, tuned())
    assert [entry.key for entry in read(path)[0]] == [tuned().key]


def test_one_bad_entry_does_not_spoil_the_others(path):
    write(path, tuned(), tuned(dtype="float64"))
    content = json.loads(path.read_text())
    content["rates"][1]["forward"] = {}
    path.write_text(json.dumps(content))
    for source in (None, path):
        config.set_rates(source)
        assert rates_of(*HERE).source == str(path)
        assert rates_of(BACKEND, "cpu", "float64") is None
    content["rates"] = content["rates"][1:]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"the rates of .*, float64 are not those of every kind"):
        config.set_rates(path)


def test_lookup_goes_from_the_device_to_its_kind(path, monkeypatch):
    names = {"gpu:0": "one model", "gpu:1": "another model", "cpu": "a processor"}
    monkeypatch.setattr(devices, "device_name", names.__getitem__)
    write(path, tuned("product", device="another model"))
    config.set_rates(None)

    def source(device):
        found = rates_of(BACKEND, device, "float32")
        return found and found.source

    assert [source(device) for device in names] == [None, str(path), "shipped"]
    # Once rates of a GPU ship, they serve every GPU without rates of its own.
    for_gpus = {**shipped_rates(), (BACKEND, "gpu", "float32"): tuned(source="shipped")}
    monkeypatch.setattr(known_rates, "shipped_rates", lambda: for_gpus)
    config.set_rates(None)
    assert [source(device) for device in names] == ["shipped", str(path), "shipped"]


def test_a_gpu_without_rates_upsamples_first(path, monkeypatch):
    monkeypatch.setattr("keras_upsampling.ops._upsample_conv.choice.device_of", lambda _: "gpu:0")
    monkeypatch.setattr(devices, "device_name", lambda _: "a GPU")
    assert chosen((4, 32, 32, 256)) == ("resize", "resize")
    write(path, tuned("convolution", device="a GPU"))
    config.set_rates(None)
    assert chosen((4, 32, 32, 256)) != ("resize", "resize")


@pytest.mark.parametrize("case", ["as set", "a user's", "not writable"])
def test_keras_finds_its_home_in_the_same_way(monkeypatch, tmp_path, case):
    monkeypatch.setenv("HOME", str(tmp_path))
    if case == "as set":
        monkeypatch.setenv("KERAS_HOME", "~/elsewhere")
    else:
        monkeypatch.delenv("KERAS_HOME", raising=False)
    if case == "not writable":
        monkeypatch.setattr(os, "access", lambda *_: False)
    # Keras finds its home when it is imported, so its module is run once more.
    source = Path(keras_config.__file__).read_text()
    names = {"__name__": keras_config.__name__}
    with monkeypatch.context() as patch:
        patch.setattr(os, "makedirs", lambda *_, **__: None)  # nothing is written to /tmp
        patch.setattr(builtins, "open", lambda *_: io.StringIO())
        exec(source, names)
    home = Path(names["keras_home"]()).expanduser()
    assert rate_file.default_path() == home / "keras_upsampling.json"
    expected = {"as set": tmp_path / "elsewhere", "a user's": tmp_path / ".keras"}
    assert home == expected.get(case, Path("/tmp/.keras"))


def test_devices_have_names():
    assert devices.device_of(ops.zeros(1)) == "cpu"
    assert devices.devices_to_measure() == ["cpu"]
    assert devices.device_name("cpu").endswith(f", {os.cpu_count()} cores")
    assert devices.backend_version().split("+")[0].count(".") >= 1


def tensor_on(kind, index=None):
    """The attributes of a tensor that tell its device on PyTorch."""
    return SimpleNamespace(device=SimpleNamespace(type=kind, index=index))


def test_only_cuda_and_rocm_are_gpus(monkeypatch):
    if BACKEND == "torch":
        assert devices.device_of(tensor_on("cuda", 2)) == "gpu:2"
        assert devices.device_of(tensor_on("mps")) == "mps:0"
        assert devices.device_name("mps:0") == "MPS"
        return
    names = ["gpu:0", "gpu:1"]
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: names)
    if BACKEND == "tensorflow":
        for built, kind in ((True, "gpu"), (False, "pluggable")):
            monkeypatch.setattr(devices.tf.test, "is_built_with_gpu_support", lambda: built)  # noqa: B023
            assert devices.device_of(None) == f"{kind}:0"
        assert devices.device_name("pluggable:0") == "PLUGGABLE"
    else:
        assert devices.device_of(None) == "gpu:0"
    names[:] = ["TPU:0"]
    assert devices.device_of(None) == "tpu:0"


@pytest.mark.usefixtures("path")
def test_other_accelerators_have_no_shipped_rates(monkeypatch):
    for_gpus = {**shipped_rates(), (BACKEND, "gpu", "float32"): tuned(source="shipped")}
    monkeypatch.setattr(known_rates, "shipped_rates", lambda: for_gpus)
    config.set_rates(None)
    assert rates_of(BACKEND, "gpu:0", "float32")
    for kind in ("tpu", "mps", "xpu", "pluggable"):
        assert rates_of(BACKEND, f"{kind}:0", "float32") is None


def test_what_keras_computes_on_is_measured(monkeypatch):
    if BACKEND == "torch":  # as KERAS_TORCH_DEVICE=cpu on a machine with GPUs
        monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 3)
    assert devices.devices_to_measure() == ["cpu"]
    monkeypatch.setattr(devices, "device_of", lambda _: "tpu:0")
    assert devices.devices_to_measure() == ["tpu:0"]


def test_on_pytorch_one_gpu_of_each_name_is_measured(monkeypatch):
    if BACKEND == "torch":
        monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 3)
    names = {"gpu:0": "one", "gpu:1": "one", "gpu:2": "another"}
    monkeypatch.setattr(devices, "device_name", names.__getitem__)
    monkeypatch.setattr(devices, "device_of", lambda _: "gpu:1")
    expected = ["gpu:1", "gpu:2"] if BACKEND == "torch" else ["gpu:1"]
    assert devices.devices_to_measure() == expected
