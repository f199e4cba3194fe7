"""What the package must compute, in slow plain NumPy and float64.

Written from the definitions, sharing no code with the package. Arrays are
`(batch, *spatial, channels)`; kernels are `(*kernel_size, channels // groups, filters)`.
"""

import math
from itertools import product

import numpy as np


def _sinc(x):
    return 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)


def _weight(name, x):
    x = abs(x)
    if name == "linear":
        return 1 - x if x < 1 else 0.0
    if name == "cubic":
        if x < 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0
    lobes = {"lanczos3": 3, "lanczos5": 5}[name]
    return _sinc(x) * _sinc(x / lobes) if x < lobes else 0.0


def upsampling_matrix(length, size, name):
    """Row `o` holds the weight of every input sample in output sample `o`."""
    matrix = np.zeros((length * size, length))
    for o in range(length * size):
        if name == "nearest":
            matrix[o, o // size] = 1
            continue
        position = (o + 0.5) / size - 0.5
        weights = [_weight(name, position - j) for j in range(length)]
        for j in range(length):
            matrix[o, j] = weights[j] / sum(weights)
    return matrix


def _along(matrix, x, axis):
    return np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)


def upsample(x, size, name):
    for axis, factor in enumerate(size, start=1):
        x = _along(upsampling_matrix(x.shape[axis], factor, name), x, axis)
    return x


def upsample_adjoint(gradient, size, name):
    """The transpose of `upsample`: what flows back to its input."""
    for axis, factor in enumerate(size, start=1):
        length = gradient.shape[axis] // factor
        gradient = _along(upsampling_matrix(length, factor, name).T, gradient, axis)
    return gradient


def _pad_matrix(length, before, after, padding):
    """Row `o` of the padded axis as a combination of the samples inside."""
    mode = {"same": "constant", "valid": "constant"}.get(padding, padding)
    columns = [
        np.pad(np.eye(length)[j], (before, after) if padding != "valid" else 0, mode)
        for j in range(length)
    ]
    return np.stack(columns, axis=1)


def _pad_matrices(lengths, kernel_size, dilation, padding):
    matrices = []
    for length, k, d in zip(lengths, kernel_size, dilation, strict=True):
        extra = (k - 1) * d
        matrices.append(_pad_matrix(length, extra // 2, extra - extra // 2, padding))
    return matrices


def _windows(padded, kernel_size, dilation):
    """For each tap of the kernel, the slice of the padded map that it meets."""
    lengths = [
        n - (k - 1) * d for n, k, d in zip(padded.shape[1:-1], kernel_size, dilation, strict=True)
    ]
    for tap in product(*map(range, kernel_size)):
        slices = tuple(
            slice(t * d, t * d + n) for t, d, n in zip(tap, dilation, lengths, strict=True)
        )
        yield tap, (slice(None), *slices)


def blur_pool_matrix(length, size, order):
    """Row `i` holds the weight of every sample of an axis in output `i`."""
    # How many ways there are to reach a distance by `order` steps of 0 to `size - 1` samples.
    steps = [sum(step) for step in product(range(size), repeat=order)]
    matrix = np.zeros((math.ceil(length / size), length))
    for i in range(len(matrix)):
        # From the middle of the samples that the output stands for, to the earlier one if astride.
        start = math.floor(i * size + (size - 1) / 2 - max(steps) / 2)
        for step in steps:
            # Mirrored about the outer edges of the end samples, as often as it takes.
            j = (start + step) % (2 * length)
            matrix[i, min(j, 2 * length - 1 - j)] += 1 / len(steps)
    return matrix


def blur_pool(x, size, order):
    for axis, factor in enumerate(size, start=1):
        x = _along(blur_pool_matrix(x.shape[axis], factor, order), x, axis)
    return x


def blur_pool_adjoint(gradient, size, order, lengths):
    """The transpose of `blur_pool`, of maps with `lengths`: what flows back to its input."""
    for axis, (factor, length) in enumerate(zip(size, lengths, strict=True), start=1):
        gradient = _along(blur_pool_matrix(length, factor, order).T, gradient, axis)
    return gradient


def upsample_conv(x, kernel, bias, *, size, interpolation, padding, dilation, groups):
    kernel_size, filters = kernel.shape[:-2], kernel.shape[-1]
    padded = upsample(x, size, interpolation)
    matrices = _pad_matrices(padded.shape[1:-1], kernel_size, dilation, padding)
    for axis, matrix in enumerate(matrices, start=1):
        padded = _along(matrix, padded, axis)
    output = 0
    channels, part = x.shape[-1] // groups, filters // groups
    for tap, window in _windows(padded, kernel_size, dilation):
        seen = padded[window]
        output = output + np.concatenate(
            [
                seen[..., g * channels : (g + 1) * channels]
                @ kernel[tap][:, g * part : (g + 1) * part]
                for g in range(groups)
            ],
            axis=-1,
        )
    return output + bias


def _phase(place, size):
    """Which input sample an output sample belongs to, and which of its phases it is."""
    low, phase = [], 0
    for p, s in zip(place, size, strict=True):
        low.append(p // s)
        phase = phase * s + p % s
    return tuple(low), phase


def depth_to_space(x, size):
    """Channel `phase * filters + f` becomes that phase of filter `f`, sample by sample."""
    filters = x.shape[-1] // math.prod(size)
    output = np.zeros((len(x), *np.multiply(x.shape[1:-1], size), filters))
    for place in product(*map(range, output.shape[1:-1])):
        low, phase = _phase(place, size)
        channels = slice(phase * filters, (phase + 1) * filters)
        output[(slice(None), *place)] = x[(slice(None), *low, channels)]
    return output


def space_to_depth(y, size):
    """The inverse of `depth_to_space`, and its transpose."""
    filters = y.shape[-1]
    lengths = np.floor_divide(y.shape[1:-1], size)
    output = np.zeros((len(y), *lengths, math.prod(size) * filters))
    for place in product(*map(range, y.shape[1:-1])):
        low, phase = _phase(place, size)
        channels = slice(phase * filters, (phase + 1) * filters)
        output[(slice(None), *low, channels)] = y[(slice(None), *place)]
    return output


def _convolution(kernel, padding):
    ones = (1,) * (kernel.ndim - 2)
    return {
        "size": ones,
        "interpolation": "nearest",
        "padding": padding,
        "dilation": ones,
        "groups": 1,
    }


def subpixel_conv(x, kernel, bias, *, size, padding):
    return depth_to_space(upsample_conv(x, kernel, bias, **_convolution(kernel, padding)), size)


def subpixel_conv_gradients(x, kernel, gradient, *, size, padding):
    gradient = space_to_depth(gradient, size)
    return upsample_conv_gradients(x, kernel, gradient, **_convolution(kernel, padding))


def bilinear_additive(x, size):
    """Enlarge every channel, then add up neighbours, as many as there are phases."""
    enlarged, added = upsample(x, size, "linear"), math.prod(size)
    output = np.zeros((*enlarged.shape[:-1], x.shape[-1] // added))
    for channel in range(x.shape[-1]):
        output[..., channel // added] += enlarged[..., channel]
    return output


def upsample_conv_gradients(x, kernel, gradient, *, size, interpolation, padding, dilation, groups):
    """Gradients of `sum(gradient * output)` in the input, the kernel and the bias."""
    kernel_size, filters = kernel.shape[:-2], kernel.shape[-1]
    upsampled = upsample(x, size, interpolation)
    matrices = _pad_matrices(upsampled.shape[1:-1], kernel_size, dilation, padding)
    padded = upsampled
    for axis, matrix in enumerate(matrices, start=1):
        padded = _along(matrix, padded, axis)
    to_padded, to_kernel = np.zeros_like(padded), np.zeros_like(kernel)
    channels, part = x.shape[-1] // groups, filters // groups
    for tap, window in _windows(padded, kernel_size, dilation):
        for g in range(groups):
            ins = slice(g * channels, (g + 1) * channels)
            outs = slice(g * part, (g + 1) * part)
            incoming = gradient[..., outs]
            to_padded[window][..., ins] += incoming @ kernel[tap][:, outs].T
            to_kernel[tap][:, outs] += np.tensordot(
                padded[window][..., ins], incoming, (range(x.ndim - 1), range(x.ndim - 1))
            )
    to_upsampled = to_padded
    for axis, matrix in enumerate(matrices, start=1):
        to_upsampled = _along(matrix.T, to_upsampled, axis)
    to_bias = gradient.sum(axis=tuple(range(x.ndim - 1)))
    return upsample_adjoint(to_upsampled, size, interpolation), to_kernel, to_bias
