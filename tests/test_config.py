"""The settings of the choice: which rates are in use, and time or memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_upsampling import config
from keras_upsampling.bench.cases import Case
from keras_upsampling.ops import devices
from keras_upsampling.ops._upsample_conv import known_rates
from keras_upsampling.ops._upsample_conv.choice import METHODS, cheapest, possible
from tests.backends import BACKEND
from tests.ops.test_choice import HERE, chosen, random_rates, replaced_rates
from tests.ops.test_known_rates import tuned, write
from tests.ops.test_work import cases

SHAPE = (4, 32, 32, 64)


@pytest.fixture(autouse=True)
def _defaults():
    yield
    config.set_rates(None)
    config.set_preference("time")


def test_rates_say_where_they_come_from(tmp_path):
    shipped = config.rates()
    engines = {entry.engine for entry in shipped.sets}
    assert engines == ({"tensorflow", "tensorflow-xla"} if BACKEND == "tensorflow" else {BACKEND})
    assert {entry.source for entry in shipped.sets} == {"shipped"}
    assert all("bench --random" in entry.command for entry in shipped.sets)
    assert (BACKEND, devices.device_name("cpu"), "float64") in shipped.missing
    path = tmp_path / "rates.json"
    write(path, tuned(), tuned(dtype="bfloat16"))
    config.set_rates(path)
    used = config.rates()
    assert [entry.dtype for entry in used.sets if entry.source == str(path)] == [
        "float32",
        "bfloat16",
    ]
    lines = str(used).splitlines()
    assert sum(str(path) in line and "a command" in line for line in lines) == 2
    assert "upsampled, then convolved" in lines[-1]
    assert "float64" in lines[-1]


def test_a_named_file_is_used_at_once_and_shipped_rates_on_request(tmp_path, monkeypatch):
    path = tmp_path / "rates.json"
    before = chosen(SHAPE)
    write(path, tuned("product"))
    config.set_rates(str(path))
    assert chosen(SHAPE)[0] in ("resize", "phases")
    write(path, tuned("convolution"))
    config.set_rates(path)
    assert chosen(SHAPE)[0] in ("one_product", "matrices")
    config.set_rates("shipped")
    assert chosen(SHAPE) == before
    monkeypatch.setattr(known_rates, "default_path", lambda: path)
    config.set_rates("shipped")
    assert rates_source() == "shipped"
    config.set_rates(None)
    assert rates_source() == str(path)


def rates_source():
    return next(entry.source for entry in config.rates().sets if entry.engine == BACKEND)


def test_files_that_cannot_be_used_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"Received: .*nothing\.json \(No such file"):
        config.set_rates(tmp_path / "nothing.json")
    path = tmp_path / "rates.json"
    write(path, tuned(version="0.0"))
    with pytest.raises(ValueError, match=rf"Expected rates of {BACKEND} .* \({BACKEND} 0\.0 "):
        config.set_rates(path)
    for source in (b"rates.json", 1, True):
        with pytest.raises(TypeError, match=r"must be the path of a file, 'shipped' or None"):
            config.set_rates(source)
    with pytest.raises(ValueError, match=r"must be 'time' or 'memory'. Received: 'speed'"):
        config.set_preference("speed")
    assert config.preference() == "time"


@given(case=cases(), data=st.data())
def test_memory_counts_before_time(case, data):
    rates = random_rates(data.draw)
    names = possible(case.task, case.task_shape)
    works = {name: METHODS[name].work(case.task, case.task_shape) for name in names}

    def cost(name, *passes):
        return sum(n * rates[p].get(kind, 0) for p in passes for kind, n in works[name].items())

    with replaced_rates({HERE: rates}):
        pair = cheapest(names, case.task, case.task_shape, (HERE,), True, "memory")
    passes = [("forward",), ("backward",)]
    if BACKEND == "torch":
        passes = [("forward", "backward")] * 2
    for name, pass_names in zip(pair, passes, strict=True):
        kind = "held in training" if "backward" in pass_names else "held"
        least = min(work[kind] for work in works.values())
        frugal = [name for name in names if works[name][kind] == least]
        assert works[name][kind] == least
        lowest = min(cost(candidate, *pass_names) for candidate in frugal)
        assert cost(name, *pass_names) == pytest.approx(lowest)


def test_the_preference_holds_for_the_next_choice():
    case = Case(4, (32, 32), 64, 64, 2, 3, "nearest", "float32")

    def held(name):
        return METHODS[name].work(case.task, case.task_shape)["held"]

    config.set_preference("memory")
    assert config.preference() == "memory"
    frugal = chosen(SHAPE)
    assert [held(name) for name in frugal] == [min(map(held, METHODS))] * 2
    # In half precision, products take float32: twice the bytes of a value.
    names = possible(case.task, case.task_shape)
    products = case._replace(size=4)
    work = {name: METHODS[name].work(products.task, products.task_shape)["held"] for name in names}
    assert work["one_product"] < work["phases"] < 2 * work["one_product"]
    for dtype, expected in (("float32", "one_product"), ("bfloat16", "phases")):
        machine = ((BACKEND, "cpu", dtype),)
        only = ("one_product", "phases")
        pair = cheapest(only, products.task, products.task_shape, machine, False, "memory")
        assert pair[0] == expected
    # Amounts of memory need no rates.
    assert held(chosen(SHAPE, "float64")[0]) == min(map(held, METHODS))
    config.set_preference("time")
    assert chosen(SHAPE, "float64") == ("resize", "resize")
