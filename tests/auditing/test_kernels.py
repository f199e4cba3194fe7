"""`audit_kernel` against ripples computed from the responses of layers to impulses."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

import keras_upsampling
from keras_upsampling import (
    BilinearAdditiveUpsampling2D,
    BlurPool1D,
    BlurPool2D,
    SubpixelConv1D,
    SubpixelConv2D,
    UpsampleConv1D,
    UpsampleConv2D,
    audit_kernel,
)
from tests.backends import evaluate, to_numpy

LAST = {"data_format": "channels_last"}


def jacobian(layer, shape):
    """Return the derivative of every output by every input, `(*inputs, *outputs)`."""
    count = int(np.prod(shape))
    impulses = np.eye(count, dtype="float32").reshape(count, *shape)
    layer.build((None, *shape))
    responses = to_numpy(evaluate(layer, keras.ops.convert_to_tensor(impulses)))
    biases = to_numpy(evaluate(layer, keras.ops.zeros((1, *shape))))
    return (responses - biases).reshape(*shape, *responses.shape[1:])


def slow_ripple(derivatives, size, shift):
    """Compute a ripple by its definition, from the phases in the middle of the output.

    Args:
        derivatives: The Jacobian, `(*inputs, channels, *outputs, filters)`.
        size: Factor of the upsampling, per axis.
        shift: Output sample `o` lies at `(o + 0.5) / size - 0.5 + shift` on the input's axis.
    """
    rank = len(size)
    inputs, outputs = derivatives.shape[:rank], derivatives.shape[rank + 1 : -1]
    gains, ramps, powers, overlap = [], [], [], {}
    for phase in itertools.product(*map(range, size)):
        output = [n // s // 2 * s + p for n, s, p in zip(outputs, size, phase, strict=True)]
        weights = derivatives[(slice(None),) * (rank + 1) + tuple(output)]
        gain, power, contributing = 0, 0, 0
        ramp = np.zeros((rank, *weights.shape[rank:]))
        for index in itertools.product(*map(range, inputs)):
            gain = gain + weights[index]
            power += (weights[index] ** 2).sum()
            contributing += bool(abs(weights[index]).max() > 1e-6)
            for axis in range(rank):
                position = (output[axis] + 0.5) / size[axis] - 0.5 + shift
                ramp[axis] += (index[axis] - position) * weights[index]
        gains.append(gain)
        ramps.append(ramp)
        powers.append(power)
        overlap[phase] = contributing
    level = np.linalg.norm(np.mean(gains, axis=0))

    def spread(values):
        mean = np.mean(values, axis=0)
        return np.sqrt(np.mean([np.sum((value - mean) ** 2) for value in values])) / level

    return {
        "gain": spread(gains),
        "ramp": max(spread([ramp[axis] for ramp in ramps]) for axis in range(rank)),
        "power": np.std(powers) / np.mean(powers),
        "overlap": sorted(overlap.values()),
    }


# Layers that upsample, a shape of their input, and the distance between the centre of the kernel
# and the output sample at its half-pixel centre, in input samples.
UPSAMPLING = {
    "transposed": (layers.Conv2DTranspose(2, 3, strides=2, **LAST), (5, 5, 2), -1 / 4),
    "transposed, k=5, s=3": (layers.Conv1DTranspose(3, 5, strides=3), (7, 2), -1 / 3),
    "transposed, 3-D": (layers.Conv3DTranspose(1, 2, strides=2, **LAST), (3, 3, 3, 1), 0),
    "nearest": (layers.UpSampling2D((2, 3), **LAST), (5, 4, 1), 0),
    "bilinear": (layers.UpSampling2D(2, interpolation="bilinear", **LAST), (5, 5, 1), 0),
    "cubic": (keras_upsampling.Upsample1D(3, interpolation="cubic", **LAST), (9, 1), 0),
    "upsampled and convolved": (UpsampleConv2D(2, 3, 2, **LAST), (5, 5, 2), 0),
    "linear and convolved": (
        UpsampleConv1D(2, 5, 3, interpolation="linear", **LAST),
        (9, 2),
        0,
    ),
    "dilated": (UpsampleConv1D(3, 3, 2, dilation_rate=2, **LAST), (9, 2), 0),
    "sub-pixel": (
        SubpixelConv2D(2, 3, (2, 3), kernel_initializer="glorot_normal", **LAST),
        (5, 5, 2),
        0,
    ),
    "sub-pixel, equal phases": (SubpixelConv1D(3, 3, 4, **LAST), (7, 2), 0),
    "bilinear additive": (BilinearAdditiveUpsampling2D((2, 3), **LAST), (5, 5, 6), 0),
    "even kernel": (UpsampleConv2D(2, 2, 2, **LAST), (5, 5, 2), 1 / 4),
}


@pytest.mark.parametrize("name", UPSAMPLING)
def test_the_ripple_matches_the_jacobian_of_an_upsampling_layer(name):
    layer, shape, shift = UPSAMPLING[name]
    layer = type(layer).from_config(layer.get_config())  # a new layer for every test
    derivatives = jacobian(layer, shape)
    result = audit_kernel(layer)
    expected = slow_ripple(derivatives, result.overlap.shape, shift)
    for figure in ("gain", "ramp", "power"):
        np.testing.assert_allclose(getattr(result, figure), expected[figure], rtol=0, atol=1e-5)
    assert sorted(result.overlap.ravel().tolist()) == expected["overlap"]


STRIDED = {
    "convolution": (layers.Conv2D(2, 3, strides=2, **LAST), (11, 11, 2)),
    "long strides": (layers.Conv1D(2, 4, strides=3), (14, 2)),
    "depthwise": (layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, **LAST), (11, 11, 2)),
    "separable": (layers.SeparableConv2D(3, 3, strides=2, **LAST), (11, 11, 2)),
    "average": (layers.AveragePooling2D(3, 2, **LAST), (11, 11, 1)),
    "blur": (BlurPool2D((2, 3), **LAST), (12, 15, 1)),
    "blur, 3 taps": (BlurPool1D(2, order=2, **LAST), (12, 1)),
}


@pytest.mark.parametrize("name", STRIDED)
def test_the_ripple_matches_the_jacobian_of_the_gradient_of_a_strided_layer(name):
    layer, shape = STRIDED[name]
    layer = type(layer).from_config(layer.get_config())
    derivatives = jacobian(layer, shape)
    result = audit_kernel(layer)
    rank, size = len(shape) - 1, result.overlap.shape
    # Backpropagation computes the inputs' gradient from the outputs', by the transpose.
    transpose = np.transpose(derivatives, (*range(rank + 1, 2 * rank + 2), *range(rank + 1)))
    expected = slow_ripple(transpose, size, 0)
    np.testing.assert_allclose(result.gain, expected["gain"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(result.power, expected["power"], rtol=0, atol=1e-5)
    assert sorted(result.overlap.ravel().tolist()) == expected["overlap"]


def subpixel_layer(filters=2, size=2, **options):
    layer = layers.Conv2D(filters * size**2, 3, **options, **LAST)
    layer.build((None, 8, 8, 3))
    return layer


def test_a_convolution_before_depth_to_space_has_phases():
    layer = subpixel_layer(padding="same")

    class Shuffled(keras.Layer):
        def call(self, x):
            return keras.ops.depth_to_space(layer(x), 2, data_format="channels_last")

    expected = slow_ripple(jacobian(Shuffled(), (6, 6, 3)), (2, 2), 0)
    result = audit_kernel(layer, 2)
    for figure in ("gain", "ramp", "power"):
        np.testing.assert_allclose(getattr(result, figure), expected[figure], rtol=0, atol=1e-5)


def test_the_bias_of_a_subpixel_convolution_counts():
    layer = subpixel_layer(kernel_initializer="ones")
    assert audit_kernel(layer, 2).gain == 0
    layer.bias.assign([1, 1, 1, 1, 1, 1, 1, 2])
    # The gain is 9 for each of 3 channels and 2 filters. One of 8 biases differs by one.
    expected = np.sqrt(np.mean([1 / 16, 1 / 16, 1 / 16, 9 / 16])) / np.sqrt(9**2 * 6)
    np.testing.assert_allclose(audit_kernel(layer, 2).gain, expected, rtol=1e-12)


@pytest.mark.parametrize("size", [2, (2, 3)])
def test_subpixel_layers_have_the_ripple_of_a_convolution_before_depth_to_space(size):
    layer = SubpixelConv2D(2, 3, size, kernel_initializer="he_normal", bias_initializer="normal")
    layer.build((None, 8, 8, 3))
    conv = layers.Conv2D(layer.kernel.shape[-1], 3)
    conv.build((None, 8, 8, 3))
    conv.set_weights(layer.get_weights())
    for figure, expected in zip(audit_kernel(layer), audit_kernel(conv, size), strict=True):
        np.testing.assert_array_equal(figure, expected)
    with pytest.raises(ValueError, match="strides of its own"):
        audit_kernel(layer, 4)


@pytest.mark.parametrize(("size", "taps"), [(2, 2), (2, 3), (2, 5), (3, 3), (3, 4), (4, 4), (4, 8)])
def test_independent_taps_ripple_by_the_number_of_phases(size, taps):
    expected = pytest.approx(np.sqrt(size**2 - 1), rel=0.05)
    transposed = layers.Conv2DTranspose(64, taps, strides=size)
    shuffled = layers.Conv2D(64 * size**2, 3)
    for layer, strides in ((transposed, None), (shuffled, size)):
        layer.build((None, 8, 8, 64))
        assert audit_kernel(layer, strides).gain == expected


def test_phases_with_equal_kernels_have_no_ripple():
    layer = subpixel_layer(filters=3)
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 1, 3)).repeat(4, axis=3)
    layer.set_weights([kernel.reshape(3, 3, 3, 12), np.zeros(12)])
    result = audit_kernel(layer, 2)
    assert result.gain < 1e-6
    assert result.power < 1e-6


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_upsampling_and_convolving_has_no_ripple(rank, interpolation):
    layer = getattr(keras_upsampling, f"UpsampleConv{rank}D")(
        4, 3, interpolation=interpolation, **LAST
    )
    layer.build((None, *(8,) * rank, 3))
    assert audit_kernel(layer).gain < 1e-12


def test_an_array_is_the_kernel_of_a_transposed_convolution():
    layer = layers.Conv2DTranspose(3, 4, strides=(1, 3))
    layer.build((None, 8, 8, 5))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    for figure, expected in zip(audit_kernel(kernel, (1, 3)), audit_kernel(layer), strict=True):
        np.testing.assert_array_equal(figure, expected)


def test_layers_and_arrays_without_phases_raise():
    with pytest.raises(ValueError, match="keeps the size of its input and has no phases"):
        audit_kernel(subpixel_layer())
    with pytest.raises(ValueError, match=r"divisible by 9.* 8 filters"):
        audit_kernel(subpixel_layer(), 3)
    with pytest.raises(ValueError, match=r"has no kernel yet\. Call it once"):
        audit_kernel(layers.Conv2DTranspose(3, 3, strides=2))
    strided = layers.Conv2D(3, 3, strides=2)
    strided.build((None, 8, 8, 3))
    with pytest.raises(ValueError, match="strides of its own"):
        audit_kernel(strided, 4)
    with pytest.raises(TypeError, match="MaxPooling2D, whose kernel is unknown"):
        audit_kernel(layers.MaxPooling2D())
    with pytest.raises(ValueError, match="A kernel needs its stride"):
        audit_kernel(np.ones((3, 3, 1, 1)))
    with pytest.raises(ValueError, match=r"must not be empty.* shape \(3, 3, 0, 1\)"):
        audit_kernel(np.ones((3, 3, 0, 1)), 2)
    with pytest.raises(TypeError, match=r"`kernel` must be real numbers.*complex"):
        audit_kernel([[[[1j]]]], 2)
    with pytest.raises(TypeError, match=r"`kernel` must be real numbers.*complex128"):
        audit_kernel(1j * np.ones((3, 3, 1, 1)), 2)
    with pytest.raises(ValueError, match=r"Received: an array of shape \(3,\)"):
        audit_kernel(np.ones(3), 2)
    with pytest.raises(TypeError, match=r"a kernel\. Received: 'kernel\.npy' of type str"):
        audit_kernel("kernel.npy", 2)
    with pytest.raises(TypeError, match="`strides` must be a positive integer"):
        audit_kernel(np.ones((3, 3, 1, 1)), 2.0)
