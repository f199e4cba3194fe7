"""Each layer equals a transposed convolution with the composed kernel of docs/one_step.md."""

import keras
import numpy as np
import pytest

import keras_upsampling
from tests.backends import to_numpy


def composed(kernel, factor):
    """Flip `kernel` on its spatial axes and convolve it with `factor` along each of them."""
    for axis in range(kernel.ndim - 2):
        kernel = np.apply_along_axis(np.convolve, axis, np.flip(kernel, axis), factor)
    return kernel


def layers_and_input(rank, kernel_size, size, factor, **options):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *(4, 3, 5)[:rank], 3)).astype("float32")
    kernel = rng.standard_normal((*[kernel_size] * rank, 3, 2)).astype("float32")
    kernel /= np.sqrt(kernel[..., 0].size)  # output values of about the size of the input values
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
    output = to_numpy(ours(x))
    expected = cropped(to_numpy(theirs(x)), kernel_size // 2, output.shape[1:-1])
    np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(("size", "kernel_size"), [(2, 3), (3, 2)])
def test_linear_is_the_transposed_convolution_with_a_tent_in_its_kernel(rank, size, kernel_size):
    tent = np.convolve(np.ones(size), np.ones(size)) / size
    factor = tent if size % 2 else np.convolve(tent, [0.5, 0.5])
    options = {"interpolation": "linear", "padding": "edge"}
    ours, theirs, x = layers_and_input(rank, kernel_size, size, factor, **options)
    output = to_numpy(ours(x))
    padded = np.pad(x, [(0, 0), *[(2, 2)] * rank, (0, 0)], "edge")
    start = 2 * size + size // 2 + kernel_size // 2
    expected = cropped(to_numpy(theirs(padded)), start, output.shape[1:-1])
    np.testing.assert_allclose(output, expected, atol=1e-5)


# Kinoshita and Kiya's fixed smooth layer: a transposed convolution, followed by a fixed filter of
# `order + 1` boxes as wide as the stride.


def filtered(maps, size, order):
    """Apply that filter to `maps`, padded with zeros, and return the full convolution."""
    for axis in range(1, maps.ndim - 1):
        for _ in range(order + 1):
            maps = np.apply_along_axis(np.convolve, axis, maps, np.ones(size))
    return maps


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(("size", "kernel_size"), [(2, 3), (3, 2), (2, 2)])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_fixed_smooth_layer_is_upsampling_and_convolution(rank, size, kernel_size, order):
    ours, theirs, x = layers_and_input(rank, kernel_size, size, np.ones(1))
    full = filtered(to_numpy(theirs(x)), size, order)
    if order:  # all boxes but one become part of the kernel
        (kernel,) = ours.get_weights()
        for axis in range(rank):
            for _ in range(order):
                kernel = np.apply_along_axis(np.convolve, axis, kernel, np.ones(size))
        ours = type(ours)(2, kernel.shape[0], size, use_bias=False)
        ours.build(x.shape)
        ours.set_weights([kernel])
    output = to_numpy(ours(x))
    expected = cropped(full, ours.kernel_size[0] // 2, output.shape[1:-1])
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5 * abs(output).max())


@pytest.mark.parametrize(("size", "kernel_size", "order"), [(3, 2, 1), (3, 3, 1), (2, 3, 2)])
def test_a_smoother_layer_is_linear_upsampling_and_convolution(size, kernel_size, order):
    ours, theirs, x = layers_and_input(2, kernel_size, size, np.ones(1), interpolation="linear")
    x = np.random.default_rng(1).standard_normal((1, 9, 8, 3)).astype("float32")
    output = to_numpy(ours(x))
    full = filtered(to_numpy(theirs(x)), size, order) / size ** (2 * order)
    expected = cropped(full, size // 2 + kernel_size // 2, output.shape[1:-1])
    inside = (slice(None), *[slice(size + kernel_size, -size - kernel_size)] * 2)
    np.testing.assert_allclose(output[inside], expected[inside], rtol=0, atol=1e-5)
