"""Published programs compute the same with either block, and their times are reported."""

import functools
import itertools
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops

from keras_upsampling import __main__ as command_line
from keras_upsampling import config
from keras_upsampling.bench import published, timing, training, training_report
from keras_upsampling.bench.programs import program_of
from keras_upsampling.bench.published import PROGRAMS, upsample_conv, upsampling_conv
from keras_upsampling.bench.timing import FORWARD, STEP
from keras_upsampling.bench.training import (
    AGAIN,
    LESS_MEMORY,
    ONE_LAYER,
    TRANSPOSE,
    TWO_LAYERS,
    Times,
)
from keras_upsampling.commands import bench_programs
from tests.backends import BACKEND, to_numpy, value_and_gradients


def small(name):
    """A program with few channels and short maps."""
    program = PROGRAMS[name]
    if "unet" in name:
        program = program._replace(build=functools.partial(program.build, depth=1))
    width = 16 if name == "deeplab_head" else 4
    return program._replace(width=width, length=max(2, program.length // 8), batch=2)


@pytest.fixture
def quick(monkeypatch):
    """A program that is measured quickly."""
    monkeypatch.setitem(PROGRAMS, "melgan_block_3", small("melgan_block_3"))
    monkeypatch.setattr(timing, "SHORT", 1e-9)


def built(program, block):
    """A program whose layers have the same names whatever the block is."""
    keras.utils.clear_session(free_memory=False)
    count = itertools.count()

    def named(*arguments, **options):
        return block(*arguments, name=f"block_{next(count)}", **options)

    return program.build(named, program.width, program.length)


def output_and_gradients(model, inputs, cotangent):
    """The output in training, and the gradients of all weights by layer."""
    state = [ops.convert_to_tensor(variable.numpy()) for variable in model.non_trainable_variables]

    def output(*weights):
        return model.stateless_call(list(weights), state, inputs, training=True)[0]

    weights = [ops.convert_to_tensor(variable.numpy()) for variable in model.trainable_variables]
    value, gradients = value_and_gradients(output, weights, cotangent)
    paths = [variable.path for variable in model.trainable_variables]
    return value, dict(zip(paths, gradients, strict=True))


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_compute_the_same_with_either_block(name, monkeypatch):
    monkeypatch.setattr(published, "_EDSR_DEPTH", 1)
    if name == "melgan":  # the others are like these
        monkeypatch.setattr(published, "_MELGAN_BLOCKS", published._MELGAN_BLOCKS[1:3])
    program = small(name)
    theirs, ours = (built(program, block) for block in (upsampling_conv, upsample_conv))
    rng = np.random.default_rng(0)
    for layer in theirs.layers:
        layer.set_weights([w + rng.uniform(0, 0.1, w.shape) for w in layer.get_weights()])
        if layer.weights:
            ours.get_layer(layer.name).set_weights(layer.get_weights())
    assert any(type(layer).__name__.startswith("UpsampleConv") for layer in ours.layers)
    *inputs, cotangent = (
        ops.convert_to_tensor(rng.standard_normal((2, *tensor.shape[1:])), "float32")
        for tensor in (*theirs.inputs, *theirs.outputs)
    )
    inputs = inputs if len(inputs) > 1 else inputs[0]
    expected, expected_gradients = output_and_gradients(theirs, inputs, cotangent)
    received, received_gradients = output_and_gradients(ours, inputs, cotangent)
    np.testing.assert_allclose(received, expected, atol=1e-4 * np.abs(expected).max())
    assert received_gradients.keys() == expected_gradients.keys()
    # Biases before a normalization have gradients of rounding errors alone.
    scale = max(np.abs(gradient).max() for gradient in expected_gradients.values())
    for path, gradient in expected_gradients.items():
        atol = 2e-4 * np.abs(gradient).max() + 1e-5 * scale
        np.testing.assert_allclose(received_gradients[path], gradient, atol=atol, err_msg=path)


def test_transposed_convolutions_that_leave_gaps_are_left_out():
    without = {
        name
        for name in ("vae_decoder", "deeplab_head", *(f"melgan_block_{i}" for i in (1, 2, 3, 4)))
        if TRANSPOSE not in training.models_of(small(name))
    }
    assert without == {"deeplab_head", "melgan_block_1", "melgan_block_2"}


def test_a_program_differs_from_itself_by_its_spread():
    def times(ours):
        seconds = {TWO_LAYERS: [2.0, 2.0, 2.0], AGAIN: [1.6, 2.0, 2.5], ONE_LAYER: ours}
        return Times(seconds, dict.fromkeys(seconds))

    even = times([2.0, 2.2, 2.1])  # 5 % slower
    assert even.spread == pytest.approx((1.0, 0.9, 1.125))
    assert even.gain == pytest.approx((2 / 2.1, (2 / 2.2 + 2 / 2.1) / 2, (1 + 2 / 2.1) / 2))
    assert not even.slower
    assert not times([2.2, 2.2, 2.2]).slower
    assert times([2.3, 2.3, 2.3]).slower  # by more than 1.125
    assert not times([1.0, 1.0, 1.0]).slower
    results = [
        training.TrainingResult("melgan_block_1", {FORWARD: even, STEP: times([2.5, 2.5, 2.5])}),
        training.TrainingResult("melgan_block_2", {FORWARD: even, STEP: times([1.0, 1.0, 1.0])}),
    ]
    lines = training_report.report(results, {"engine": "any"}).splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("| melgan_block")]
    cells = [[cell.strip() for cell in row] for row in rows]
    itself = "1.00 (0.90 to 1.12)"
    assert cells[:2] == [
        ["melgan_block_1", "2000.0 ms", "2500.0 ms", "0.80 (0.80 to 0.80)", itself, "yes", ""],
        ["melgan_block_2", "2000.0 ms", "1000.0 ms", "2.00 (2.00 to 2.00)", itself, "", ""],
    ]
    summary = next(line for line in lines if line.startswith("| training step"))
    assert [cell.strip() for cell in summary.split("|")[2:-1]] == ["2", "1.40", "0.80", "2.00", "1"]


@pytest.mark.usefixtures("quick")
def test_a_program_is_measured_with_every_block(tmp_path, capsys):
    path = tmp_path / "figures.json"
    arguments = ["--programs", "melgan_block_3", "melgan_block_3", "--json", str(path)]
    assert command_line.main(["bench", *arguments, "--seconds", "0.01"]) == 0
    printed = capsys.readouterr()
    assert "1/1" in printed.err  # a program that is named twice is measured once
    assert "| melgan_block_3 | 2     | 256x8 | 512x4" in printed.out
    figures = json.loads(path.read_text())
    assert (figures["engine"], figures["dtype"]) == (BACKEND, "float32")
    (record,) = figures["programs"]
    assert record["program"] == "melgan_block_3"
    for name in (FORWARD, STEP):
        times = record["passes"][name]
        assert list(times["seconds"]) == [TWO_LAYERS, AGAIN, ONE_LAYER, TRANSPOSE]
        assert all(len(seconds) >= 9 for seconds in times["seconds"].values())
        assert f"{times['gain']['median']:.2f} (" in printed.out
        contenders = [TWO_LAYERS, ONE_LAYER, TRANSPOSE, LESS_MEMORY]
        assert list(times["peak_bytes"]) == contenders
    assert config.preference() == "time"
    assert LESS_MEMORY in printed.out


def test_memory_is_measured_with_methods_chosen_for_it(monkeypatch):
    preferences = []

    def spied(*_):
        preferences.append(config.preference())
        return SimpleNamespace(peak_bytes=lambda: 1)

    monkeypatch.setattr(training, "program_of", spied)
    monkeypatch.setitem(PROGRAMS, "melgan_block_3", small("melgan_block_3"))
    monkeypatch.setattr(timing, "SHORT", 1e-9)
    training.measure_training("melgan_block_3", seconds=0.01)
    assert preferences == 2 * ["time", "time", "time", "memory"]


def test_a_step_updates_all_weights_and_a_forward_pass_none():
    program = small("wgan_gp")
    model = program.build(upsample_conv, program.width, program.length)
    calls = training._calls(model, *training._data(model, 2, "float32"), jit_compile=False)
    before = [to_numpy(variable) for variable in model.weights]
    assert calls[FORWARD]().shape == (2, *model.output_shape[1:])
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable), value)
    calls[STEP]()
    for variable, value in zip(model.weights, before, strict=True):
        assert np.any(to_numpy(variable) != value), variable.path


def test_programs_compute_in_the_requested_dtype():
    before = keras.config.dtype_policy()
    models = training.models_of(small("melgan_block_3"), "bfloat16")
    assert keras.config.dtype_policy() == before
    assert {str(model.outputs[0].dtype) for model in models.values()} == {"bfloat16"}
    assert {weight.dtype for model in models.values() for weight in model.weights} == {"float32"}


@pytest.mark.parametrize(
    ("error", "code", "message", "measured"),
    [
        (KeyboardInterrupt(), 130, "Interrupted after 1 of 3 programs.", ["melgan_block_1"]),
        (RuntimeError("a\nb"), 1, "unet: a\n", ["melgan_block_1", "edsr"]),
        (MemoryError(), 1, "unet: it does not fit into memory", ["melgan_block_1", "edsr"]),
    ],
)
def test_what_was_measured_is_published(error, code, message, measured, capsys, monkeypatch):
    times = Times({name: [1.0, 1.0] for name in (TWO_LAYERS, AGAIN, ONE_LAYER)}, {})

    def measure(name, **_):
        if name == "unet":
            raise error
        return training.TrainingResult(name, {FORWARD: times, STEP: times})

    monkeypatch.setattr(bench_programs, "measure_training", measure)
    assert command_line.main(["bench", "--programs", "melgan_block_1", "unet", "edsr"]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    table = printed.out.split("### Training step")[1].split("###")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if " ms " in line]
    assert rows == measured


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quick", "--size", "2"], "--quick, --size cannot be used with --programs. Leave it"),
        (["--random", "2"], "--random cannot be used with --programs"),
        (["--fit", "--seed", "0"], "--seed, --fit cannot be used with --programs"),
        (
            ["--dtype", "float32", "bfloat16"],
            "Programs have one dtype. Received: --dtype float32",
        ),
        pytest.param(
            ["--jit-compile"],
            f"--jit-compile requires TensorFlow. Keras runs on {BACKEND}",
            marks=pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has XLA"),
        ),
    ],
)
def test_options_without_effect_are_errors(arguments, message, capsys):
    assert command_line.main(["bench", "--programs", "unet", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_unknown_programs_are_errors_that_name_the_known(capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["bench", "--programs", "u_net"])
    assert "invalid choice: 'u_net' (choose from 'dcgan', " in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        command_line.main(["bench", "--help"])
    assert set(PROGRAMS) <= set(capsys.readouterr().out.replace(",", " ").split())


def test_pytorch_waits_for_the_device_of_the_input(monkeypatch):
    if BACKEND != "torch":
        pytest.skip("only PyTorch is told which device to wait for")
    import torch

    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    with keras.device("meta"):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        x = ops.zeros((1, 3))
        program = program_of(model, x)
        program.run()
    assert waited == [x.device]
    assert program.peak_bytes() is None  # memory is known for CUDA and ROCm
