import keras
import numpy as np
import pytest
from keras import ops

from keras_upsampling import DySample2D, Upsample2D, audit
from tests import dynamic_oracle
from tests.backends import evaluate, to_numpy
from tests.layers.test_carafe import randomised
from tests.strategies import DATA_FORMATS


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_the_layer_matches_the_definition(data_format):
    options = {"size": (3, 2), "groups": 2, "start": "linear"}
    layer = DySample2D(**options, data_format=data_format)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    inputs = np.moveaxis(x, -1, 1) if data_format == "channels_first" else x
    layer = randomised(layer, inputs.shape)
    assert [w.name for w in layer.weights] == ["kernel", "bias"]
    kernel, bias = layer.get_weights()
    assert kernel.shape == (1, 1, 4, 24)
    expected = dynamic_oracle.dysample(x, kernel[0, 0], bias, **options)
    output = to_numpy(evaluate(layer, ops.convert_to_tensor(inputs, dtype="float32")))
    if data_format == "channels_first":
        output = np.moveaxis(output, 1, -1)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("start", ["nearest", "linear"])
@pytest.mark.parametrize("size", [2, (3, 1)])
def test_without_offsets_the_layer_is_the_interpolation_of_start(start, size):
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 4)).astype("float32")
    layer = randomised(DySample2D(size, groups=2, start=start), x.shape, scale=0.0)
    expected = evaluate(Upsample2D(size, interpolation=start), x)
    np.testing.assert_allclose(to_numpy(evaluate(layer, x)), to_numpy(expected), atol=1e-6)


def test_an_untrained_layer_is_about_nearest():
    x = np.random.default_rng(0).random((2, 6, 5, 8)).astype("float32")
    layer = DySample2D(2, data_format="channels_last")
    expected = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(to_numpy(evaluate(layer, x)), expected, atol=0.01)
    assert layer.get_config()["groups"] == 4


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_reads_every_sample_of_a_long_axis(dtype):
    # float16 cannot tell 2049 from 2048, nor bfloat16 257 from 256.
    x = (np.arange(3000) % 8).reshape(1, 1, 3000, 1).astype("float32")
    layer = DySample2D((1, 2), groups=1, dtype=dtype, data_format="channels_last")
    layer = randomised(layer, x.shape, scale=0.0)
    np.testing.assert_array_equal(to_numpy(evaluate(layer, x)), np.repeat(x, 2, axis=2))


@pytest.mark.parametrize("spatial", [(1, 1), (2, 3), (6, 7)])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_constants_stay_the_same_up_to_the_border(spatial, dtype):
    layer = randomised(DySample2D((2, 3), groups=2, dtype=dtype), (1, *spatial, 4), scale=3.0)
    constants = np.array([0.25, -1.5, 3.0, 0.0])
    output = to_numpy(evaluate(layer, ops.convert_to_tensor(np.tile(constants, (1, *spatial, 1)))))
    np.testing.assert_array_equal(output, np.broadcast_to(constants, output.shape))


def test_shifting_the_input_shifts_the_output():
    layer = randomised(DySample2D(2, groups=2), (1, 10, 10, 2), scale=0.5)
    x = np.random.default_rng(1).standard_normal((1, 15, 16, 2)).astype("float32")
    output, shifted = (
        to_numpy(evaluate(layer, inputs)) for inputs in (x[:, :-1, :-2], x[:, 1:, 2:])
    )
    inner = slice(4, -8)
    np.testing.assert_allclose(
        output[:, 2:, 4:][:, inner, inner], shifted[:, :-2, :-4][:, inner, inner], atol=1e-5
    )


def test_each_map_of_a_batch_is_upsampled_separately():
    layer = randomised(DySample2D(2, groups=2), (2, 4, 4, 2))
    x = np.random.default_rng(1).standard_normal((2, 4, 4, 2)).astype("float32")
    separate = [to_numpy(evaluate(layer, x[i : i + 1])) for i in range(2)]
    np.testing.assert_allclose(to_numpy(evaluate(layer, x)), np.concatenate(separate), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": (2, 2, 2)}, ValueError, r"`size` .*or 2 of them"),
        ({"groups": 2.0}, TypeError, r"`groups` .*integers are needed"),
        ({"start": "cubic"}, ValueError, r"`start`.*'nearest', 'linear'"),
        ({"data_format": "last"}, ValueError, r"`data_format`"),
    ],
)
def test_bad_arguments_are_refused_when_the_layer_is_created(arguments, error, message):
    with pytest.raises(error, match=message):
        DySample2D(**arguments)


def test_channels_not_divisible_by_groups_are_refused():
    with pytest.raises(ValueError, match=r"divisible by `groups`.*6 channels, and groups=4"):
        DySample2D(data_format="channels_last").build((None, 4, 4, 6))


def test_maps_without_samples_are_refused():
    with pytest.raises(ValueError, match=r"at least one sample.*\(1, 0, 4, 3\)"):
        DySample2D(groups=1)(keras.ops.zeros((1, 0, 4, 3)))


def test_the_audit_reports_no_kernel_and_measures_no_ripple():
    layer = DySample2D(name="up", data_format="channels_last")
    report = audit(keras.Sequential([keras.Input((8, 8, 8)), layer]))
    assert not report.layers
    assert "up: DySample2D has no known kernel" in report.not_looked_at
    assert report.response.period == (2, 2)
    assert report.response.ripple < 1e-5
