"""`tune` finds the rates of a machine whose times are known, and saves them if they are better."""

import contextlib
import json
import math
import statistics
import sys

import keras
import numpy as np
import pytest

from keras_upsampling import __main__ as command_line
from keras_upsampling import config
from keras_upsampling.bench import report, tuning, tuning_report
from keras_upsampling.bench.choosing import Choice
from keras_upsampling.bench.fitting import relative_work
from keras_upsampling.bench.random_cases import random_cases
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.commands import tune
from keras_upsampling.ops import devices
from keras_upsampling.ops._upsample_conv import known_rates
from keras_upsampling.ops._upsample_conv.choice import METHODS, possible, seconds
from keras_upsampling.ops._upsample_conv.known_rates import rates_of, shipped_rates
from keras_upsampling.ops._upsample_conv.methods import kinds
from keras_upsampling.ops._upsample_conv.rate_file import read
from tests.backends import BACKEND
from tests.ops.test_known_rates import tuned, write
from tests.test_bench_choice import RATES

HERE = (BACKEND, "cpu", "float32")
# On a GPU, Keras turns XLA on by itself.
ENGINES = ("tensorflow", "tensorflow-xla") if BACKEND == "tensorflow" else (BACKEND,)
SHIPPED = shipped_rates()[HERE].rates


def duration(case, rates, forward, backward=None):
    """The time of a forward pass, or with `backward` of a training step, on a known machine."""

    def work(name):
        return METHODS[name].work(case.task, case.task_shape)

    gradients = seconds(work(backward), rates["backward"]) if backward else 0.0
    return seconds(work(forward), rates["forward"]) + gradients


def times(case, rates, noise=0.0):
    """What measuring all methods of a case finds on a known machine."""
    rng = np.random.default_rng(case.channels)
    return [
        Choice(
            case,
            pass_name,
            "",
            {
                name: duration(case, rates, name, name if pass_name == STEP else None)
                * rng.uniform(1 - noise, 1 + noise)
                for name in possible(case.task, case.task_shape)
            },
        )
        for pass_name in (FORWARD, STEP)
    ]


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The file of tuned rates, in a home folder that does not exist yet."""
    path = tmp_path / "home" / "keras_upsampling.json"
    for module in (tune, known_rates):
        monkeypatch.setattr(module, "default_path", lambda: path)
    monkeypatch.setattr(tune, "_MOST_CASES", 12)
    yield path
    monkeypatch.undo()
    config.set_rates(None)


@pytest.fixture
def machine(monkeypatch):
    """Return a function that replaces the machine by one with known rates."""

    def replace(rates):
        def time_layers(case, layers, *_):
            return {
                pass_name: {
                    pair: duration(
                        case,
                        rates,
                        pair.split("/")[0],
                        pair.split("/")[1] if pass_name == STEP else None,
                    )
                    for pair in group
                }
                for pass_name, group in layers.items()
            }

        monkeypatch.setattr(tune, "measure_methods", lambda case, *_: times(case, rates))
        monkeypatch.setattr(tuning_report, "time_layers", time_layers)

    return replace


def loss(chosen_by, rates):
    """How much longer the methods take that some rates choose, than those of the true rates."""

    def logarithm(case, used):
        pair = times(case, rates)
        return tuning.time_of_choice(pair, used, BACKEND)

    cases = random_cases(30, 9, work="tune")
    return statistics.mean(logarithm(case, chosen_by) - logarithm(case, rates) for case in cases)


def test_the_rates_of_another_machine_are_recovered_and_used(path, machine, tmp_path, capsys):
    machine(RATES)
    figures = tmp_path / "figures.json"
    assert command_line.main(["tune", "--json", str(figures)]) == 0
    printed = capsys.readouterr()
    assert f"Rates of {' '.join(tuned().key)} saved to {path}" in printed.err
    assert "kept" in printed.out
    assert "12 cases measured" in printed.out
    assert printed.out.count("| geometric mean") == 2
    config.set_rates(None)
    found = rates_of(*HERE)
    assert (found.source, found.cases, found.key[2]) == (
        str(path),
        12,
        devices.device_name("cpu"),
    )
    assert found.command == "python -m keras_upsampling tune --dtype float32"
    assert loss(SHIPPED, RATES) > 0.05
    assert loss(found.rates, RATES) < 0.01
    (record,) = json.loads(figures.read_text())
    assert record["saved"]
    assert record["gain"] > 1
    assert len(record["standard"]) == 2 * len(tuning_report.STANDARD["cpu"])
    for row in record["standard"]:  # the known machine, measured
        shipped, new = row["gains"]
        assert new >= shipped * 0.99


def test_rates_that_are_no_better_are_not_saved(path, machine, capsys):
    machine(SHIPPED)
    assert command_line.main(["tune"]) == 0
    assert "the shipped rates stay in use" in capsys.readouterr().out
    assert not path.exists()
    # What was tuned earlier is no better either.
    write(path, tuned(), tuned(dtype="float64"))
    assert command_line.main(["tune"]) == 0
    assert [entry.dtype for entry in read(path)[0]] == ["float64"]


def test_other_entries_are_kept_even_if_written_meanwhile(path, machine, monkeypatch):
    machine(RATES)
    compare = tune.compare

    def slow(*arguments):
        write(path, tuned(device="another"))
        return compare(*arguments)

    monkeypatch.setattr(tune, "compare", slow)
    assert command_line.main(["tune"]) == 0
    assert {entry.device for entry in read(path)[0]} == {
        "another",
        devices.device_name("cpu"),
    }


@pytest.mark.parametrize("limit", ["_MOST_CASES", "_SECONDS"])
def test_too_few_cases_are_an_error(path, machine, monkeypatch, capsys, limit):
    machine(RATES)
    monkeypatch.setattr(tune, limit, 5 if limit == "_MOST_CASES" else 0)
    assert command_line.main(["tune"]) == 1
    received = 5 if limit == "_MOST_CASES" else 0
    assert f"8 measured cases or more. Received: {received}." in capsys.readouterr().out
    assert not path.exists()


@pytest.mark.parametrize("last", [5, 20])
def test_an_interruption_keeps_what_is_finished(path, machine, monkeypatch, capsys, last):
    machine(RATES)
    done = []

    def measure(case, *_):
        if len(done) == last:
            raise KeyboardInterrupt
        done.append(case.dtype)
        return times(case, RATES)

    monkeypatch.setattr(tune, "measure_methods", measure)
    figures = path.parent.parent / "figures.json"
    arguments = ["tune", "--dtype", "float32", "float16", "--json", str(figures)]
    assert command_line.main(arguments) == 130
    printed = capsys.readouterr()
    if last == 5:
        assert "Interrupted. Finished before, and kept if better: nothing." in printed.err
        assert not path.exists()
        assert not figures.exists()
    else:  # after the first dtype
        assert set(done) == {"float32", "float16"}
        assert f"and kept if better: {' '.join(tuned().key)}." in printed.err
        assert [entry.dtype for entry in read(path)[0]] == ["float32"]
        assert [record["dtype"] for record in json.loads(figures.read_text())] == ["float32"]
        assert "kept" in printed.out


def test_rates_are_saved_even_if_nobody_reads_what_is_printed(path, machine, monkeypatch):
    machine(RATES)

    def publish(*_):
        raise BrokenPipeError

    monkeypatch.setattr(tune, "publish", publish)
    with contextlib.suppress(BrokenPipeError):
        command_line.main(["tune"])
    assert [entry.key for entry in read(path)[0]] == [tuned().key]


@pytest.mark.parametrize("failing", ["measure_methods", "compare"])
def test_errors_of_the_backend_are_told_and_the_other_dtypes_measured(
    path, machine, monkeypatch, capsys, failing
):
    machine(RATES)
    function = getattr(tune, failing)

    def fail(case, *rest):
        if case.dtype == "float16":
            raise TypeError("no such routine in float16")
        return function(case, *rest)

    monkeypatch.setattr(tune, failing, fail)
    assert command_line.main(["tune", "--dtype", "float16", "float32"]) == 1
    assert "Nothing was fitted: no such routine in float16" in capsys.readouterr().out
    assert [entry.dtype for entry in read(path)[0]] == ["float32"]


def test_a_file_of_a_later_version_is_an_error_before_anything_is_measured(
    path, monkeypatch, capsys
):
    monkeypatch.setattr(tune, "measure_methods", lambda *_: pytest.fail("measured"))
    path.parent.mkdir()
    path.write_text('{"format": 2, "rates": []}')
    assert command_line.main(["tune"]) == 2
    assert f"{path}: format 2, but this version reads 1; use the" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["SciPy", "the folder"])
def test_missing_requirements_are_errors_before_anything_is_measured(
    path, missing, monkeypatch, capsys
):
    if missing == "SciPy":
        monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    else:
        path.parent.touch()
    monkeypatch.setattr(tune, "measure_methods", lambda *_: pytest.fail("measured"))
    assert command_line.main(["tune"]) == 2
    message = "keras_upsampling[fit]" if missing == "SciPy" else "File exists"
    assert message in capsys.readouterr().err


def test_the_dtype_is_that_of_computations(path, machine):
    machine(RATES)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        command_line.main(["tune"])
    finally:
        keras.config.set_dtype_policy("float32")
    assert [entry.dtype for entry in read(path)[0]] == ["bfloat16"]


@pytest.fixture
def two_gpus(monkeypatch):
    """Two GPUs of different names; the list of those that `keras.device` was called for."""
    names = {"gpu:0": "one", "gpu:2": "another", "cpu": "a processor"}
    monkeypatch.setattr(devices, "devices_to_measure", lambda: ["gpu:0", "gpu:2"])
    for module in (devices, report):
        monkeypatch.setattr(module, "device_name", names.__getitem__)
    entered = []

    @contextlib.contextmanager
    def device(name):
        entered.append(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(report, "device_of", lambda _: name)
            yield

    monkeypatch.setattr(keras, "device", device)
    return entered


def test_every_accelerator_is_measured_where_it_is(path, machine, two_gpus):
    machine(RATES)
    assert command_line.main(["tune"]) == 0
    entries = read(path)[0]
    names = [(engine, name) for name in ("one", "another") for engine in ENGINES]
    assert [(entry.engine, entry.device) for entry in entries] == names
    assert [entry.facts["GPU"] for entry in entries] == [name for _, name in names]
    assert two_gpus == [device for device in ("gpu:0", "gpu:2") for _ in ENGINES]
    for entry in entries:  # the command repeats what was measured
        assert ("--jit-compile" in entry.command) == (entry.engine == "tensorflow-xla")


@pytest.mark.usefixtures("two_gpus", "path")
def test_what_a_gpu_measures_takes_longer_than_to_start_it(machine, monkeypatch):
    machine(RATES)
    measured, compare, measure = [], tune.compare, tune.measure_methods

    def spied(function):
        return lambda case, *rest: measured.append(case) or function(case, *rest)

    monkeypatch.setattr(tune, "measure_methods", spied(measure))
    monkeypatch.setattr(tune, "compare", spied(compare))
    command_line.main(["tune"])
    assert len(measured) == 2 * len(ENGINES) * (12 + 3)
    for case in measured:
        taps = case.kernel_size ** len(case.spatial)
        assert math.prod(case.output_shape) * case.channels * taps >= 1e9, case


def test_xla_is_tuned_on_tensorflow_only(path, machine, capsys):
    machine(RATES)
    code = command_line.main(["tune", "--jit-compile"])
    if BACKEND == "tensorflow":
        assert code == 0
        assert [entry.engine for entry in read(path)[0]] == ["tensorflow-xla"]
    else:
        assert code == 2
        assert "--jit-compile requires TensorFlow" in capsys.readouterr().err


def test_a_strong_prior_gives_the_shipped_rates_times_a_factor():
    choices = [choice for case in random_cases(10, 4, work="tune") for choice in times(case, RATES)]
    work = relative_work(choices)
    rates = tuning.by_pass(tuning.fit(work, SHIPPED, 1e9))
    factors = [
        rates[name][kind] / rate
        for name, pass_rates in SHIPPED.items()
        for kind, rate in pass_rates.items()
        if rate > 1e-11 and kind in rates[name]
    ]
    assert max(factors) / min(factors) < 1.01
    # Without a weight, the prior does not matter.
    without = tuning.fit(work, None, 0.0)
    assert np.array_equal(tuning.fit(work, SHIPPED, 0.0), without)


def test_noise_alone_does_not_replace_the_shipped_rates():
    choices = [
        choice
        for case in random_cases(16, 11, work="tune")
        for choice in times(case, SHIPPED, noise=0.15)
    ]
    result = tuning.tune(choices, SHIPPED, BACKEND)
    assert not tuning.is_better(result.gains)
    assert loss(result.rates, SHIPPED) < 0.05


def test_a_gain_within_twice_its_error_is_not_better():
    steady = [0.1, 0.2, 0.3, 0.2]  # mean 0.2, standard error 0.041
    assert tuning.is_better(steady)
    assert not tuning.is_better([gain - 0.13 for gain in steady])  # 1.7 errors
    assert not tuning.is_better([-gain for gain in steady])


def test_a_training_step_of_two_methods_is_put_together():
    case = random_cases(1, 0)[0]
    forward = {"resize": 4.0, "phases": 1.0}
    step = {"resize": 6.0, "phases": 9.0}
    pair = [Choice(case, FORWARD, "", forward), Choice(case, STEP, "", step)]
    free = {"forward": {"filtered": 0.0}, "backward": {}}
    assert tuning.time_of_choice(pair, None, "jax") == pytest.approx(np.log(4 * 6) / 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "methods_for", lambda *_: ["phases", "phases", "resize"])
        assert tuning.time_of_choice(pair, free, "jax") == pytest.approx(np.log(1 * 3) / 2)
        patch.setattr(tuning, "methods_for", lambda *_: ["resize", "phases", "phases"])
        assert tuning.time_of_choice(pair, free, "jax") == pytest.approx(np.log(4 * 9) / 2)


def test_measured_layers_compute_the_case_by_two_methods():
    case = random_cases(1, 0)[0]._replace(batch=1, spatial=(5, 5), channels=3, filters=2)
    layers = {
        "/".join(pair): tuning.upsample_conv_layer(case, *pair)
        for pair in (("resize", "resize"), ("phases", "resize"))
    }
    measured = tuning.time_layers(case, {FORWARD: layers, STEP: layers}, BACKEND, 1)
    assert {name: list(group) for name, group in measured.items()} == {
        FORWARD: list(layers),
        STEP: list(layers),
    }
    assert all(second > 0 for group in measured.values() for second in group.values())
    x = np.random.default_rng(0).normal(size=case.input_shape).astype("float32")
    plain, mixed = layers.values()
    mixed.set_weights(plain.get_weights())
    difference = keras.ops.convert_to_numpy(plain(x) - mixed(x))
    assert abs(difference).max() < 1e-5


def test_cases_are_judged_by_fits_without_them(monkeypatch):
    fitted, judged = [], []

    def fit(work, *_):
        fitted.append({row.tobytes() for row in work})
        return np.full(2 * len(kinds()), float(len(fitted)))  # tells which fit it was

    def time_of_choice(pair, rates, _):
        if rates is not None:
            rows = {row.tobytes() for row in relative_work(pair)}
            judged.append((rows, fitted[round(rates["forward"]["copied"]) - 1]))
        return 0.0

    monkeypatch.setattr(tuning, "fit", fit)
    monkeypatch.setattr(tuning, "time_of_choice", time_of_choice)
    cases = random_cases(9, 4, work="tune")
    tuning.tune([choice for case in cases for choice in times(case, RATES)], None, BACKEND)
    assert len(judged) == len(cases)
    assert not any(rows & others for rows, others in judged)
    assert len(fitted[-1]) == sum(len(rows) for rows, _ in judged)  # the last fit has all cases
