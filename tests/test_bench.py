"""The benchmark compares equal computations, and reports what it measures."""

import itertools
import json
import statistics

import keras
import numpy as np
import pytest
from keras import ops

from keras_upsampling import __main__ as command_line
from keras_upsampling.bench import cases, contenders, timing
from keras_upsampling.bench.contenders import KERAS, OURS
from keras_upsampling.bench.programs import program_of
from keras_upsampling.bench.report import report
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.commands import bench_layers as command
from tests.backends import BACKEND, to_numpy

SMALL = ((1, (4, 5), 3, 2), (2, (6,), 2, 3))


def case(interpolation="nearest", size=2, kernel_size=3, spatial=(4, 5), channels=3, **options):
    return cases.Case(
        1, spatial, channels, 2, size, kernel_size, interpolation, "float32", **options
    )


@pytest.fixture
def small(monkeypatch):
    """A grid that is measured quickly."""
    monkeypatch.setattr(cases, "SHAPES", SMALL)
    monkeypatch.setattr(timing, "_PRODUCT_LENGTH", 8)


def test_no_transposed_convolution_has_gaps_on_tensorflow():
    """Its gradient can crash the process."""
    models = contenders.contenders(case(size=4, kernel_size=3))
    assert (contenders.TRANSPOSE in models) == (BACKEND != "tensorflow")
    assert contenders.TRANSPOSE_EQUAL in models


@pytest.mark.parametrize(
    ("interpolation", "options"),
    [
        ("nearest", {}),
        ("linear", {}),
        ("cubic", {}),
        ("nearest", {"dilation_rate": 3}),
        ("nearest", {"channels": 4, "groups": 2}),
        ("linear", {"data_format": "channels_first"}),
    ],
)
def test_this_library_equals_the_keras_contender(interpolation, options):
    benchmark_case = case(interpolation, **options)
    models = contenders.contenders(benchmark_case, methods=["resize"])
    # Keras supports neither option.
    assert (contenders.TRANSPOSE in models) == (not options.keys() & {"dilation_rate", "groups"})
    ours, theirs = models[OURS], models[KERAS]
    theirs.set_weights(ours.get_weights())
    models["method resize"].set_weights(ours.get_weights())
    x = np.random.default_rng(0).standard_normal(benchmark_case.input_shape).astype("float32")
    # Keras on PyTorch uses another cubic kernel.
    if interpolation != "cubic" or BACKEND != "torch":
        np.testing.assert_allclose(to_numpy(ours(x)), to_numpy(theirs(x)), atol=1e-5)
    np.testing.assert_allclose(to_numpy(ours(x)), to_numpy(models["method resize"](x)), atol=1e-5)


@pytest.mark.parametrize("spatial", [(5,), (4, 5), (2, 3, 4)])
def test_all_contenders_have_the_same_output_shape(spatial):
    benchmark_case = case(spatial=spatial, size=3, kernel_size=2)
    for name, model in contenders.contenders(benchmark_case).items():
        shape = tuple(model(np.zeros(benchmark_case.input_shape, "float32")).shape)
        assert shape == (1, *(3 * n for n in spatial), 2), name


@pytest.mark.parametrize("spatial", [(5,), (4, 5), (2, 3, 4)])
def test_contenders_with_channels_first_have_the_shape_of_the_case(spatial):
    benchmark_case = case(spatial=spatial, size=3, kernel_size=2, data_format="channels_first")
    assert benchmark_case.output_shape == (1, 2, *(3 * n for n in spatial))
    models = contenders.contenders(benchmark_case)
    assert (KERAS in models) == (len(spatial) > 1)  # `UpSampling1D` takes channels last only
    for name, model in models.items():
        assert model.input_shape == benchmark_case.input_shape, name
        assert model.output_shape == benchmark_case.output_shape, name


def test_multiply_adds_are_those_of_one_convolution_per_phase():
    assert case(size=2, kernel_size=3).multiply_adds == 4 * 5 * 16 * 3 * 2
    assert case(kernel_size=3, dilation_rate=2).multiply_adds == 4 * 5 * 36 * 3 * 2
    assert case(channels=4, groups=2).multiply_adds == 4 * 5 * 16 * 2 * 2


def test_the_grid_has_other_interpolations_in_two_dimensions_only():
    grid = cases.cases()
    assert {len(case.spatial) for case in grid} == {1, 2, 3}
    assert {len(case.spatial) for case in grid if case.interpolation != "nearest"} == {2}
    assert {(case.size, case.kernel_size) for case in grid} == {
        (size, kernel_size) for size in (2, 3, 4) for kernel_size in (3, 5)
    }


def test_a_step_computes_the_output_and_the_gradients_of_input_and_weights():
    benchmark_case = case()
    model = contenders.contenders(benchmark_case)[KERAS]
    x = ops.ones(benchmark_case.input_shape)
    cotangent = ops.ones(model.output_shape)
    result = program_of(model, x, cotangent).run()
    y, input_gradient, *weight_gradients = keras.tree.flatten(result)
    assert tuple(y.shape) == tuple(cotangent.shape)
    assert tuple(input_gradient.shape) == benchmark_case.input_shape
    assert [tuple(gradient.shape) for gradient in weight_gradients] == [
        tuple(weight.shape) for weight in model.weights
    ]
    bias_gradient = to_numpy(weight_gradients[1])
    np.testing.assert_allclose(bias_gradient, 8 * 10)  # the bias is added to every output


def test_ratios_are_taken_within_a_round(monkeypatch):
    times = {OURS: [1.0, 2.0, 4.0], KERAS: [3.0, 8.0, 4.0]}
    product = {"product": [0.5, 0.25, 0.5]}
    monkeypatch.setattr(
        timing, "time_rounds", lambda runs, _: {name: (times | product)[name] for name in runs}
    )
    monkeypatch.setattr(timing, "_PRODUCT_LENGTH", 8)
    models = contenders.contenders(case())
    monkeypatch.setattr(timing, "contenders", lambda *_: {name: models[name] for name in times})
    result = timing.measure(case())
    keras_timing = result.passes[FORWARD][KERAS]
    assert keras_timing.seconds == 4.0
    assert keras_timing.ratio == 3.0  # median of 3, 4 and 1; the ratio of the medians is 2
    assert keras_timing.ratio_quartiles == (2.0, 3.5)
    assert keras_timing.rounds == 3
    assert result.product_rate == 8**3 / 0.5
    assert result.share[OURS] == case().multiply_adds / 2.0 / 1024


def test_rounds_run_everything_equally_often(monkeypatch):
    calls = []
    runs = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    clock = itertools.count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock) / 10)  # 100 ms a call
    times = timing.time_rounds(runs, seconds=3.0)
    assert {name: len(round_times) for name, round_times in times.items()} == dict.fromkeys(
        "abc", 10
    )
    assert [calls.count(name) for name in "abc"] == [
        11,
        11,
        11,
    ]  # the first call measures the duration
    neighbours = {pair for pair in itertools.pairwise(calls[3:]) if pair[0] != pair[1]}
    assert len(neighbours) == 6  # each has run after each other contender
    assert len(timing.time_rounds(runs, seconds=1e-9)["a"]) == 3


def test_short_calls_are_repeated_and_the_mean_is_taken(monkeypatch):
    now = [0.0]
    calls = []

    def run():
        calls.append(now[0])
        now[0] += 0.004 if len(calls) > 3 else 0.008

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    # The first call takes 8 ms, so three calls fill the 20 ms.
    times = timing.time_rounds({"short": run}, seconds=1e-9)
    assert len(calls) == 1 + 3 * 3
    np.testing.assert_allclose(times["short"], [0.02 / 3, 0.004, 0.004])


def test_memory_is_measured():
    benchmark_case = cases.Case(1, (64, 64), 16, 16, 2, 3, "nearest", "float32")
    model = contenders.contenders(benchmark_case)[KERAS]
    x = ops.ones(benchmark_case.input_shape)
    peak = program_of(model, x).peak_bytes()
    upsampled = output = 4 * 128 * 128 * 16
    if peak is None:
        pytest.skip("this system does not report the memory of a process")
    assert output <= peak <= 4 * (upsampled + output)


@pytest.mark.usefixtures("small")
def test_the_command_prints_tables_and_writes_figures(capsys, tmp_path):
    path = tmp_path / "figures.json"
    arguments = ["bench", "--quick", "--rank", "2", "--seconds", "0.01", "--json", str(path)]
    assert command_line.main(arguments) == 0
    printed = capsys.readouterr()
    assert "1x4x5x3 to 2, s=2, k=3, linear" in printed.out
    assert "2/2" in printed.err  # the progress bar, separate from the tables
    figures = json.loads(path.read_text())
    assert figures["facts"]["Keras"] == keras.version()
    ratios = [result["passes"][FORWARD][KERAS]["ratio"] for result in figures["results"]]
    assert len(ratios) == 2
    line = next(line for line in printed.out.splitlines() if line.startswith("| all"))
    assert line.split("|")[5].strip() == f"{statistics.median(ratios):.2f}"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("small")
def test_named_methods_are_measured_as_well(capsys):
    arguments = ["bench", "--quick", "--rank", "1", "--seconds", "0.01", "--method", "phases"]
    assert command_line.main(arguments) == 0
    assert "method phases" in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_methods_that_do_not_support_a_case_are_left_out(capsys):
    # The axes are too short for borders that are computed separately.
    arguments = ["bench", "--quick", "--rank", "2", "--interpolation", "cubic", "nearest"]
    assert command_line.main([*arguments, "--seconds", "0.01", "--method", "phases"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "x4x5x3 to 2" in line]
    cells = {("cubic" in line, line.split("|")[3].strip() == "") for line in lines[:2]}
    assert cells == {(True, True), (False, False)}


@pytest.mark.usefixtures("small")
def test_only_the_requested_contenders_are_timed(capsys):
    arguments = ["bench", "--quick", "--rank", "1", "--seconds", "0.01", "--against", "subpixel"]
    assert command_line.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "sub-pixel" in printed
    assert all(name not in printed for name in ("UpSampling, Conv", "ConvTranspose"))


@pytest.mark.usefixtures("small")
def test_a_user_shape_is_measured_with_dilation_and_groups(capsys):
    arguments = ["bench", "--quick", "--shape", "1x6x4:2", "--dilation-rate", "2", "--groups", "2"]
    assert command_line.main([*arguments, "--seconds", "0.01", "--method", "resize"]) == 0
    printed = capsys.readouterr().out
    assert "1x6x4 to 2, s=2, k=3, d=2, 2 groups, nearest" in printed
    assert "1-D, nearest" not in printed  # that group has neither dilation nor groups
    assert command_line.main([*arguments, "--groups", "3"]) == 2
    assert (
        "must divide the channels and the filters. Received: 1x6x4 to 2" in capsys.readouterr().err
    )


def test_user_shapes_are_not_left_out_of_a_quick_run(monkeypatch):
    monkeypatch.setattr(command, "_measure_all", lambda grid, *_: measured.extend(grid))
    measured = []
    assert command_line.main(["bench", "--quick", "--shape", "1x512x512x64:8", "1x8x8x8x8:8"]) == 0
    assert {case.input_shape for case in measured} == {(1, 512, 512, 64), (1, 8, 8, 8, 8)}


def test_every_contender_of_any_case_has_a_column():
    any_timing = timing.Timing(1.0, (1.0, 1.0), 1.0, (1.0, 1.0), 3, None)

    def result(*names):
        passes = dict.fromkeys((FORWARD, STEP), dict.fromkeys(names, any_timing))
        return timing.Result(case(), passes, 1.0)

    # Neither case has all contenders: one lacks a method, one lacks Keras.
    printed = report([result(OURS, KERAS, "x"), result(OURS, "method phases", "x", "y")])
    headings = next(line for line in printed.splitlines() if "this library |" in line)
    assert [cell.strip() for cell in headings.split("|")[3:-1]] == [
        "method phases",
        "x",
        "y",
        KERAS,
    ]


def test_the_summary_has_a_line_for_cubic_and_lanczos_together():
    def result(interpolation, ratio):
        timings = {
            OURS: timing.Timing(1.0, (1.0, 1.0), 1.0, (1.0, 1.0), 3, None),
            KERAS: timing.Timing(ratio, (ratio, ratio), ratio, (ratio, ratio), 3, None),
        }
        return timing.Result(
            case(interpolation=interpolation), {FORWARD: timings, STEP: timings}, 1.0
        )

    ratios = {"linear": 9.0, "cubic": 2.0, "lanczos3": 0.5, "lanczos5": 3.0}
    lines = report([result(*item) for item in ratios.items()]).splitlines()
    rows = [line for line in lines if line.startswith("| 2-D, cubic and Lanczos")]
    cells = [[cell.strip() for cell in row.split("|")[2:-1]] for row in rows]
    assert cells == [[KERAS, name, "3", "2.00", "0.50", "3.00"] for name in (FORWARD, STEP)]


@pytest.mark.usefixtures("small")
def test_an_interruption_keeps_what_was_measured(capsys, monkeypatch):
    measure, measured = timing.measure, []

    def interrupted(case, **options):
        if measured:
            raise KeyboardInterrupt
        measured.append(case)
        return measure(case, **options)

    monkeypatch.setattr(command, "measure", interrupted)
    assert command_line.main(["bench", "--quick", "--rank", "2", "--seconds", "0.01"]) == 130
    assert str(measured[0]) in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_a_failure_keeps_what_was_measured(capsys, monkeypatch):
    measure, measured = timing.measure, []

    def failing(case, **options):
        if measured:
            raise RuntimeError("out of memory")
        measured.append(case)
        return measure(case, **options)

    monkeypatch.setattr(command, "measure", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        command_line.main(["bench", "--quick", "--rank", "2", "--seconds", "0.01"])
    assert str(measured[0]) in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_contenders_that_keras_does_not_support_are_left_out(capsys):
    # Keras has no Lanczos on PyTorch, and raises when the layer is called.
    arguments = ["bench", "--quick", "--rank", "2", "--interpolation", "lanczos5"]
    assert command_line.main([*arguments, "--seconds", "0.01"]) == 0
    assert ("UpSampling, Conv" in capsys.readouterr().out) == (BACKEND != "torch")


@pytest.mark.usefixtures("small")
def test_an_empty_grid_is_an_error(capsys):
    assert command_line.main(["bench", "--rank", "1", "--interpolation", "linear"]) == 2
    assert "in two dimensions" in capsys.readouterr().err
    arguments = ["bench", "--shape", "1x6x4:2", "1x6x6x6x4:2", "--rank", "2"]
    assert command_line.main(arguments) == 2
    assert "--rank is 2, but the shapes of --shape have 1 or 3 spatial axes" in (
        capsys.readouterr().err
    )
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["bench", "--method", "fastest"])
    assert "invalid choice: 'fastest'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "0"], "'0' is not a positive integer"),
        (["--kernel-size", "three"], "'three' is not a positive integer"),
        (["--shape", "8x7x7x64"], "'8x7x7x64' is not an input shape with one to three"),
        (["--shape", "8x64:8"], "'8x64:8' is not an input shape with one to three"),
        (["--shape", "8x0x64:8"], "'8x0x64:8' is not an input shape with one to three"),
        (["--json", "nowhere/figures.json"], "there is no folder for 'nowhere/figures.json'"),
        (["--json", "."], "'.' is a folder"),
        (["--seconds", "0"], "'0' is not a positive number"),
        (["--seconds", "inf"], "'inf' is not a positive number"),
    ],
)
def test_invalid_options_are_errors_before_anything_is_measured(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["bench", *arguments])
    assert message in capsys.readouterr().err
