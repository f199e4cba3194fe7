"""Random cases, what is measured of them, and the rates that are fitted to it."""

import json
import math
import statistics
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_upsampling import __main__ as command_line
from keras_upsampling.bench import fitting, random_cases, timing
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.choosing import Choice, Measurements, report
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.commands import bench_choice
from keras_upsampling.ops._upsample_conv.choice import METHODS, PASSES, seconds
from tests.backends import BACKEND

SMALL = Case(2, (6, 6), 3, 2, 2, 3, "nearest", "float32")


@pytest.fixture
def small(monkeypatch):
    """Random cases that are measured in a moment."""
    monkeypatch.setattr(
        bench_choice,
        "random_cases",
        lambda count, seed, dtype, interpolations: [
            SMALL._replace(channels=1 + seed + i, dtype=dtype, interpolation=interpolations[0])
            for i in range(count)
        ],
    )
    monkeypatch.setattr(timing, "_SHORT", 1e-9)


@pytest.fixture
def rates_file(monkeypatch, tmp_path):
    path = tmp_path / "rates.json"
    path.write_text("[]")
    monkeypatch.setattr(bench_choice, "rates_file", lambda: path)
    return path


def test_random_cases_are_as_they_are_described():
    cases = random_cases.random_cases(200, 0)
    assert cases == random_cases.random_cases(200, 0)
    assert cases[:9] != random_cases.random_cases(9, 1)
    for case in cases:
        rank, enlarged = len(case.spatial), case.size ** len(case.spatial)
        work = math.prod(case.input_shape) * enlarged * case.kernel_size**rank * case.filters
        assert 2e7 <= work <= 4e9
        assert max(math.prod(case.input_shape) * enlarged, math.prod(case.output_shape)) <= 2e7
        assert 1 <= case.batch <= 32
        assert set(case.spatial) <= set(range(5, {1: 4096, 2: 160, 3: 32}[rank] + 1))
        assert 3 <= case.channels <= 512
        assert 1 <= case.filters <= 384
        assert case.size in (2, 3, 4)
        assert case.kernel_size in (1, 2, 3, 4, 5)
    assert 0.55 < statistics.mean(len(case.spatial) == 2 for case in cases) < 0.8
    assert 0.55 < statistics.mean(case.interpolation == "nearest" for case in cases) < 0.8
    assert (
        abs(np.corrcoef([(case.channels, case.filters) for case in cases], rowvar=False)[0, 1])
        < 0.7
    )


@pytest.mark.usefixtures("small")
def test_random_cases_are_measured_by_every_method(tmp_path, capsys):
    path = tmp_path / "figures.json"
    arguments = ["bench", "--random", "2", "--seed", "3", "--json", str(path)]
    assert command_line.main(arguments) == 0
    printed = capsys.readouterr()
    assert "2x6x6x4 to 2, s=2, k=3, nearest" in printed.out
    assert "2/2" in printed.err
    found = json.loads(path.read_text())
    assert found["facts"]["Keras"] == keras.version()
    assert [(one["case"]["channels"], one["pass"]) for one in found["cases"]] == [
        (4, FORWARD), (4, STEP), (5, FORWARD), (5, STEP)
    ]  # fmt: skip
    for one in found["cases"]:
        assert one["seconds"].keys() == {*METHODS, "chosen"}
        assert set(one["chosen"].split("/")) <= set(METHODS)
        assert all(took > 0 for took in one["seconds"].values())
    assert "/" not in "".join(one["chosen"] for one in found["cases"] if one["pass"] == FORWARD)
    assert Measurements.from_json(path.read_text()).as_json() == path.read_text().rstrip("\n")


def made_up(rates, interpolations=random_cases.INTERPOLATIONS):
    """Measurements of a machine that takes exactly what the rates say."""
    choices = []
    for case in random_cases.random_cases(60, 5, "float32", interpolations):
        for name, passes in {FORWARD: PASSES[:1], STEP: PASSES}.items():
            took = {
                method.name: seconds(
                    method.work(case.task, case.task_shape), *(rates[of] for of in passes)
                )
                for method in METHODS.values()
                if method.can(case.task, case.task_shape)
            }
            choices.append(Choice(case, name, "resize", {**took, "chosen": took["resize"]}))
    return choices


RATES = {
    "forward": {"convolution": 1e-11, "product": 2e-11, "copied": 3e-10, "operations": 5e-5},
    "backward": {"convolution": 3e-11, "product / channels": 2e-10, "copied": 1e-10},
}


def test_rates_that_explain_everything_are_found():
    choices = made_up(RATES)
    for found, again in zip(choices, made_up(fitting.fitted(choices)), strict=True):
        for name, took in found.seconds.items():
            assert again.seconds[name] == pytest.approx(took, rel=1e-2), (found.case, name)


def test_no_other_rates_have_smaller_relative_errors():
    noise = np.random.default_rng(0)
    choices = [
        one._replace(seconds={k: v * noise.uniform(0.7, 1.4) for k, v in one.seconds.items()})
        for one in made_up(RATES)
    ]

    def errors(rates):
        return sum(
            (again.seconds[name] / one.seconds[name] - 1) ** 2
            for one, again in zip(choices, made_up(rates), strict=True)
            for name in one.seconds
            if name != "chosen"
        )

    rates = fitting.fitted(choices)
    least = errors(rates)
    for of in PASSES:
        for kind, rate in rates[of].items():
            for factor in (0.5, 0.9, 1.1, 2):
                other = errors({**rates, of: {**rates[of], kind: factor * rate}})
                assert other > least * (1 - 1e-6), kind  # rates are rounded


def test_rates_of_a_machine_take_the_place_of_those_before():
    measured = Measurements({"device": "GPU"}, "jax", "a command", made_up(RATES)[:4])
    once = fitting.with_rates("[]", measured, RATES)
    (record,) = json.loads(once)
    assert (record["engine"], record["device"], record["dtype"]) == ("jax", "gpu", "float32")
    assert (record["command"], record["cases"], record["facts"]) == (
        "a command",
        2,
        {"device": "GPU"},
    )
    assert {name: record[name] for name in PASSES} == RATES
    twice = fitting.with_rates(once, measured._replace(engine="torch"), RATES)
    assert [one["engine"] for one in json.loads(twice)] == ["jax", "torch"]
    other = RATES | {"backward": {"copied": 1.0}}
    thrice = json.loads(fitting.with_rates(twice, measured, other))
    assert [one["backward"] for one in thrice] == [{"copied": 1.0}, RATES["backward"]]


def test_a_fit_measures_and_keeps_what_it_finds(rates_file, tmp_path, monkeypatch, capsys):
    measured = {}
    for one in made_up(RATES, random_cases.INTERPOLATIONS_OF_A_FIT):
        measured.setdefault(one.case, []).append(one)
    monkeypatch.setattr(bench_choice, "measure_choice", lambda case, _: measured[case])
    figures = tmp_path / "figures.json"
    arguments = ["bench", "--fit", "--random", "60", "--seed", "5", "--json", str(figures)]
    assert command_line.main(arguments) == 0
    printed = capsys.readouterr()
    assert "nanoseconds" in printed.out
    assert str(rates_file) in printed.err
    (first,) = json.loads(rates_file.read_text())
    assert (first["engine"], first["cases"]) == (BACKEND, 60)
    # The command that measures the same again.
    assert first["command"].startswith("python -m keras_upsampling bench --random 60 --seed 5 ")
    drawn = first["command"].split("--interpolation ")[1].split()
    assert tuple(drawn) == random_cases.INTERPOLATIONS_OF_A_FIT
    # What was measured before is not measured again.
    rates_file.write_text("[]")
    assert command_line.main(["bench", "--fit", str(figures)]) == 0
    assert json.loads(rates_file.read_text()) == [first]


def broken(name="resize", took=1.0):
    record = {"case": SMALL._asdict(), "pass": FORWARD, "chosen": "resize"}
    cases = [{**record, "seconds": {name: took, "chosen": 1.0}}]
    return json.dumps({"facts": {}, "engine": BACKEND, "command": "", "cases": cases})


@pytest.mark.usefixtures("rates_file")
def test_files_that_do_not_belong_are_refused(tmp_path, capsys):
    path = tmp_path / "figures.json"
    for text, message in (
        ("[]", "not what --random --json writes"),
        ("{", "not what --random --json writes"),
        (Measurements({}, "another", "", made_up(RATES)[:2]).as_json(), "measured with another in"),
        (Measurements({}, BACKEND, "", []).as_json(), "in no dtype; expected"),
        (broken(took=None), "not what --random --json writes"),
        (broken(took=-1.0), "not what --random --json writes"),
        (broken(name="other"), "not what --random --json writes"),
    ):
        path.write_text(text)
        assert command_line.main(["bench", "--fit", str(path)]) == 2
        assert message in capsys.readouterr().err
    assert command_line.main(["bench", "--fit", str(tmp_path / "nothing")]) == 2
    assert "nothing: No such file" in capsys.readouterr().err
    assert command_line.main(["bench", "--random", "2", "--dtype", "float32", "float16"]) == 2
    assert "of one dtype" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["SciPy", "the folder"])
def test_what_a_fit_needs_is_said_before_anything_is_measured(missing, monkeypatch, capsys):
    if missing == "SciPy":
        monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    else:
        monkeypatch.setattr(bench_choice, "rates_file", lambda: Path("nowhere/rates.json"))
    monkeypatch.setattr(bench_choice, "_measure_all", lambda *_: pytest.fail("measured"))
    assert command_line.main(["bench", "--fit"]) == 2
    printed = capsys.readouterr().err
    assert ("keras_upsampling[fit]" if missing == "SciPy" else "nowhere/rates.json") in printed


def test_too_little_is_no_fit():
    choices = made_up(RATES)
    with pytest.raises(ValueError, match=r"missing: .*matrices \(training step\)"):
        fitting.fitted([one for one in choices if one.pass_name == FORWARD])
    few = choices[:40]
    with pytest.raises(ValueError, match=r"24 rates need as many cases, .* Received 20\."):
        fitting.fitted(few * 2)  # the same again is no more


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "7"], "--seed goes with --random or --fit; add one of those"),
        (["--jit-compile"], "--jit-compile goes with --random or --fit"),
        (["--random", "2", "--quick", "--rank", "2"], "--quick, --rank does not go with --random"),
        (["--fit", "--shape", "1x6x4:2"], "--shape does not go with --fit"),
        (["--fit", "some.json", "--random", "2"], "--random does not go with --fit FILE"),
        (["--fit", "--random", "2"], "A fit takes 24 cases at least"),
    ],
)
def test_options_that_would_be_ignored_are_refused(arguments, message, capsys):
    assert command_line.main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_dtype_that_the_backend_has_not_is_refused(capsys):
    if BACKEND != "jax":
        pytest.skip("JAX makes float32 of float64 unless it is told")
    assert command_line.main(["bench", "--random", "1", "--dtype", "float64"]) == 2
    assert "JAX_ENABLE_X64" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_files_of_two_machines_are_no_fit(rates_file, tmp_path, capsys):
    paths = [tmp_path / name for name in ("one.json", "another.json")]
    for path in paths:
        facts = {"device": "CPU", "processor": path.stem}
        path.write_text(Measurements(facts, BACKEND, "", made_up(RATES)[:4]).as_json())
    assert command_line.main(["bench", "--fit", *map(str, paths)]) == 2
    assert "another.json: not measured as" in capsys.readouterr().err
    assert rates_file.read_text() == "[]"


@pytest.mark.usefixtures("small")
def test_xla_is_measured_where_tensorflow_compiles_by_it(tmp_path, capsys):
    path = tmp_path / "figures.json"
    arguments = ["bench", "--random", "1", "--jit-compile", "--json", str(path)]
    if BACKEND != "tensorflow":
        assert command_line.main(arguments) == 2
        assert "--jit-compile is TensorFlow's" in capsys.readouterr().err
        return
    assert command_line.main(arguments) == 0
    assert json.loads(path.read_text())["engine"] == "tensorflow-xla"


def test_regret_and_gain_are_of_what_was_chosen():
    choices = [
        Choice(SMALL, FORWARD, "phases", {"resize": 4.0, "phases": 1.9, "chosen": 2.0}),
        Choice(SMALL, FORWARD, "resize", {"resize": 2.0, "phases": 1.0, "chosen": 8.0}),
    ]
    assert [one.regret for one in choices] == [2 / 1.9, 8]
    assert [one.gain for one in choices] == [2, 0.25]
    assert [one.best_gain for one in choices] == [4 / 1.9, 2]
    lines = report(Measurements({}, "jax", "", choices)).splitlines()
    (row,) = [line for line in lines if line.startswith("| all")]
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    regret = math.sqrt(2 / 1.9 * 8)
    assert cells[:3] == ["forward", "2", f"{regret:.2f}"]
    assert cells[4:] == ["8.00", "0.71", f"{math.sqrt(4 / 1.9 * 2):.2f}", "0.25", "50 %"]
    worst = [line for line in lines if line.startswith("| 2x6x6x3")]
    assert [line.split("|")[3].strip() for line in worst] == ["8.00", "1.05"]


@pytest.mark.usefixtures("small")
def test_an_interruption_keeps_what_was_measured(monkeypatch, capsys, rates_file):
    measure, seen = bench_choice.measure_choice, []

    def interrupted(case, engine):
        if seen:
            raise KeyboardInterrupt
        seen.append(case)
        return measure(case, engine)

    monkeypatch.setattr(bench_choice, "measure_choice", interrupted)
    assert command_line.main(["bench", "--random", "24", "--fit"]) == 130
    printed = capsys.readouterr()
    assert str(seen[0]) in printed.out
    assert "Interrupted after 1 of 24 cases" in printed.err
    assert rates_file.read_text() == "[]"  # half of the cases are no fit
