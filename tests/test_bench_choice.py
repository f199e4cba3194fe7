"""Random cases, their measurements, and the rates that are fitted to them."""

import json
import math
import statistics
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_upsampling import __main__ as command_line
from keras_upsampling.bench import fitting, random_cases
from keras_upsampling.bench.cases import Case
from keras_upsampling.bench.choosing import measure_choice, report
from keras_upsampling.bench.measurements import Choice, Measurements, read_measurements
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.commands import bench_choice
from keras_upsampling.ops._upsample_conv.choice import METHODS, PASSES, seconds
from tests.backends import BACKEND

SMALL = Case(2, (6, 6), 3, 2, 2, 3, "nearest", "float32")


@pytest.fixture
def small(monkeypatch):
    """Random cases that are measured quickly."""
    monkeypatch.setattr(
        bench_choice,
        "random_cases",
        lambda count, seed, dtype, interpolations, _: [
            SMALL._replace(channels=1 + seed + i, dtype=dtype, interpolation=interpolations[0])
            for i in range(count)
        ],
    )
    monkeypatch.setattr(bench_choice, "measure_choice", partial(measure_choice, short=1e-9))


@pytest.fixture
def rates_file(monkeypatch, tmp_path):
    path = tmp_path / "rates.json"
    path.write_text("[]")
    monkeypatch.setattr(bench_choice, "rates_file", lambda: path)
    return path


def test_random_cases_are_within_the_documented_bounds():
    cases = random_cases.random_cases(200, 0)
    assert cases == random_cases.random_cases(200, 0)
    assert cases[:9] != random_cases.random_cases(9, 1)
    for case in cases:
        rank, upsampling = len(case.spatial), case.size ** len(case.spatial)
        work = math.prod(case.input_shape) * upsampling * case.kernel_size**rank * case.filters
        assert 2e7 <= work <= 4e9
        assert max(math.prod(case.input_shape) * upsampling, math.prod(case.output_shape)) <= 2e7
        assert 1 <= case.batch <= 32
        assert set(case.spatial) <= set(range(5, {1: 4096, 2: 160, 3: 32}[rank] + 1))
        assert 3 <= case.channels <= 512
        assert 1 <= case.filters <= 384
        assert case.size in (2, 3, 4)
        assert case.kernel_size in (1, 2, 3, 4, 5)
    assert [*map(random_cases.kind_of_bounds, ("CPU", "GPU", "TPU"))] == ["cpu", "gpu", "gpu"]
    for device, (least, most, _) in random_cases.BOUNDS.items():
        for case in random_cases.random_cases(5, 0, work=device):
            taps = (case.size * case.kernel_size) ** len(case.spatial)
            assert least <= math.prod(case.input_shape) * taps * case.filters <= most
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
    figures = json.loads(path.read_text())
    assert figures["facts"]["Keras"] == keras.version()
    records = figures["cases"]
    assert [(record["case"]["channels"], record["pass"]) for record in records] == [
        (4, FORWARD), (4, STEP), (5, FORWARD), (5, STEP)
    ]  # fmt: skip
    for record in records:
        assert record["seconds"].keys() == {*METHODS, "chosen"}
        assert set(record["chosen"].split("/")) <= set(METHODS)
        assert all(duration > 0 for duration in record["seconds"].values())
    forward = [record["chosen"] for record in records if record["pass"] == FORWARD]
    assert "/" not in "".join(forward)
    (measured,) = read_measurements(path.read_text())
    assert measured.as_json() == path.read_text().rstrip("\n")


def synthetic_choices(rates, interpolations=random_cases.INTERPOLATIONS):
    """Choices of a machine whose times follow exactly from the rates."""
    choices = []
    for case in random_cases.random_cases(60, 5, "float32", interpolations):
        for name, passes in {FORWARD: PASSES[:1], STEP: PASSES}.items():
            durations = {
                method.name: seconds(
                    method.work(case.task, case.task_shape),
                    *(rates[pass_name] for pass_name in passes),
                )
                for method in METHODS.values()
                if method.can(case.task, case.task_shape)
            }
            durations["chosen"] = durations["resize"]
            choices.append(Choice(case, name, "resize", durations))
    return choices


RATES = {
    "forward": {"convolution": 1e-11, "product": 2e-11, "copied": 3e-10, "operations": 5e-5},
    "backward": {"convolution": 3e-11, "product / channels": 2e-10, "copied": 1e-10},
}


def test_a_fit_recovers_exact_rates():
    choices = synthetic_choices(RATES)
    fitted_choices = synthetic_choices(fitting.fit_rates(choices))
    for choice, fitted_choice in zip(choices, fitted_choices, strict=True):
        for name, duration in choice.seconds.items():
            fitted_duration = fitted_choice.seconds[name]
            assert fitted_duration == pytest.approx(duration, rel=1e-2), (choice.case, name)


def test_no_other_rates_have_smaller_relative_errors():
    noise = np.random.default_rng(0)
    choices = [
        choice._replace(
            seconds={
                name: duration * noise.uniform(0.7, 1.4)
                for name, duration in choice.seconds.items()
            }
        )
        for choice in synthetic_choices(RATES)
    ]

    def errors(rates):
        return sum(
            (predicted.seconds[name] / choice.seconds[name] - 1) ** 2
            for choice, predicted in zip(choices, synthetic_choices(rates), strict=True)
            for name in choice.seconds
            if name != "chosen"
        )

    rates = fitting.fit_rates(choices)
    least = errors(rates)
    for pass_name in PASSES:
        for kind, rate in rates[pass_name].items():
            for factor in (0.5, 0.9, 1.1, 2):
                changed = {**rates, pass_name: {**rates[pass_name], kind: factor * rate}}
                assert errors(changed) > least * (1 - 1e-6), kind  # rates are rounded


def test_rates_of_a_machine_replace_its_old_rates():
    measured = Measurements({"device": "GPU"}, "jax", "a command", synthetic_choices(RATES)[:4])
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
    assert [entry["engine"] for entry in json.loads(twice)] == ["jax", "torch"]
    changed = RATES | {"backward": {"copied": 1.0}}
    thrice = json.loads(fitting.with_rates(twice, measured, changed))
    assert [entry["backward"] for entry in thrice] == [{"copied": 1.0}, RATES["backward"]]


def test_a_fit_measures_and_saves_rates(rates_file, tmp_path, monkeypatch, capsys):
    measured = {}
    for choice in synthetic_choices(RATES, random_cases.FIT_INTERPOLATIONS):
        measured.setdefault(choice.case, []).append(choice)
    monkeypatch.setattr(bench_choice, "measure_choice", lambda case, _: measured[case])
    figures = tmp_path / "figures.json"
    arguments = ["bench", "--fit", "--random", "60", "--seed", "5", "--json", str(figures)]
    assert command_line.main(arguments) == 0
    printed = capsys.readouterr()
    assert "nanoseconds" in printed.out
    assert str(rates_file) in printed.err
    (first,) = json.loads(rates_file.read_text())
    assert (first["engine"], first["cases"]) == (BACKEND, 60)
    # The command repeats the measurements.
    assert first["command"].startswith("python -m keras_upsampling bench --random 60 --seed 5 ")
    drawn = first["command"].split("--interpolation ")[1].split()
    assert tuple(drawn) == random_cases.FIT_INTERPOLATIONS
    # Measurements in files are used as they are.
    rates_file.write_text("[]")
    assert command_line.main(["bench", "--fit", str(figures)]) == 0
    assert json.loads(rates_file.read_text()) == [first]


@pytest.mark.parametrize(
    ("options", "factor"),
    [([], 1), (["--tf32", "off"], 2), (["--data-format", "channels_first"], 3)],
)
def test_a_fit_picks_what_belongs_to_its_options(options, factor, rates_file, tmp_path, capsys):
    def measured(factor, facts, **case):
        choices = [
            choice._replace(
                case=choice.case._replace(**case),
                seconds={name: factor * number for name, number in choice.seconds.items()},
            )
            for choice in synthetic_choices(RATES)
        ]
        return Measurements({"device": "GPU", **facts}, BACKEND, "a command", choices)

    default = measured(1, {})
    default.choices.extend(measured(3, {}, data_format="channels_first").choices)
    default.choices.extend(measured(4, {}, dtype="bfloat16").choices)
    every = default, measured(2, {"TF32": "off"}), default._replace(engine="another")
    path = tmp_path / "figures.json"
    path.write_text(json.dumps({"measurements": [part.as_record() for part in every]}))
    assert command_line.main(["bench", "--fit", str(path), *options]) == 0
    (record,) = json.loads(rates_file.read_text())
    expected = fitting.fit_rates(measured(factor, {}).choices)
    assert {name: record[name] for name in PASSES} == expected
    assert (record["device"], record["dtype"], record["cases"]) == ("gpu", "float32", 60)
    assert record["facts"].get("TF32") == ("off" if "--tf32" in options else None)
    assert command_line.main(["bench", "--fit", str(path), "--tf32", "on"]) == 2
    printed = capsys.readouterr().err
    assert f"expected measurements with {BACKEND} in float32 with TF32 on, channels_last" in printed
    assert f"{BACKEND} in float32 with TF32 off, channels_last" in printed


def figures_with(name="resize", duration=1.0):
    """JSON of one case with the given duration of one method."""
    record = {"case": SMALL._asdict(), "pass": FORWARD, "chosen": "resize"}
    cases = [{**record, "seconds": {name: duration, "chosen": 1.0}}]
    return json.dumps({"facts": {}, "engine": BACKEND, "command": "", "cases": cases})


@pytest.mark.usefixtures("rates_file")
def test_files_of_other_measurements_are_errors(tmp_path, capsys):
    path = tmp_path / "figures.json"
    for text, message in (
        ("[]", "not a file written by --random --json or by tools/gpu_check.py"),
        ("{", "not a file written by --random --json or by tools/gpu_check.py"),
        (
            Measurements({}, "another", "", synthetic_choices(RATES)[:2]).as_json(),
            f"expected measurements with {BACKEND} in float32, channels_last. Received: another in "
            "float32, channels_last. Set KERAS_BACKEND",
        ),
        (Measurements({}, BACKEND, "", []).as_json(), f"Received: {BACKEND} in no dtype"),
        (
            figures_with(duration=None),
            "not a file written by --random --json or by tools/gpu_check.py",
        ),
        (
            figures_with(duration=-1.0),
            "not a file written by --random --json or by tools/gpu_check.py",
        ),
        (
            figures_with(name="other"),
            "not a file written by --random --json or by tools/gpu_check.py",
        ),
    ):
        path.write_text(text)
        assert command_line.main(["bench", "--fit", str(path)]) == 2
        assert message in capsys.readouterr().err
    assert command_line.main(["bench", "--fit", str(tmp_path / "nothing")]) == 2
    assert "nothing: No such file" in capsys.readouterr().err
    assert command_line.main(["bench", "--random", "2", "--dtype", "float32", "float16"]) == 2
    assert (
        "Random cases have one dtype. Received: --dtype float32 float16" in capsys.readouterr().err
    )


@pytest.mark.parametrize("missing", ["SciPy", "the folder"])
def test_missing_requirements_of_a_fit_are_errors_before_anything_is_measured(
    missing, monkeypatch, capsys
):
    if missing == "SciPy":
        monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    else:
        monkeypatch.setattr(bench_choice, "rates_file", lambda: Path("nowhere/rates.json"))
    monkeypatch.setattr(bench_choice, "_measure_all", lambda *_: pytest.fail("measured"))
    assert command_line.main(["bench", "--fit"]) == 2
    printed = capsys.readouterr().err
    assert ("keras_upsampling[fit]" if missing == "SciPy" else "nowhere/rates.json") in printed


def test_too_few_measurements_for_a_fit_are_errors():
    choices = synthetic_choices(RATES)
    with pytest.raises(ValueError, match=r"Missing: .*matrices \(training step\)"):
        fitting.fit_rates([choice for choice in choices if choice.pass_name == FORWARD])
    few = choices[:40]
    with pytest.raises(
        ValueError, match=r"24 rates needs at least 24 different cases\. Received: 20\."
    ):
        fitting.fit_rates(few * 2)  # repeated cases do not count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "7"], "--seed can only be used with --random or --fit. Add one of them"),
        (["--seed", "0"], "--seed can only be used with --random or --fit"),
        (["--jit-compile"], "--jit-compile can only be used with --random, --fit or --programs"),
        (
            ["--random", "2", "--quick", "--rank", "2"],
            "--quick, --rank cannot be used with --random",
        ),
        (["--fit", "--shape", "1x6x4:2"], "--shape cannot be used with --fit"),
        (["--fit", "some.json", "--random", "2"], "--random cannot be used with --fit FILE"),
        (["--random", "2", "--tf32", "on"], "--tf32 cannot be used with --random"),
        (
            ["--fit", "--random", "2"],
            "--fit needs at least 24 cases, one per rate. Received: --random 2",
        ),
    ],
)
def test_options_without_effect_are_errors(arguments, message, capsys):
    assert command_line.main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_dtype_that_the_backend_does_not_support_is_an_error(capsys):
    if BACKEND != "jax":
        pytest.skip("only JAX turns float64 into float32 by default")
    assert command_line.main(["bench", "--random", "1", "--dtype", "float64"]) == 2
    assert "JAX_ENABLE_X64" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_files_of_two_machines_are_an_error(rates_file, tmp_path, capsys):
    paths = [tmp_path / name for name in ("one.json", "another.json")]
    for path in paths:
        facts = {"device": "CPU", "processor": path.stem}
        path.write_text(Measurements(facts, BACKEND, "", synthetic_choices(RATES)[:4]).as_json())
    assert command_line.main(["bench", "--fit", *map(str, paths)]) == 2
    assert (
        "another.json: expected measurements from the same machine and versions as"
        in capsys.readouterr().err
    )
    # The same, if both are in one file.
    records = [json.loads(path.read_text()) for path in paths]
    paths[0].write_text(json.dumps({"measurements": records}))
    assert command_line.main(["bench", "--fit", str(paths[0])]) == 2
    assert "Received: another processor. Fit each separately." in capsys.readouterr().err
    assert rates_file.read_text() == "[]"


@pytest.mark.usefixtures("small")
def test_xla_is_measured_on_tensorflow_only(tmp_path, capsys):
    path = tmp_path / "figures.json"
    arguments = ["bench", "--random", "1", "--jit-compile", "--json", str(path)]
    if BACKEND != "tensorflow":
        assert command_line.main(arguments) == 2
        assert "--jit-compile requires TensorFlow" in capsys.readouterr().err
        return
    assert command_line.main(arguments) == 0
    assert json.loads(path.read_text())["engine"] == "tensorflow-xla"


def test_regret_and_gain_are_those_of_the_chosen_method():
    choices = [
        Choice(SMALL, FORWARD, "phases", {"resize": 4.0, "phases": 1.9, "chosen": 2.0}),
        Choice(SMALL, FORWARD, "resize", {"resize": 2.0, "phases": 1.0, "chosen": 8.0}),
    ]
    assert [choice.regret for choice in choices] == [2 / 1.9, 8]
    assert [choice.gain for choice in choices] == [2, 0.25]
    assert [choice.best_gain for choice in choices] == [4 / 1.9, 2]
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
    measure, measured = bench_choice.measure_choice, []

    def interrupted(case, engine):
        if measured:
            raise KeyboardInterrupt
        measured.append(case)
        return measure(case, engine)

    monkeypatch.setattr(bench_choice, "measure_choice", interrupted)
    assert command_line.main(["bench", "--random", "24", "--fit"]) == 130
    printed = capsys.readouterr()
    assert str(measured[0]) in printed.out
    assert "Interrupted after 1 of 24 cases" in printed.err
    assert rates_file.read_text() == "[]"  # an interrupted run saves no rates
