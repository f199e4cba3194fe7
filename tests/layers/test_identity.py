"""The layers and Keras's transposed convolution, with the composed kernel of docs/one_step.md."""

import keras
import numpy as np
import pytest

import keras_upsampling
from tests.backends import to_numpy


def composed(kernel, factor):
    """`kernel`, flipped on its spatial axes and convolved with `factor` on each."""
    for axis in range(kernel.ndim - 2):
        kernel = np.apply_along_axis(np.convolve, axis, np.flip(kernel, axis), factor)
    return kernel


def layers_and_input(rank, kernel_size, size, factor, **options):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *(4, 3, 5)[:rank], 3)).astype("float32")
    kernel = rng.standard_normal((*[kernel_size] * rank, 3, 2)).astype("float32")
    kernel /= np.sqrt(kernel[..., 0].size)  # so that the output is about as large as the input
    ours = getattr(keras_upsampling, f"UpsampleConv{rank}D")(
        2, kernel_size, size, use_bias=False, **options
    )
    ours.build(x.shape)
    ours.set_weights([kernel])
    one_step = composed(kernel, factor)
    theirs = getattr(keras.layers, f"Conv{rank}DTranspose")(
        2, one_step.shape[0], strides=size, use_bias=False
    )
    theirs.build(x.shape)
    theirs.set_weights([one_step.swapaxes(-1, -2)])
    return ours, theirs, x


def cropped(full, start, lengths):
    return full[(slice(None), *(slice(start, start + length) for length in lengths))]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("size", "kernel_size"), [(2, 3), (3, 2)])
def test_nearest_is_the_transposed_convolution_with_a_box_in_its_kernel(rank, size, kernel_size):
    ours, theirs, x = layers_and_input(rank, kernel_size, size, np.ones(size))
    y = to_numpy(ours(x))
    expected = cropped(to_numpy(theirs(x)), kernel_size // 2, y.shape[1:-1])
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(("size", "kernel_size"), [(2, 3), (3, 2)])
def test_linear_is_the_transposed_convolution_with_a_tent_in_its_kernel(rank, size, kernel_size):
    tent = np.convolve(np.ones(size), np.ones(size)) / size
    factor = tent if size % 2 else np.convolve(tent, [0.5, 0.5])
    options = {"interpolation": "linear", "padding": "edge"}
    ours, theirs, x = layers_and_input(rank, kernel_size, size, factor, **options)
    y = to_numpy(ours(x))
    padded = np.pad(x, [(0, 0), *[(2, 2)] * rank, (0, 0)], "edge")
    start = 2 * size + size // 2 + kernel_size // 2
    expected = cropped(to_numpy(theirs(padded)), start, y.shape[1:-1])
    np.testing.assert_allclose(y, expected, atol=1e-5)
