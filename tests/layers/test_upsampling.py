import keras
import numpy as np
import pytest

from keras_upsampling import Upsample1D, Upsample2D, Upsample3D
from tests.backends import to_numpy
from tests.oracle import upsample


def test_the_tutorial_image():
    image = np.array([0, 0.5, 1, 1.5]).reshape(1, 2, 2, 1)
    upsampled = to_numpy(Upsample2D(32, interpolation="linear")(image))
    assert upsampled.shape == (1, 64, 64, 1)
    np.testing.assert_allclose(upsampled, upsample(image, (32, 32), "linear"), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(Upsample1D, (1, 4, 2)), (Upsample2D, (1, 4, 3, 2)), (Upsample3D, (1, 4, 3, 2, 2))],
)
def test_sizes_may_differ_by_axis(layer, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    size = (3, 1, 2)[: len(shape) - 2]
    np.testing.assert_allclose(
        to_numpy(layer(size, interpolation="cubic")(x)), upsample(x, size, "cubic"), atol=1e-5
    )


def test_names_of_a_rank_are_accepted_in_that_rank():
    assert Upsample2D(interpolation="bilinear").interpolation == "linear"
    assert Upsample2D(interpolation="bicubic").interpolation == "cubic"
    assert Upsample3D(interpolation="trilinear").interpolation == "linear"
    volume = np.random.default_rng(0).standard_normal((1, 2, 3, 4, 1))
    output = Upsample3D(2, interpolation="trilinear", data_format="channels_last")(volume)
    np.testing.assert_allclose(to_numpy(output), upsample(volume, (2, 2, 2), "linear"), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "name", "meant"),
    [
        (Upsample1D, "bilinear", "linear"),
        (Upsample1D, "trilinear", "linear"),
        (Upsample2D, "trilinear", "linear"),
        (Upsample3D, "bilinear", "linear"),
        (Upsample3D, "bicubic", "cubic"),
        (Upsample3D, "nearest-exact", "nearest"),
    ],
)
def test_names_of_other_ranks_are_refused_with_the_correct_name(layer, name, meant):
    with pytest.raises(ValueError, match=f"expected one of.*Use '{meant}' instead of '{name}'"):
        layer(interpolation=name)


def test_nearest_keeps_integer_dtypes_and_linear_does_not():
    labels = np.array([[[1], [7]]], dtype="int32")
    for interpolation, dtype in (("nearest", "int32"), ("linear", "float32")):
        layer = Upsample1D(interpolation=interpolation)
        spec = layer.compute_output_spec(keras.KerasTensor(labels.shape, "int32"))
        assert spec.dtype == dtype
        assert keras.backend.standardize_dtype(layer(labels).dtype) == dtype


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 2.0}, TypeError, r"`size` .*size=2.0 of type float; integers are needed"),
        ({"size": True}, TypeError, r"`size` .*of type bool"),
        ({"size": "2"}, TypeError, r"`size` .*of type str"),
        ({"size": (2, 1.5)}, TypeError, r"`size` .*size=1.5 of type float"),
        ({"size": {2, 3}}, TypeError, r"`size` .*of type set"),
        ({"size": b"22"}, TypeError, r"`size` .*of type bytes"),
        ({"size": 0}, ValueError, r"`size` .*size=0; use 1 or more"),
        ({"size": (2, -1)}, ValueError, r"`size` .*size=-1"),
        (
            {"size": (2, 2, 2)},
            ValueError,
            r"`size` must be a positive integer, or 2 of them, one per axis.*\(2, 2, 2\)",
        ),
        (
            {"interpolation": "quintic"},
            ValueError,
            r"'quintic'; expected one of: 'nearest'.*bicubic",
        ),
        ({"interpolation": np.zeros(2)}, ValueError, r"expected one of: 'nearest'"),
        ({"interpolation": None}, ValueError, r"interpolation=None; expected one of"),
        ({"data_format": "NHWC"}, ValueError, r"`data_format`.*'channels_last', 'channels_first'"),
    ],
)
def test_bad_arguments_are_refused_when_the_layer_is_created(arguments, error, message):
    with pytest.raises(error, match=message):
        Upsample2D(**arguments)


def test_numpy_integers_are_accepted():
    assert Upsample2D(np.int64(3)).size == (3, 3)
    assert Upsample2D(np.array([2, 3])).size == (2, 3)


def test_inputs_of_the_wrong_rank_are_refused():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        Upsample2D()(np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match=r"4 axes \(batch, height, width, channels\)"):
        Upsample2D(data_format="channels_last").compute_output_shape((1, 2, 3))
    with pytest.raises(ValueError, match=r"3 axes \(batch, channels, length\)"):
        Upsample1D(data_format="channels_first").compute_output_shape((1, 2, 3, 4))
