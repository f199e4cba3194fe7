import keras
import numpy as np
import pytest
from keras import ops

from keras_upsampling import CARAFE2D, audit
from tests import dynamic_oracle
from tests.backends import evaluate, to_numpy
from tests.strategies import DATA_FORMATS


def randomised(layer, shape, seed=0, scale=1.0):
    """Build a layer for inputs of `shape`, and set random weights."""
    keras.utils.set_random_seed(seed)
    layer.build(shape)
    rng = np.random.default_rng(seed)
    layer.set_weights([scale * rng.standard_normal(w.shape) for w in layer.weights])
    return layer


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_the_layer_matches_the_definition(data_format):
    options = {"size": (3, 2), "kernel_size": (3, 5), "groups": 2}
    layer = CARAFE2D(
        **options, encoder_kernel_size=(2, 3), compressed_channels=3, data_format=data_format
    )
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    inputs = np.moveaxis(x, -1, 1) if data_format == "channels_first" else x
    layer = randomised(layer, inputs.shape, scale=0.5)
    names = ["compressor_kernel", "compressor_bias", "encoder_kernel", "encoder_bias"]
    assert [w.name for w in layer.weights] == names
    assert [w.shape for w in layer.weights[::2]] == [(1, 1, 4, 3), (2, 3, 3, 180)]
    expected = dynamic_oracle.carafe(x, layer.get_weights(), **options)
    output = to_numpy(evaluate(layer, ops.convert_to_tensor(inputs, dtype="float32")))
    if data_format == "channels_first":
        output = np.moveaxis(output, 1, -1)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spatial", [(1, 1), (2, 3), (6, 7)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("mixed_float16", 0)])
def test_constants_stay_the_same_up_to_the_border(spatial, dtype, tolerance):
    layer = CARAFE2D((2, 3), 5, compressed_channels=4, groups=2, dtype=dtype)
    layer = randomised(layer, (1, *spatial, 4))
    constants = np.array([0.25, -1.5, 3.0, 0.0])
    output = to_numpy(evaluate(layer, ops.convert_to_tensor(np.tile(constants, (1, *spatial, 1)))))
    # The constants are exact in half precision, so their rounded mean is exact too.
    np.testing.assert_allclose(output, np.broadcast_to(constants, output.shape), rtol=tolerance)


def test_shifting_the_input_shifts_the_output():
    layer = randomised(CARAFE2D(2, 3, compressed_channels=4), (1, 10, 10, 2), scale=0.5)
    x = np.random.default_rng(1).standard_normal((1, 11, 12, 2)).astype("float32")
    output, shifted = (
        to_numpy(evaluate(layer, inputs)) for inputs in (x[:, :-1, :-2], x[:, 1:, 2:])
    )
    inner = slice(4, -6)  # without the samples whose weights or values depend on the border
    np.testing.assert_allclose(
        output[:, 2:, 4:][:, inner, inner], shifted[:, :-2, :-4][:, inner, inner], atol=1e-5
    )


def test_each_map_of_a_batch_is_upsampled_separately():
    layer = randomised(CARAFE2D(2, 3, compressed_channels=4), (2, 4, 4, 2))
    x = np.random.default_rng(1).standard_normal((2, 4, 4, 2)).astype("float32")
    separate = [to_numpy(evaluate(layer, x[i : i + 1])) for i in range(2)]
    np.testing.assert_allclose(to_numpy(evaluate(layer, x)), np.concatenate(separate), atol=1e-5)


def test_an_untrained_layer_is_about_the_mean_of_the_neighbourhood():
    layer = CARAFE2D(2, 3, data_format="channels_last")
    x = np.random.default_rng(0).random((1, 4, 4, 2)).astype("float32")
    output = to_numpy(layer(x))
    np.testing.assert_allclose(output[0, 2, 3], x[0, :3, :3].mean((0, 1)), atol=1e-2)
    np.testing.assert_allclose(output[0, 0, 0], x[0, :2, :2].mean((0, 1)), atol=1e-2)


def test_defaults_are_those_of_the_paper():
    layer = CARAFE2D(2, data_format="channels_last")
    layer.build((1, 4, 4, 128))
    config = layer.get_config()
    names = ("kernel_size", "encoder_kernel_size", "compressed_channels", "groups")
    assert [config[name] for name in names] == [(5, 5), (3, 3), 64, 1]
    (encoder,) = [w for w in layer.weights if tuple(w.shape) == (3, 3, 64, 4 * 25)]
    np.testing.assert_allclose(np.std(to_numpy(encoder)), 0.001, rtol=0.05)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kernel_size": 4}, ValueError, r"`kernel_size` must be odd.*kernel_size=\(4, 4\)"),
        ({"kernel_size": (3, 2)}, ValueError, r"`kernel_size` must be odd.*\(3, 2\)"),
        ({"size": 1.5}, TypeError, r"`size` .*integers are needed"),
        ({"compressed_channels": 0}, ValueError, r"`compressed_channels`"),
        ({"encoder_kernel_size": (1, 2, 3)}, ValueError, r"`encoder_kernel_size` .*or 2 of them"),
        ({"groups": 0}, ValueError, r"`groups`"),
    ],
)
def test_bad_arguments_are_refused_when_the_layer_is_created(arguments, error, message):
    with pytest.raises(error, match=message):
        CARAFE2D(**arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((None, 4, 4, 3), r"divisible by `groups`.*3 channels, and groups=2"),
        ((None, 4, 4, None), r"channels must be known.*\(None, 4, 4, None\)"),
        ((None, 4, 4), r"4 axes \(batch, height, width, channels\)"),
    ],
)
def test_invalid_inputs_are_refused_before_weights_are_created(shape, message):
    with pytest.raises(ValueError, match=message):
        CARAFE2D(groups=2, data_format="channels_last").build(shape)


def test_maps_without_samples_are_refused():
    with pytest.raises(ValueError, match=r"at least one sample.*\(1, 0, 4, 3\)"):
        CARAFE2D()(keras.ops.zeros((1, 0, 4, 3)))


def test_the_audit_reports_no_kernel_and_measures_no_ripple():
    layer = CARAFE2D(name="up", compressed_channels=4, data_format="channels_last")
    report = audit(keras.Sequential([keras.Input((8, 8, 8)), layer]))
    assert not report.layers
    assert "up: CARAFE2D has no known kernel" in report.not_looked_at
    assert report.response.period == (2, 2)
    assert report.response.ripple < 1e-5
