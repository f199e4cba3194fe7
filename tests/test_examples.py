import importlib
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.layers import Concatenate, Conv2D, Conv2DTranspose, MaxPooling2D, UpSampling2D

from keras_upsampling import tutorial_autoencoder

EXAMPLES = Path(__file__).parents[1] / "examples"
TRAINING_PROGRAMS = ["mnist_autoencoder", "compare_decoders"]
PROGRAMS_ON_DIGITS = [*TRAINING_PROGRAMS, "unet"]


@pytest.fixture
def example(monkeypatch):
    """Import an example as `python examples/NAME.py` imports it."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def random_digits(count, seed):
    """Return noise with black, white and grey pixels, in the layout of MNIST."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.integers(-150, 400, (count, 28, 28)), 0, 255).astype("uint8")


@pytest.fixture
def arrays():
    return {"x_train": random_digits(20, seed=1), "x_test": random_digits(9, seed=2)}


@pytest.fixture
def data(tmp_path, arrays):
    path = tmp_path / "tiny.npz"
    np.savez(path, **arrays)
    return path


def picture(path):
    """Read a PNG, and check that it is not empty."""
    from matplotlib.image import imread

    pixels = imread(path)
    height, width, _ = pixels.shape
    assert 200 < height < 2000
    assert 500 < width < 2000
    assert len(np.unique(pixels[..., :3].reshape(-1, 3), axis=0)) > 50
    return pixels


def slow_cross_entropy(targets, predictions):
    """Return the mean of -t log p - (1 - t) log(1 - p), computed pixel by pixel."""
    losses = []
    for t, p in zip(targets.ravel().tolist(), predictions.ravel().tolist(), strict=True):
        loss = 0.0
        if t > 0:
            loss -= t * math.log(p)
        if t < 1:
            loss -= (1 - t) * math.log(1 - p)
        losses.append(loss)
    return math.fsum(losses) / len(losses)


# The network of the tutorial


def test_autoencoder_has_the_parameters_and_shapes_of_the_tutorial(example):
    model = example("mnist_autoencoder").build_autoencoder()

    assert model.count_params() == 1393
    assert [layer.output.shape[1:] for layer in model.layers] == [
        (28, 28, 8),
        (14, 14, 8),
        (14, 14, 8),
        (7, 7, 8),
        (4, 4, 8),
        (4, 4, 8),
        (7, 7, 8),
        (14, 14, 8),
        (28, 28, 1),
    ]
    assert [layer.kernel_size for layer in model.layers if hasattr(layer, "kernel")] == [(2, 2)] * 7


def test_autoencoder_equals_plain_keras_with_the_same_weights(example):
    model = example("mnist_autoencoder").build_autoencoder()
    plain = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            Conv2D(8, 2, padding="same", activation="relu"),
            MaxPooling2D(2, padding="same"),
            Conv2D(8, 2, padding="same", activation="relu"),
            MaxPooling2D(2, padding="same"),
            Conv2D(8, 2, strides=2, padding="same", activation="relu"),
            Conv2D(8, 2, padding="same", activation="relu"),
            UpSampling2D(2, interpolation="bilinear"),
            Conv2D(8, 2, padding="valid", activation="relu"),
            UpSampling2D(2, interpolation="bilinear"),
            Conv2D(8, 2, padding="same", activation="relu"),
            UpSampling2D(2, interpolation="bilinear"),
            Conv2D(1, 2, padding="same", activation="sigmoid"),
        ]
    )
    upsampled = [layer.output.shape[1:] for layer in plain.layers if "up_sampling" in layer.name]
    assert upsampled == [(8, 8, 8), (14, 14, 8), (28, 28, 8)]
    rng = np.random.default_rng(0)
    # Biases start at zero, so they are set too. Small weights saturate neither relu nor sigmoid.
    weights = [rng.uniform(-0.3, 0.4, weight.shape) for weight in model.get_weights()]
    model.set_weights(weights)
    plain.set_weights(weights)
    digits = example("digits").load("sample").test[:10]

    outputs = model.predict(digits, verbose=0)

    assert np.ptp(outputs) > 0.05
    np.testing.assert_allclose(outputs, plain.predict(digits, verbose=0), rtol=0, atol=1e-6)


def test_compared_networks_differ_in_the_decoder_only(example):
    compare = example("compare_decoders")
    models = {block: compare.build(block, [16, 32, 8], seed=3) for block in compare.BLOCKS}

    first, *others = models.values()
    assert first.encoder.output_shape == (None, 4, 4, 8)
    assert first.output_shape == (None, 28, 28, 1)
    for model in others:
        assert model.output_shape == first.output_shape
        assert 0.3 * first.count_params() < model.count_params() <= first.count_params()
        for layer, twin in zip(first.encoder.layers[1:], model.encoder.layers[1:], strict=True):
            assert layer.get_config() == twin.get_config()
            for weight, same in zip(layer.get_weights(), twin.get_weights(), strict=True):
                np.testing.assert_array_equal(weight, same)
    kinds = {
        block: type(model.decoder.get_layer("up_1_conv")).__name__
        for block, model in models.items()
    }
    assert kinds["upsample_conv"] == "UpsampleConv2D"
    assert kinds["subpixel_conv"] == "SubpixelConv2D"
    assert kinds["transposed"] == "Conv2DTranspose"


def test_a_block_that_exceeds_the_budget_is_an_error(example, monkeypatch):
    compare = example("compare_decoders")
    monkeypatch.setitem(
        compare.BLOCKS,
        "large",
        lambda filters, size, name: Conv2DTranspose(
            filters, 99, strides=size, padding="same", name=f"{name}_conv"
        ),
    )
    with pytest.raises(
        SystemExit, match=r"No decoder of \d+ parameters or fewer uses the block large"
    ):
        compare.build("large", [2, 2, 2], seed=0)


def test_the_seed_decides_the_initial_weights(example):
    compare = example("compare_decoders")
    first, repeated, different = (
        compare.build("upsample_conv", [2, 4, 2], seed).get_weights() for seed in (0, 0, 1)
    )

    for weight, same in zip(first, repeated, strict=True):
        np.testing.assert_array_equal(weight, same)
    assert all(np.any(a != b) for a, b in zip(first, different, strict=True) if a.ndim == 4)


def test_the_decoders_are_compared(example, data, tmp_path, capsys):
    main = example("compare_decoders").main
    small = ["--epochs", "1", "--seeds", "2", "--filters", "2", "4", "2"]
    chosen = ["--blocks", "upsample_conv", "transposed"]
    main(["--data", str(data), "--output", str(tmp_path / "new"), *small, *chosen])
    printed = capsys.readouterr().out

    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "compare_decoders.md",
        "compare_decoders.png",
    ]
    picture(tmp_path / "new" / "compare_decoders.png")
    table = (tmp_path / "new" / "compare_decoders.md").read_text()
    assert table in printed
    test = example("digits").load(str(data)).test
    floor = slow_cross_entropy(test, test)
    assert f"the floor is {floor:.4f}" in table
    for block in chosen[1:]:
        pattern = rf"^{block}, seed \d: test loss (\S+),"
        losses_by_seed = [float(number) for number in re.findall(pattern, printed, re.M)]
        numbers = r"\| [ 0-9]+ \| \S+ \| (\S+) ± (\S+) \| (\S+) ± "
        (row,) = re.findall(rf"^\| {block} {numbers}", table, re.M)
        mean = np.mean(losses_by_seed)
        expected = [mean, np.std(losses_by_seed, ddof=1), mean - floor]
        np.testing.assert_allclose([float(number) for number in row], expected, atol=2e-4)


def test_the_preset_is_the_examples_network(example):
    network = example("mnist_autoencoder").build_autoencoder()
    preset = tutorial_autoencoder()
    preset.set_weights(network.get_weights())
    digits = example("digits").load("sample").test[:5]
    np.testing.assert_array_equal(
        preset.predict(digits, verbose=0), network.predict(digits, verbose=0)
    )


# The programs


def test_training_reports_and_draws(example, arrays, data, tmp_path, capsys):
    program = "mnist_autoencoder"
    output = tmp_path / "new" / "folder"
    main = example(program).main
    arguments = ["--data", str(data), "--epochs", "1", "--seed", "5", "--output", str(output)]

    main(arguments)
    printed = capsys.readouterr().out

    assert f"Digits: 20 training and 9 test digits, from {data}\n" in printed
    assert f"Picture: {output / program}.png\n" in printed
    assert [path.name for path in output.iterdir()] == [f"{program}.png"]
    picture(output / f"{program}.png")

    train, validation, test = (
        part / 255 for part in (*np.split(arrays["x_train"], [16]), arrays["x_test"])
    )
    rows = losses(printed)
    floor = [slow_cross_entropy(part, part) for part in (train, validation, test)]
    constant = [
        slow_cross_entropy(part, np.full(part.shape, train.mean()))
        for part in (train, validation, test)
    ]
    np.testing.assert_allclose(rows.pop("lowest possible"), floor, atol=6e-5)
    np.testing.assert_allclose(rows.pop("constant prediction"), constant, atol=6e-5)
    assert set(rows) == {"autoencoder"}
    assert np.all(np.array(rows["autoencoder"]) > floor)
    assert np.all(np.array(rows["autoencoder"]) < 5)


def losses(printed):
    """Return the rows of the printed table of losses."""
    table = printed.split("Binary cross-entropy")[1]
    rows = re.findall(r"^(\S.*?)  +(?:1,393  +)?(\d\.\d+)  +(\d\.\d+)  +(\d\.\d+)$", table, re.M)
    return {name: [float(number) for number in numbers] for name, *numbers in rows}


def test_losses_are_those_of_the_trained_model(example, data):
    autoencoder, digits = example("mnist_autoencoder"), example("digits").load(str(data))
    parts = autoencoder.split(digits)
    assert [len(part) for part in parts] == [16, 4, 9]
    model = autoencoder.build_autoencoder()
    before = model.get_weights()

    reported = autoencoder.train(model, parts, epochs=1, seed=0)

    assert all(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
    measured = [slow_cross_entropy(part, model.predict(part, verbose=0)) for part in parts]
    np.testing.assert_allclose(reported, measured, rtol=1e-5)
    assert model.optimizer.name == "adam"


def test_defaults_are_those_of_the_tutorial(example, monkeypatch, tmp_path):
    options_of_train = {}

    def train(_, parts, **options):
        options_of_train.update(options, lengths=[len(part) for part in parts])
        raise InterruptedError

    monkeypatch.chdir(tmp_path)
    module = example("mnist_autoencoder")
    monkeypatch.setattr(module, "train", train)
    with pytest.raises(InterruptedError):
        module.main([])
    assert options_of_train == {"epochs": 25, "seed": 0, "lengths": [4000, 1000, 1000]}
    assert example("mnist_autoencoder").BATCH_SIZE == 25
    assert (tmp_path / "output").is_dir()


@pytest.mark.parametrize("program", PROGRAMS_ON_DIGITS)
def test_a_failed_download_names_the_alternatives(example, program, monkeypatch, tmp_path, capsys):
    def load_data():
        raise Exception("URL fetch failure on somewhere")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", load_data)
    with pytest.raises(SystemExit) as stop:
        example(program).main(["--data", "keras", "--output", str(tmp_path)])
    message = capsys.readouterr().err
    assert stop.value.code not in (None, 0)
    assert "URL fetch failure on somewhere" in message
    assert "--data sample" in message
    assert "--data PATH" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "argument --epochs: '0' is not an integer of at least 1"),
        (["--epochs", "2.5"], "argument --epochs: '2.5' is not an integer of at least 1"),
        (["--seed", "-1"], "argument --seed: '-1' is not an integer of at least 0"),
        (["--data", "missing.npz"], "There is no file missing.npz"),
        (["--output", "occupied"], "argument --output: .*occupied"),
        (["--output", ""], "argument --output: '' names nothing"),
    ],
)
@pytest.mark.parametrize("program", PROGRAMS_ON_DIGITS)
def test_invalid_arguments_are_errors(
    example, program, arguments, message, monkeypatch, tmp_path, capsys
):
    (tmp_path / "occupied").write_text("a file")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        example(program).main(arguments)
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err)


# The U-Net


@pytest.fixture(scope="module")
def unet_of_two_sizes():
    """A smaller U-Net with its initial weights."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        program = importlib.import_module("unet")
    finally:
        sys.path.remove(str(EXAMPLES))
    keras.utils.set_random_seed(0)
    return program.build_unet((2, 3))


def test_the_unet_joins_maps_of_odd_sizes(example):
    model = example("unet").build_unet()
    assert model.count_params() == 22105
    joined = [layer for layer in model.layers if isinstance(layer, Concatenate)]
    shapes = keras.Model(model.inputs, [layer.output for layer in joined]).compute_output_shape(
        (1, 28, 28, 1)
    )
    assert [shape[1] for shape in shapes] == [7, 14, 28]


@pytest.mark.parametrize("shape", [(28, 28), (13, 7), (1, 2)])
def test_the_unet_takes_any_size(unet_of_two_sizes, shape):
    x = np.random.default_rng(0).random((2, *shape, 1)).astype("float32")
    assert unet_of_two_sizes.predict(x, verbose=0).shape == x.shape


def test_the_unet_is_saved_and_loaded(unet_of_two_sizes, tmp_path):
    unet_of_two_sizes.save(tmp_path / "unet.keras")
    loaded = keras.saving.load_model(tmp_path / "unet.keras", safe_mode=True)
    x = np.random.default_rng(0).random((2, 7, 7, 1)).astype("float32")
    expected = unet_of_two_sizes.predict(x, verbose=0)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=0, atol=1e-6)


def slow_squared_error(images, clean):
    differences = (np.broadcast_to(images, clean.shape) - clean).astype(float).ravel().tolist()
    return math.fsum(difference * difference for difference in differences) / len(differences)


def test_the_unet_reports_and_draws(
    example, unet_of_two_sizes, data, monkeypatch, tmp_path, capsys
):
    output = tmp_path / "new" / "folder"
    unet, model = example("unet"), unet_of_two_sizes
    monkeypatch.setattr(unet, "build_unet", lambda: model)
    arguments = ["--data", str(data), "--epochs", "1", "--seed", "5", "--output", str(output)]

    before = model.get_weights()
    unet.main(arguments)
    assert all(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
    printed = capsys.readouterr().out

    assert [path.name for path in output.iterdir()] == ["unet.png"]
    picture(output / "unet.png")
    parts = unet.split(example("digits").load(str(data)), seed=5)
    assert [len(part.clean) for part in parts] == [16, 4, 9]
    table = printed.split("Mean squared error")[1]
    rows = re.findall(r"^(\S.*?)  +(\d\.\d+)  +(\d\.\d+)  +(\d\.\d+)$", table, re.M)
    rows = {name: [float(number) for number in numbers] for name, *numbers in rows}
    assert set(rows) == {"U-Net", "best 5x5 filter", "mean pixel", "noisy digits"}
    expected = [
        slow_squared_error(model.predict(part.noisy, verbose=0), part.clean) for part in parts
    ]
    np.testing.assert_allclose(rows["U-Net"], expected, rtol=0, atol=6e-5)
    mean = parts[0].clean.mean()
    expected = [slow_squared_error(mean, part.clean) for part in parts]
    np.testing.assert_allclose(rows["mean pixel"], expected, rtol=0, atol=6e-5)
    expected = [slow_squared_error(part.noisy, part.clean) for part in parts]
    np.testing.assert_allclose(rows["noisy digits"], expected, rtol=0, atol=6e-5)
    # The fitted filter is the best on its training digits. The identity and the mean are filters.
    assert rows["best 5x5 filter"][0] < min(rows["mean pixel"][0], rows["noisy digits"][0])


def test_the_best_filter_finds_the_filter(example):
    unet = example("unet")
    taps = np.random.default_rng(1).random((5, 5))
    noisy = np.random.default_rng(0).random((12, 9, 8, 1))
    padded = np.pad(noisy[..., 0], [(0, 0), (2, 2), (2, 2)], "edge")
    clean = np.zeros((12, 9, 8))
    for row in range(5):
        for column in range(5):
            clean += taps[row, column] * padded[:, row : row + 9, column : column + 8]
    parts = [unet.Part(noisy, clean[..., None] + 0.25)]
    assert unet.references(parts)["best 5x5 filter"][0] < 1e-20


INTERPOLATIONS = ["nearest", "linear", "cubic", "lanczos3", "lanczos5"]


@pytest.mark.parametrize("interpolation", [*INTERPOLATIONS, "all"])
def test_upsample_image(example, interpolation, tmp_path, capsys):
    program = example("upsample_image")
    program.main(["--interpolation", interpolation, "--output", str(tmp_path)])
    shown = INTERPOLATIONS if interpolation == "all" else [interpolation]
    assert capsys.readouterr().out.splitlines() == [
        *(f"{name}: (1, 2, 2, 1) -> (1, 64, 64, 1)" for name in shown),
        f"Picture: {tmp_path / 'upsample_image.png'}",
    ]
    height, width, _ = picture(tmp_path / "upsample_image.png").shape
    assert (height > 600) == (interpolation == "all")  # two rows of images
    assert width > height


def test_upsample_image_interpolates_linearly(example):
    program = example("upsample_image")
    centres = (np.arange(64) + 0.5) / 32 - 0.5
    rows, columns = np.interp(centres, [0, 1], [0, 1]), np.interp(centres, [0, 1], [0, 0.5])
    upsampled = program.upsample(program.image(), "linear")
    np.testing.assert_allclose(upsampled[0, :, :, 0], rows[:, None] + columns, atol=1e-6)


def test_images_share_a_colour_scale_with_a_bar(example):
    figure = example("upsample_image").draw(
        {"low": np.array([0.0, 1.0]).reshape(1, 1, 2, 1), "high": np.full((1, 2, 2, 1), 3.0)}
    )
    low, high, bar = figure.axes
    assert [low.get_title(), high.get_title(), bar.get_ylabel()] == ["low", "high", "value"]
    assert low.images[0].get_clim() == high.images[0].get_clim() == (0, 3)


def test_an_unknown_interpolation_is_an_error(example, capsys):
    with pytest.raises(SystemExit) as stop:
        example("upsample_image").main(["--interpolation", "sinc"])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert all(name in message for name in ["'sinc'", *INTERPOLATIONS, "all"])


def test_programs_run_as_files_from_anywhere(tmp_path):
    process = subprocess.run(
        [sys.executable, EXAMPLES / "upsample_image.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    picture(tmp_path / "output" / "upsample_image.png")


# Digits


def test_sample_is_small_and_balanced():
    path = EXAMPLES / "data" / "mnist_sample.npz"
    assert path.stat().st_size <= 1_300_000
    with np.load(path) as sample:
        assert sorted(sample) == ["x_test", "x_train", "y_test", "y_train"]
        for part, per_class in (("train", 500), ("test", 100)):
            images, labels = sample[f"x_{part}"], sample[f"y_{part}"]
            assert images.shape == (10 * per_class, 28, 28)
            assert images.dtype == labels.dtype == np.uint8
            assert np.bincount(labels).tolist() == [per_class] * 10
            assert len(np.unique(images, axis=0)) == len(images)
        # The validation digits are balanced as well, and in random order.
        assert np.bincount(sample["y_train"][4000:]).tolist() == [100] * 10
        assert np.any(sample["y_train"][:10] != sample["y_train"][10:20])


def test_loading_the_sample(example):
    digits = example("digits").load("sample")
    with np.load(EXAMPLES / "data" / "mnist_sample.npz") as sample:
        np.testing.assert_allclose(digits.train[..., 0] * 255, sample["x_train"], atol=1e-4)
        np.testing.assert_allclose(digits.test[..., 0] * 255, sample["x_test"], atol=1e-4)
    assert digits.train.shape == (5000, 28, 28, 1)
    assert digits.train.dtype == digits.test.dtype == "float32"
    assert digits.description.startswith("5,000 training and 1,000 test MNIST digits, the sample")


def test_loading_what_keras_downloads(example, monkeypatch, arrays):
    parts = tuple((x, np.zeros(len(x), "uint8")) for x in arrays.values())
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: parts)
    digits = example("digits").load("keras")
    np.testing.assert_allclose(digits.train[..., 0] * 255, arrays["x_train"], atol=1e-4)
    np.testing.assert_allclose(digits.test[..., 0] * 255, arrays["x_test"], atol=1e-4)
    assert digits.description == "20 training and 9 test MNIST digits, from keras.datasets.mnist"


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"x_test": None}, "is not a .npz file with x_train and x_test: .*x_test"),
        (
            {"x_test": np.zeros((3, 28, 27), "uint8")},
            r"x_test .*Received: shape=\(3, 28, 27\), dtype=uint8",
        ),
        ({"x_train": np.zeros((3, 784), "uint8")}, r"x_train .*Received: shape=\(3, 784\)"),
        ({"x_train": np.zeros((3, 28, 28))}, "x_train .*Received: .*dtype=float64"),
        (
            {"x_test": np.zeros((0, 28, 28), "uint8")},
            "x_test must have at least one digit. Received: 0",
        ),
        (
            {"x_train": np.zeros((1, 28, 28), "uint8")},
            "x_train must have at least two digits.*Received: 1",
        ),
    ],
)
def test_loading_other_arrays_is_an_error(example, tmp_path, arrays, replaced, message):
    arrays = {name: array for name, array in (arrays | replaced).items() if array is not None}
    np.savez(tmp_path / "other.npz", **arrays)
    digits = example("digits")
    with pytest.raises(digits.DigitsError, match=message):
        digits.load(str(tmp_path / "other.npz"))


def test_loading_other_files_is_an_error(example, tmp_path):
    digits = example("digits")
    (tmp_path / "note.npz").write_text("not arrays")
    with pytest.raises(digits.DigitsError, match=r"note\.npz is not a \.npz file with x_train"):
        digits.load(str(tmp_path / "note.npz"))
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(digits.DigitsError, match=r"single\.npy is not a \.npz file with x_train"):
        digits.load(str(tmp_path / "single.npy"))
    with pytest.raises(digits.DigitsError, match=r"There is no file .*sample, keras or a \.npz"):
        digits.load(str(tmp_path))


def test_drawing_a_sample(example, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES / "data")
    drawing = example("draw_sample")
    monkeypatch.setattr(drawing, "PER_CLASS", {"train": 6, "test": 2})
    source = {}
    for part, count in (("train", 200), ("test", 80)):
        source[f"x_{part}"] = random_digits(count, seed=count)
        source[f"y_{part}"] = (np.arange(count) % 10).astype("uint8")
    np.savez(tmp_path / "source.npz", **source)

    def draw(name, *arguments):
        path = tmp_path / name
        drawing.main([str(tmp_path / "source.npz"), "--output", str(path), *arguments])
        return path

    first, repeated, different = (
        draw("a.npz"),
        draw("b.npz", "--seed", "0"),
        draw("c.npz", "--seed", "1"),
    )
    assert {path.name for path in tmp_path.iterdir()} == {"source.npz", "a.npz", "b.npz", "c.npz"}
    assert first.read_bytes() == repeated.read_bytes()
    with np.load(first) as drawn, np.load(different) as different_digits:
        assert np.any(drawn["x_train"] != different_digits["x_train"])
        for part, per_class in (("train", 6), ("test", 2)):
            images, labels = drawn[f"x_{part}"], drawn[f"y_{part}"]
            tens = labels.reshape(per_class, 10)
            assert np.sort(tens, axis=1).tolist() == [list(range(10))] * per_class
            assert np.any(tens[:-1] != tens[1:])
            available = {
                (image.tobytes(), label)
                for image, label in zip(source[f"x_{part}"], source[f"y_{part}"], strict=True)
            }
            taken = {(image.tobytes(), label) for image, label in zip(images, labels, strict=True)}
            assert len(taken) == 10 * per_class
            assert taken <= available


def test_drawing_more_digits_than_available_is_an_error(example, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES / "data")
    labels = np.arange(99) % 10
    with pytest.raises(ValueError, match=r"at least 10 digits of class 9\. Received: 9"):
        example("draw_sample").draw(random_digits(99, 0), labels, 10, np.random.default_rng(0))


# Losses to compare with


def test_entropy_is_the_least_cross_entropy(example):
    entropy = example("digits").entropy
    targets = random_digits(4, seed=0)[..., None].astype("float32") / 255
    least = slow_cross_entropy(targets, targets)
    assert least > 0.1
    assert entropy(targets) == pytest.approx(least, rel=1e-6)
    assert entropy((targets > 0.5).astype("float32")) == 0
    for moved in (np.clip(targets + 0.01, 1e-7, 1 - 1e-7), np.clip(targets - 0.01, 1e-7, 0.999)):
        assert slow_cross_entropy(targets, moved) > entropy(targets)


def test_constant_loss_predicts_the_mean_of_the_training_digits(example):
    constant_loss = example("digits").constant_loss
    train = random_digits(5, seed=0)[..., None].astype("float32") / 255
    test = train[:2] ** 2  # with another mean
    expected = slow_cross_entropy(test, np.full(test.shape, train.mean(dtype="float64")))
    assert constant_loss(train, test) == pytest.approx(expected, rel=1e-6)
    assert constant_loss(train * 0, test * 0) == pytest.approx(0, abs=1e-6)
    assert constant_loss(train, test) > constant_loss(test, test)


# Pictures and tables


def test_rows_of_digits_are_labelled(example):
    images = random_digits(3, seed=0)[..., None] / 255
    figure = example("digits").draw_rows(
        {"input": images, "output": images[::-1]}, "title\n" + "/long/path" * 30
    )
    axes = np.reshape(figure.axes, (2, 3))
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["input", "output"]
    for column in range(3):
        np.testing.assert_array_equal(axes[0, column].images[0].get_array(), images[column, ..., 0])
        np.testing.assert_array_equal(
            axes[1, column].images[0].get_array(), images[2 - column, ..., 0]
        )
        assert axes[1, column].images[0].get_clim() == (0, 1)
    title, *path = figure.get_suptitle().split("\n")
    assert title == "title"
    assert "".join(path) == "/long/path" * 30
    figure.draw_without_rendering()
    extent = figure._suptitle.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= figure.bbox.x1


def test_a_failed_picture_keeps_the_old_file(example, tmp_path):
    from matplotlib.figure import Figure

    class Failing(Figure):
        def savefig(self, path, **options):
            super().savefig(path, **options)
            raise OSError("disk full")

    path = tmp_path / "picture.png"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"):
        example("digits").save_picture(Failing(), path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    example("digits").save_picture(Figure(), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def pipe(path):
    os.mkfifo(path)


def loop(path):
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (os.mkdir, "is a folder"),
        (pipe, "is not a regular file, but a pipe"),
        (loop, "cannot be written: Too many levels"),
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "mnist_autoencoder.png",
        "compare_decoders.md",
        "compare_decoders.png",
        "unet.png",
        "upsample_image.png",
    ],
)
def test_programs_write_regular_files_only(example, name, create, message, data, tmp_path, capsys):
    create(tmp_path / name)
    program = name.split(".")[0]
    arguments = [] if program == "upsample_image" else ["--data", str(data)]
    with pytest.raises(SystemExit, match="2"):
        example(program).main([*arguments, "--output", str(tmp_path)])
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {name, "tiny.npz"}


def test_programs_do_not_overwrite_their_digits(example, data, tmp_path, capsys):
    (tmp_path / "unet.png").symlink_to(data)
    before = data.read_bytes()
    with pytest.raises(SystemExit, match="2"):
        example("unet").main(["--data", str(data), "--output", str(tmp_path)])
    assert "is one of the files that are read" in capsys.readouterr().err
    assert data.read_bytes() == before


def test_columns_of_the_table_are_aligned(example):
    table = example("digits").table(
        ["parameters", "test"], {"a": ["1,000", 0.25], "longer": ["", 12.34567]}
    )
    assert table.splitlines() == [
        "        parameters     test",
        "a            1,000   0.2500",
        "longer              12.3457",
    ]


def test_missing_matplotlib_is_an_error_before_any_work(example, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    program = example("upsample_image")
    with pytest.raises(SystemExit) as stop:
        program.main(["--output", str(tmp_path / "unused")])
    assert stop.value.code == 2
    assert "pip install matplotlib" in capsys.readouterr().err
    assert not (tmp_path / "unused").exists()


# The checkerboard score on photographs


@pytest.fixture
def validation(example, monkeypatch):
    """The program with noise instead of photographs."""
    program = example("validate_checkerboard")
    rng = np.random.default_rng(0)
    photos = [np.cumsum(rng.normal(0, 0.01, (90, 80)), axis=0) + 0.5 for _ in range(4)]
    photos = [photo + rng.normal(0, 0.01, photo.shape) for photo in photos]
    monkeypatch.setattr(program, "photographs", lambda names: photos[: len(names)])
    return program


def test_the_validation_prints_and_writes_its_tables(validation, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(validation, "LENGTHS", (32,))
    monkeypatch.setattr(validation, "SIZES", (2,))
    monkeypatch.setattr(validation, "COUNT", 4)
    monkeypatch.setattr(validation, "SIDE", 16)
    monkeypatch.setattr(validation, "SHAPES", (((40,), 2), ((12, 12), 2)))
    output = tmp_path / "tables.md"
    validation.main(["--crops", "64", "--draws", "64", "--output", str(output)])
    text = output.read_text()
    assert text.strip() in capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:3] == "| 3"]
    # Areas, other tasks and four kinds of compression, for both sets.
    assert [len(row) for row in rows] == 2 * [6, 6, 5, 5, 5, 5]
    assert text.count("the period is found in ") == 2
    assert "The score of 4 images of 16x16 takes " in text
    areas = [float(cell) for cell in rows[0][2:]]
    assert areas == sorted(areas)
    assert areas[-1] > 0.95
    assert list(tmp_path.iterdir()) == [output]
    noise = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:4] == "| 12"]
    assert [len(row) for row in noise] == [6, 6]
    assert abs(float(noise[0][2].split(" %")[0])) < 5
    validation.main(["--crops", "0", "--draws", "64"])
    printed = capsys.readouterr().out
    assert "White noise, 64 draws at most" in printed
    assert "crops of" not in printed


def test_the_area_under_the_curve_is_the_share_of_pairs(validation):
    clean, dirty = np.array([1.0, 3.0, 5.0]), np.array([2.0, 4.0, 6.0, 8.0])
    pairs = [dirty_score > clean_score for clean_score in clean for dirty_score in dirty]
    assert validation.auc(clean, dirty) == np.mean(pairs)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_added_patterns_have_their_period_and_amplitude(validation, size):
    added = validation.patterns(6, 12 * size, size, seed=0)
    np.testing.assert_allclose(added[:, size:], added[:, :-size])
    np.testing.assert_allclose(np.sqrt(np.mean(added**2, axis=(1, 2, 3))), 1)
    np.testing.assert_allclose(np.mean(added, axis=(1, 2, 3)), 0, atol=1e-12)
    slow = validation.waves(6, 12 * size, seed=0)
    np.testing.assert_allclose(np.mean(slow, axis=(1, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(np.mean(slow**2, axis=(1, 2, 3)), 1)


def test_the_validation_writes_regular_files_only(validation, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SystemExit, match="2"):
        validation.main(["--output", str(tmp_path / "pipe")])
    assert "is not a regular file, but a pipe" in capsys.readouterr().err


def test_too_few_crops_for_the_validation_are_an_error(validation, capsys):
    with pytest.raises(SystemExit, match="2"):
        validation.main(["--crops", "10"])
    assert "64 or more" in capsys.readouterr().err
