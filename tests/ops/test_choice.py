"""The method that is taken is the one with the least seconds, and work is counted as it is done."""

import contextlib
import json
import statistics
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.choosing import Measurements
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.ops import devices
from keras_upsampling.ops._upsample_conv import choice
from keras_upsampling.ops._upsample_conv import method as method_module
from keras_upsampling.ops._upsample_conv.choice import (
    METHODS,
    PASSES,
    cheapest,
    choose,
    possible,
    seconds,
)
from tests.backends import BACKEND
from tests.ops.test_work import cases

# Every method of seeded random cases, and what was chosen by hand-set thresholds before.
STORED = Path(__file__).parent.parent / "data" / "methods.json"

HERE = (BACKEND, "cpu", "float32")
KINDS = sorted(
    {
        kind
        for interpolation in ("nearest", "linear")
        for method in METHODS.values()
        for kind in method.work(
            Case(2, (16, 16), 4, 4, 2, 3, interpolation, "float32").task,
            Case(2, (16, 16), 4, 4, 2, 3, interpolation, "float32").task_shape,
        )
    }
)


def made_up_rates(draw):
    return {
        name: {kind: draw(st.floats(0, 1)) for kind in KINDS} for name in ("forward", "backward")
    }


@contextlib.contextmanager
def rates_of(machines):
    """Other rates than those that the package has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "shipped_rates", lambda: machines)
        choice.cheapest.cache_clear()
        yield
    choice.cheapest.cache_clear()


@given(case=cases(), data=st.data())
def test_the_choice_is_the_least_cost(case, data):
    rates = made_up_rates(data.draw)
    names = possible(case.task, case.task_shape)

    def cost(name, *passes):
        work = METHODS[name].work(case.task, case.task_shape)
        return sum(number * rates[of][kind] for of in passes for kind, number in work.items())

    with rates_of({HERE: rates}):
        for with_gradients in (False, True):
            pair = cheapest(names, case.task, case.task_shape, (HERE,), with_gradients)
            passes = [("forward",), ("backward",)]
            if BACKEND == "torch":  # one goes both ways
                passes = [("forward", "backward") if with_gradients else ("forward",)] * 2
            for name, of in zip(pair, passes, strict=True):
                least = min(cost(other, *of) for other in names)
                assert cost(name, *of) == pytest.approx(least)


def like_a_tensor(shape, dtype="float32"):
    # No more of it is looked at.
    device = SimpleNamespace(type="cpu")
    return SimpleNamespace(shape=shape, dtype=dtype, device=device, requires_grad=False)


def chosen(shape, dtype="float32", filters=64, size=2, interpolation="nearest"):
    rank = len(shape) - 2
    case = Case(1, (9,) * rank, shape[-1], filters, size, 3, interpolation, dtype)
    kernel = like_a_tensor((*(3,) * rank, shape[-1], filters))
    return tuple(method.name for method in choose(like_a_tensor(shape, dtype), kernel, case.task))


def test_what_was_not_measured_is_enlarged_first(monkeypatch):
    shape, careful = (4, 32, 32, 256), ("resize", "resize")
    assert chosen(shape) != careful
    for dtype in ("float16", "bfloat16"):
        assert chosen(shape, dtype) == careful
    assert chosen(shape, size=1) == careful
    monkeypatch.setattr(choice, "on_cpu", lambda _: False)
    assert chosen(shape) == careful
    monkeypatch.undo()
    monkeypatch.setattr(choice, "engines", lambda: (BACKEND, "another"))
    assert chosen(shape) == careful


def test_open_lengths_are_taken_for_typical_ones():
    case = Case(1, (9, 9), 8, 8, 2, 3, "nearest", "float32")
    free = dict.fromkeys(KINDS, 0.0)
    asked = []

    def work(*of):
        asked.append((of[1].batch, of[1].spatial))
        return free

    spied = {name: replace(method, work=work) for name, method in METHODS.items()}
    with pytest.MonkeyPatch.context() as patch, rates_of({HERE: dict.fromkeys(PASSES, free)}):
        patch.setattr(choice, "METHODS", spied)
        shape = case.task_shape._replace(batch=None, spatial=(None, 7))
        cheapest(("resize",), case.task, shape, (HERE,), False)
    assert set(asked) == {(32, (32, 7))}
    # Their borders cannot be computed separately, so fewer methods can.
    assert set(chosen((None, None, None, 64), interpolation="cubic")) <= {"resize", "one_product"}


def test_where_two_engines_may_run_it_the_sum_counts():
    case = Case(2, (16, 16), 8, 8, 2, 3, "nearest", "float32")
    free, there = dict.fromkeys(KINDS, 0.0), (BACKEND, "cpu", "other")
    work = {name: METHODS[name].work(case.task, case.task_shape) for name in METHODS}
    # On one, convolutions are dear, on the other products, and more so.
    dear = {HERE: "convolution", there: "product"}
    rates = {
        machine: dict.fromkeys(PASSES, free | {kind: scale})
        for (machine, kind), scale in zip(dear.items(), (1.0, 100.0), strict=True)
    }
    with rates_of(rates):
        for machines in ((HERE,), (there,), (HERE, there)):
            chosen = cheapest(tuple(METHODS), case.task, case.task_shape, machines, False)[0]
            costs = {
                name: sum(seconds(work[name], rates[machine]["forward"]) for machine in machines)
                for name in METHODS
            }
            assert costs[chosen] == min(costs.values())


def test_programs_for_onnx_enlarge_first(monkeypatch):
    case = Case(2, (16, 16), 8, 8, 2, 3, "nearest", "float32")
    assert len(possible(case.task, case.task_shape)) == len(METHODS)
    monkeypatch.setattr(method_module, "traced_for_onnx", lambda: True)
    assert possible(case.task, case.task_shape) == ("resize",)


@pytest.mark.skipif(BACKEND != "torch", reason="others differentiate a function")
def test_gradients_count_where_they_are_recorded():
    import torch

    free, dear = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 1.0)
    rates = {
        "forward": free | {"convolution": 1.0},
        "backward": dear | {"convolution": 0.0},
    }
    with rates_of({HERE: rates}):
        case = Case(1, (16, 16), 4, 4, 2, 3, "nearest", "float32")
        x, kernel = torch.ones(case.input_shape), torch.ones(3, 3, 4, 4)
        assert (
            choose(x, kernel, case.task)[0].name == "one_product"
        )  # the first without a convolution
        kernel.requires_grad_()
        both = choose(x, kernel, case.task)
        assert both[0] == both[1]
        costs = {
            name: seconds(METHODS[name].work(case.task, case.task_shape), *rates.values())
            for name in possible(case.task, case.task_shape)
        }
        assert both[0].name == min(costs, key=costs.get)
        with torch.no_grad():
            assert choose(x, kernel, case.task)[0].name == "one_product"


@pytest.mark.skipif(BACKEND != "tensorflow", reason="others have one engine")
def test_tensorflow_knows_what_will_run_it(monkeypatch):
    import tensorflow as tf

    seen = []

    def spy(x):
        seen.append(devices.engines())
        return x

    spy(ops.ones(1))
    for compiled in (None, True):
        inner = tf.function(spy)
        tf.function(lambda x, inner=inner: inner(x), jit_compile=compiled)(ops.ones(1))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(spy)])
    seen_before = len(seen)
    for compiled in (False, True):
        model.compile(loss="mse", jit_compile=compiled)
        model.predict(ops.ones((2, 1)), verbose=0)
    assert seen[:3] == [("tensorflow",), ("tensorflow",), ("tensorflow-xla",)]
    assert seen[seen_before:] == [("tensorflow",), ("tensorflow-xla",)]
    # Private, it may be gone one day: then what both take counts.
    monkeypatch.setattr(devices, "GraphOrParentsInXlaContext", None)
    tf.function(lambda x: spy(x))(ops.ones(1))
    assert seen[-1] == ("tensorflow", "tensorflow-xla")


def test_rates_say_where_they_come_from():
    records = json.loads((Path(choice.__file__).parent / "rates.json").read_text())
    assert {record["engine"] for record in records} == {
        "tensorflow",
        "tensorflow-xla",
        "jax",
        "torch",
    }
    for record in records:
        assert record["command"].startswith("python -m keras_upsampling bench --random")
        assert {"processor", "Keras"} <= record["facts"].keys()
        for name in ("forward", "backward"):
            assert record[name].keys() <= set(KINDS)
            assert all(rate > 0 for rate in record[name].values())


@pytest.mark.parametrize("engine", ["tensorflow", "tensorflow-xla", "jax", "torch"])
def test_stored_measurements_are_quicker_than_by_thresholds(engine):
    if engine.split("-")[0] != BACKEND:
        pytest.skip("what a method can do may differ")
    (measured,) = [
        Measurements.from_json(json.dumps(one))
        for one in json.loads(STORED.read_text())
        if one["engine"] == engine
    ]
    gains = {FORWARD: [], STEP: []}
    forward_seconds = {c.case: c.seconds for c in measured.choices if c.pass_name == FORWARD}
    for one in measured.choices:
        forward, backward = cheapest(
            possible(one.case.task, one.case.task_shape),
            one.case.task,
            one.case.task_shape,
            ((engine, "cpu", "float32"),),
            one.pass_name == STEP,
        )
        took = one.seconds[forward]
        if one.pass_name == STEP:  # the gradients of one, after the forward pass of another
            others = forward_seconds[one.case]
            backwards = max(0.0, one.seconds[backward] - others[backward])
            took = others[forward] + backwards
        gains[one.pass_name].append(one.seconds["chosen"] / took)
    for name, of_pass in gains.items():
        assert len(of_pass) >= 20
        assert statistics.geometric_mean(of_pass) > 1, name


def test_every_method_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "one_step.md").read_text()
    assert all(f"| `{name}` |" in page for name in METHODS)
