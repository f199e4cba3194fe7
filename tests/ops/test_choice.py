"""The chosen method has the lowest estimated time."""

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
from keras_upsampling.bench.measurements import read_measurements
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

# Measured times of every method for random cases, and the choice of the former thresholds.
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


def random_rates(draw):
    return {
        name: {kind: draw(st.floats(0, 1)) for kind in KINDS} for name in ("forward", "backward")
    }


@contextlib.contextmanager
def replaced_rates(machines):
    """Replace the rates of the package."""
    with pytest.MonkeyPatch.context() as patch:
        sets = {machine: SimpleNamespace(rates=rates) for machine, rates in machines.items()}
        patch.setattr(choice, "rates_of", lambda *machine: sets.get(machine))
        choice.cheapest.cache_clear()
        yield
    choice.cheapest.cache_clear()


@given(case=cases(), data=st.data())
def test_the_choice_has_the_lowest_cost(case, data):
    rates = random_rates(data.draw)
    names = possible(case.task, case.task_shape)

    def cost(name, *passes):
        work = METHODS[name].work(case.task, case.task_shape)
        return sum(
            number * rates[pass_name][kind] for pass_name in passes for kind, number in work.items()
        )

    with replaced_rates({HERE: rates}):
        for with_gradients in (False, True):
            pair = cheapest(names, case.task, case.task_shape, (HERE,), with_gradients)
            passes = [("forward",), ("backward",)]
            if BACKEND == "torch":  # one method runs both passes
                passes = [("forward", "backward") if with_gradients else ("forward",)] * 2
            for name, pass_names in zip(pair, passes, strict=True):
                lowest = min(cost(candidate, *pass_names) for candidate in names)
                assert cost(name, *pass_names) == pytest.approx(lowest)


def fake_tensor(shape, dtype="float32"):
    # The attributes that the choice reads.
    device = SimpleNamespace(type="cpu")
    return SimpleNamespace(shape=shape, dtype=dtype, device=device, requires_grad=False)


def chosen(shape, dtype="float32", filters=64, size=2, interpolation="nearest"):
    rank = len(shape) - 2
    case = Case(1, (9,) * rank, shape[-1], filters, size, 3, interpolation, dtype)
    kernel = fake_tensor((*(3,) * rank, shape[-1], filters))
    return tuple(method.name for method in choose(fake_tensor(shape, dtype), kernel, case.task))


def test_unmeasured_cases_are_upsampled_first(monkeypatch):
    shape, default = (4, 32, 32, 256), ("resize", "resize")
    assert chosen(shape) != default
    assert chosen(shape, "bfloat16") != default
    assert chosen(shape, "float64") == default
    assert chosen(shape, size=1) == default
    monkeypatch.setattr(choice, "device_of", lambda _: "gpu:0")
    assert chosen(shape) == default
    monkeypatch.undo()
    monkeypatch.setattr(choice, "engines", lambda: (BACKEND, "another"))
    assert chosen(shape) == default


def test_unknown_lengths_are_assumed_to_be_typical():
    case = Case(1, (9, 9), 8, 8, 2, 3, "nearest", "float32")
    free = dict.fromkeys(KINDS, 0.0)
    shapes = []

    def work(_, shape):
        shapes.append((shape.batch, shape.spatial))
        return free

    spied = {name: replace(method, work=work) for name, method in METHODS.items()}
    with pytest.MonkeyPatch.context() as patch, replaced_rates({HERE: dict.fromkeys(PASSES, free)}):
        patch.setattr(choice, "METHODS", spied)
        shape = case.task_shape._replace(batch=None, spatial=(None, 7))
        cheapest(("resize",), case.task, shape, (HERE,), False)
    assert set(shapes) == {(32, (32, 7))}
    # Borders cannot be computed separately there, so fewer methods support the task.
    assert set(chosen((None, None, None, 64), interpolation="cubic")) <= {"resize", "one_product"}


def test_with_two_possible_engines_the_sum_counts():
    case = Case(2, (16, 16), 8, 8, 2, 3, "nearest", "float32")
    free, other_machine = dict.fromkeys(KINDS, 0.0), (BACKEND, "cpu", "other")
    work = {name: METHODS[name].work(case.task, case.task_shape) for name in METHODS}
    # Convolutions are costly on the first machine, products even more so on the second.
    costly = {HERE: "convolution", other_machine: "product"}
    rates = {
        machine: dict.fromkeys(PASSES, free | {kind: scale})
        for (machine, kind), scale in zip(costly.items(), (1.0, 100.0), strict=True)
    }
    with replaced_rates(rates):
        for machines in ((HERE,), (other_machine,), (HERE, other_machine)):
            chosen = cheapest(tuple(METHODS), case.task, case.task_shape, machines, False)[0]
            costs = {
                name: sum(seconds(work[name], rates[machine]["forward"]) for machine in machines)
                for name in METHODS
            }
            assert costs[chosen] == min(costs.values())


def test_programs_for_onnx_upsample_first(monkeypatch):
    case = Case(2, (16, 16), 8, 8, 2, 3, "nearest", "float32")
    assert len(possible(case.task, case.task_shape)) == len(METHODS)
    monkeypatch.setattr(method_module, "traced_for_onnx", lambda: True)
    assert possible(case.task, case.task_shape) == ("resize",)


@pytest.mark.skipif(BACKEND != "torch", reason="other backends do not record tensors")
def test_gradients_count_where_they_are_recorded():
    import torch

    free, costly = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 1.0)
    rates = {
        "forward": free | {"convolution": 1.0},
        "backward": costly | {"convolution": 0.0},
    }
    with replaced_rates({HERE: rates}):
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


@pytest.mark.skipif(BACKEND != "tensorflow", reason="other backends have one engine")
def test_engines_are_detected_on_tensorflow(monkeypatch):
    import tensorflow as tf

    recorded = []

    def spy(x):
        recorded.append(devices.engines())
        return x

    spy(ops.ones(1))
    for compiled in (None, True):
        inner = tf.function(spy)
        tf.function(lambda x, inner=inner: inner(x), jit_compile=compiled)(ops.ones(1))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(spy)])
    count = len(recorded)
    for compiled in (False, True):
        model.compile(loss="mse", jit_compile=compiled)
        model.predict(ops.ones((2, 1)), verbose=0)
    assert recorded[:3] == [("tensorflow",), ("tensorflow",), ("tensorflow-xla",)]
    assert recorded[count:] == [("tensorflow",), ("tensorflow-xla",)]
    # If a later TensorFlow lacks this private name, both engines are returned.
    monkeypatch.setattr(devices, "GraphOrParentsInXlaContext", None)
    tf.function(lambda x: spy(x))(ops.ones(1))
    assert recorded[-1] == ("tensorflow", "tensorflow-xla")


def test_rates_record_how_they_were_measured():
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
def test_choices_are_faster_than_the_former_thresholds(engine):
    if engine.split("-")[0] != BACKEND:
        pytest.skip("the supported methods may differ between backends")
    (measured,) = [
        read_measurements(json.dumps(entry))[0]
        for entry in json.loads(STORED.read_text())
        if entry["engine"] == engine
    ]
    gains = {FORWARD: [], STEP: []}
    forward_seconds = {c.case: c.seconds for c in measured.choices if c.pass_name == FORWARD}
    for measurement in measured.choices:
        case = measurement.case
        forward, backward = cheapest(
            possible(case.task, case.task_shape),
            case.task,
            case.task_shape,
            ((engine, "cpu", "float32"),),
            measurement.pass_name == STEP,
        )
        duration = measurement.seconds[forward]
        if measurement.pass_name == STEP:  # the gradient of one method after another's forward pass
            forward_only = forward_seconds[case]
            backward_only = max(0.0, measurement.seconds[backward] - forward_only[backward])
            duration = forward_only[forward] + backward_only
        gains[measurement.pass_name].append(measurement.seconds["chosen"] / duration)
    for name, pass_gains in gains.items():
        assert len(pass_gains) >= 20
        assert statistics.geometric_mean(pass_gains) > 1, name


def test_every_method_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "one_step.md").read_text()
    assert all(f"| `{name}` |" in page for name in METHODS)
