"""Published architectures compute the same with either block, and their times are reported."""

import functools
import itertools
import json
import re
import weakref
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops

from keras_upsampling import __main__ as command_line
from keras_upsampling import config
from keras_upsampling.bench import published, timing, training, training_report
from keras_upsampling.bench.architectures import ARCHITECTURES
from keras_upsampling.bench.blocks import transposed_conv, upsample_conv, upsampling_conv
from keras_upsampling.bench.programs import program_of
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
    """An architecture with few channels and short maps."""
    architecture = ARCHITECTURES[name]
    if "unet" in name:
        build = functools.partial(architecture.build, depth=1)
        architecture = architecture._replace(build=build)
    width = 16 if name == "deeplab_head" else 4
    length = max(2, architecture.length // 8)
    return architecture._replace(width=width, length=length, batch=2)


@pytest.fixture
def quick(monkeypatch):
    """An architecture that is measured quickly."""
    monkeypatch.setitem(ARCHITECTURES, "melgan_block_3", small("melgan_block_3"))
    monkeypatch.setattr(timing, "SHORT", 1e-9)


def built(architecture, block):
    """A model whose layers have the same names whatever the block is."""
    keras.utils.clear_session(free_memory=False)
    count = itertools.count()

    def named(*arguments, **options):
        return block(*arguments, name=f"block_{next(count)}", **options)

    return architecture.build(named, architecture.width, architecture.length)


def output_and_gradients(model, inputs, cotangent):
    """The output in training, and the gradients of all weights by layer."""
    state = [ops.convert_to_tensor(variable.numpy()) for variable in model.non_trainable_variables]

    def output(*weights):
        return model.stateless_call(list(weights), state, inputs, training=True)[0]

    weights = [ops.convert_to_tensor(variable.numpy()) for variable in model.trainable_variables]
    value, gradients = value_and_gradients(output, weights, cotangent)
    paths = [variable.path for variable in model.trainable_variables]
    return value, dict(zip(paths, gradients, strict=True))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_compute_the_same_with_either_block(name, monkeypatch):
    monkeypatch.setattr(published, "_EDSR_DEPTH", 1)
    monkeypatch.setattr(published, "_DIFFUSION_DEPTH", 0)  # two are left
    if name == "melgan":  # the others are like these
        monkeypatch.setattr(published, "_MELGAN_BLOCKS", published._MELGAN_BLOCKS[1:3])
    architecture = small(name)
    theirs, ours = (built(architecture, block) for block in (upsampling_conv, upsample_conv))
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


@pytest.mark.skipif(BACKEND != "torch", reason="their number is the same, and takes longer")
@pytest.mark.parametrize(
    ("name", "width", "weights"),
    [
        # As printed by Keras's examples.
        ("vae_decoder", 32, 65_089),
        ("wgan_gp", 64, 910_660),
        # As said of Stable Diffusion's decoder.
        ("diffusion_decoder", 128, 49_490_179),
        # The publication leaves out the normalization: four numbers for each of 2336 channels.
        ("unet_3d", 32, 19_069_955 + 4 * 2336),
    ],
)
def test_architectures_have_as_many_weights_as_published(name, width, weights):
    architecture = ARCHITECTURES[name]
    model = architecture.build(transposed_conv, width, architecture.length)
    assert model.count_params() == weights


def test_transposed_convolutions_that_leave_gaps_are_left_out():
    without = {
        name
        for name in ("vae_decoder", "deeplab_head", *(f"melgan_block_{i}" for i in (1, 2, 3, 4)))
        if TRANSPOSE not in training.models_of(small(name))
    }
    assert without == {"deeplab_head", "melgan_block_1", "melgan_block_2"}


def test_a_model_differs_from_itself_by_its_spread():
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


def test_ratios_are_summarized_by_their_geometric_mean():
    def times(ours):
        seconds = {TWO_LAYERS: [2.0, 2.0, 2.0], AGAIN: [1.6, 2.0, 2.5], ONE_LAYER: 3 * [ours]}
        return Times(seconds, dict.fromkeys(seconds))

    results = [
        training.TrainingResult(name, {FORWARD: times(2.0), STEP: times(ours)})
        for name, ours in [("wgan_gp", 0.25), ("melgan_block_1", 2.5), ("melgan_block_2", 1.0)]
    ]
    lines = training_report.report(results, {"engine": "any"}).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    itself = "1.00 (0.90 to 1.12)"
    assert [row for row in rows if row and row[0].startswith("melgan_block")][:2] == [
        ["melgan_block_1", "2000.0 ms", "2500.0 ms", "0.80 (0.80 to 0.80)", itself, "yes", ""],
        ["melgan_block_2", "2000.0 ms", "1000.0 ms", "2.00 (2.00 to 2.00)", itself, "", ""],
    ]
    assert [row for row in rows if row and row[0] in (FORWARD, STEP)] == [
        # The third root of 0.8 * 2 * 8, and the square root of 0.8 * 2.
        [STEP, "all", "3", "2.34", "0.80", "8.00", "1"],
        [STEP, "one dimension (MelGAN)", "2", "1.26", "0.80", "2.00", "1"],
        [FORWARD, "all", "3", "1.00", "1.00", "1.00", "0"],
        [FORWARD, "one dimension (MelGAN)", "2", "1.00", "1.00", "1.00", "0"],
    ]
    (only,) = [row for row in rows if row and row[0] == "wgan_gp" and "arXiv" in row[-2]]
    assert only[-1] == "batch (512)"
    alone = training_report.report(results[:1], {"engine": "any"})
    assert "MelGAN" not in alone


@pytest.fixture
def models(monkeypatch):
    """Weak references to the models that are measured."""
    models_of, models = training.models_of, []

    def spied(*arguments):
        made = models_of(*arguments)
        models.extend(weakref.ref(model) for model in made.values())
        return made

    monkeypatch.setattr(training, "models_of", spied)
    return models


@pytest.mark.usefixtures("quick")
def test_an_architecture_is_measured_with_every_block(models, tmp_path, capsys):
    path = tmp_path / "figures.json"
    arguments = ["--programs", "melgan_block_3", "melgan_block_3", "--json", str(path)]
    assert command_line.main(["bench", *arguments, "--seconds", "0.01"]) == 0
    printed = capsys.readouterr()
    assert "1/1" in printed.err  # what is named twice is measured once
    assert "| melgan_block_3 | 2     | 256x8 | 512x4" in printed.out
    figures = json.loads(path.read_text())
    assert (figures["engine"], figures["dtype"]) == (BACKEND, "float32")
    (record,) = figures["programs"]
    assert record["architecture"] == "melgan_block_3"
    for name in (FORWARD, STEP):
        times = record["passes"][name]
        assert list(times["seconds"]) == [TWO_LAYERS, AGAIN, ONE_LAYER, TRANSPOSE]
        assert all(len(seconds) >= 9 for seconds in times["seconds"].values())
        assert f"{times['gain']['median']:.2f} (" in printed.out
        contenders = [TWO_LAYERS, ONE_LAYER, TRANSPOSE, LESS_MEMORY]
        assert list(times["peak_bytes"]) == contenders
    assert config.preference() == "time"
    assert LESS_MEMORY in printed.out
    assert [model() for model in models] == 4 * [None]  # freed


@pytest.mark.parametrize("xla", [False, True])
def test_memory_is_that_of_the_engine_with_methods_chosen_for_it(xla, monkeypatch):
    if xla and BACKEND != "tensorflow":
        pytest.skip("an engine of TensorFlow")
    engine = BACKEND + "-xla" * xla
    measured = []

    def spied(*arguments):
        measured.append((config.preference(), arguments[-1]))
        return SimpleNamespace(peak_bytes=lambda: 1)

    def calls(*arguments):
        assert arguments[-1] == engine
        return dict.fromkeys((FORWARD, STEP), lambda: None)

    monkeypatch.setattr(training, "program_of", spied)
    monkeypatch.setattr(training, "_calls", calls)
    monkeypatch.setitem(ARCHITECTURES, "melgan_block_3", small("melgan_block_3"))
    monkeypatch.setattr(timing, "SHORT", 1e-9)
    training.measure_training("melgan_block_3", seconds=0.01, engine=engine)
    preferences = [*3 * ["time"], "memory"]
    assert measured == 2 * [(preference, engine) for preference in preferences]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="Keras chooses XLA on TensorFlow")
@pytest.mark.parametrize("engine", ["tensorflow", "tensorflow-xla"])
def test_keras_compiles_with_xla_if_the_engine_is_that(engine):
    model = built(small("melgan_block_3"), upsample_conv)
    training._calls(model, *training._data(model, 2, "float32"), engine)
    assert model.jit_compile == (engine == "tensorflow-xla")


def test_a_step_updates_all_weights_and_a_forward_pass_none():
    model = built(small("wgan_gp"), upsample_conv)
    calls = training._calls(model, *training._data(model, 2, "float32"), BACKEND)
    before = [to_numpy(variable) for variable in model.weights]
    assert calls[FORWARD]().shape == (2, *model.output_shape[1:])
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable), value)
    calls[STEP]()
    for variable, value in zip(model.weights, before, strict=True):
        assert np.any(to_numpy(variable) != value), variable.path


def test_architectures_compute_in_the_requested_dtype():
    before = keras.config.dtype_policy()
    models = training.models_of(small("melgan_block_3"), "bfloat16")
    assert keras.config.dtype_policy() == before
    assert {str(model.outputs[0].dtype) for model in models.values()} == {"bfloat16"}
    assert {weight.dtype for model in models.values() for weight in model.weights} == {"float32"}


@pytest.mark.parametrize(
    ("error", "code", "message", "measured"),
    [
        (KeyboardInterrupt(), 130, "Interrupted after 1 of 3 architectures.", ["melgan_block_1"]),
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


def test_unknown_architectures_are_errors_that_name_the_known(capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["bench", "--programs", "u_net"])
    message = capsys.readouterr().err
    assert "invalid choice: 'u_net'" in message
    assert set(ARCHITECTURES) <= set(re.findall(r"\w+", message.split("choose from")[1]))
    with pytest.raises(SystemExit, match="0"):
        command_line.main(["bench", "--help"])
    assert set(ARCHITECTURES) <= set(capsys.readouterr().out.replace(",", " ").split())


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
