"""Reference implementations in plain NumPy and float64.

Written from the definitions, without code of the package. Arrays are
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
    """Matrix of upsampling: row `o` contains the weight of every input sample in output `o`."""
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


def _apply_along_axis(matrix, x, axis):
    return np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)


def upsample(x, size, name):
    for axis, factor in enumerate(size, start=1):
        x = _apply_along_axis(upsampling_matrix(x.shape[axis], factor, name), x, axis)
    return x


def upsample_adjoint(gradient, size, name):
    """The transpose of `upsample`: the gradient in its input."""
    for axis, factor in enumerate(size, start=1):
        length = gradient.shape[axis] // factor
        gradient = _apply_along_axis(upsampling_matrix(length, factor, name).T, gradient, axis)
    return gradient


def _pad_matrix(length, before, after, padding):
    """Matrix of padding: row `o` contains the weight of every sample in padded sample `o`."""
    mode = {"same": "constant", "valid": "constant"}.get(padding, padding)
    columns = [
        np.pad(np.eye(length)[j], (before, after) if padding != "valid" else 0, mode)
        for j in range(length)
    ]
    return np.stack(columns, axis=1)


def _pad_matrices(lengths, kernel_size, dilation, padding):
    matrices = []
    for length, k, d in zip(lengths, kernel_size, dilation, strict=True):
        width = (k - 1) * d
        matrices.append(_pad_matrix(length, width // 2, width - width // 2, padding))
    return matrices


def _windows(padded, kernel_size, dilation):
    """For each tap of the kernel, the slice of the padded map that it reads."""
    lengths = [
        n - (k - 1) * d for n, k, d in zip(padded.shape[1:-1], kernel_size, dilation, strict=True)
    ]
    for tap in product(*map(range, kernel_size)):
        slices = tuple(
            slice(t * d, t * d + n) for t, d, n in zip(tap, dilation, lengths, strict=True)
        )
        yield tap, (slice(None), *slices)


def blur_pool_matrix(length, size, order):
    """Matrix of blur pooling: row `i` contains the weight of every input sample in output `i`."""
    # `order` boxes: the sums of all choices of `order` numbers from 0 to `size - 1`.
    offsets = [sum(numbers) for numbers in product(range(size), repeat=order)]
    matrix = np.zeros((math.ceil(length / size), length))
    for i in range(len(matrix)):
        # Centred on samples `i * size` to `i * size + size - 1`, or half a sample before.
        start = math.floor(i * size + (size - 1) / 2 - max(offsets) / 2)
        for offset in offsets:
            # Symmetric padding, repeated as often as necessary.
            j = (start + offset) % (2 * length)
            matrix[i, min(j, 2 * length - 1 - j)] += 1 / len(offsets)
    return matrix


def blur_pool(x, size, order):
    for axis, factor in enumerate(size, start=1):
        x = _apply_along_axis(blur_pool_matrix(x.shape[axis], factor, order), x, axis)
    return x


def blur_pool_adjoint(gradient, size, order, lengths):
    """The transpose of `blur_pool`: the gradient in its input, of spatial shape `lengths`."""
    for axis, (factor, length) in enumerate(zip(size, lengths, strict=True), start=1):
        gradient = _apply_along_axis(blur_pool_matrix(length, factor, order).T, gradient, axis)
    return gradient


def upsample_conv(x, kernel, bias, *, size, interpolation, padding, dilation, groups):
    kernel_size, filters = kernel.shape[:-2], kernel.shape[-1]
    padded = upsample(x, size, interpolation)
    matrices = _pad_matrices(padded.shape[1:-1], kernel_size, dilation, padding)
    for axis, matrix in enumerate(matrices, start=1):
        padded = _apply_along_axis(matrix, padded, axis)
    output = 0
    channels, group_filters = x.shape[-1] // groups, filters // groups
    for tap, window in _windows(padded, kernel_size, dilation):
        values = padded[window]
        output = output + np.concatenate(
            [
                values[..., g * channels : (g + 1) * channels]
                @ kernel[tap][:, g * group_filters : (g + 1) * group_filters]
                for g in range(groups)
            ],
            axis=-1,
        )
    return output + bias


def _phase(position, size):
    """Position of the input sample of an output sample, and its phase."""
    source, phase = [], 0
    for p, s in zip(position, size, strict=True):
        source.append(p // s)
        phase = phase * s + p % s
    return tuple(source), phase


def depth_to_space(x, size):
    """Interleave: channel `phase * filters + f` becomes that phase of channel `f`."""
    filters = x.shape[-1] // math.prod(size)
    output = np.zeros((len(x), *np.multiply(x.shape[1:-1], size), filters))
    for position in product(*map(range, output.shape[1:-1])):
        source, phase = _phase(position, size)
        channels = slice(phase * filters, (phase + 1) * filters)
        output[(slice(None), *position)] = x[(slice(None), *source, channels)]
    return output


def space_to_depth(y, size):
    """The inverse of `depth_to_space`, which is its transpose."""
    filters = y.shape[-1]
    lengths = np.floor_divide(y.shape[1:-1], size)
    output = np.zeros((len(y), *lengths, math.prod(size) * filters))
    for position in product(*map(range, y.shape[1:-1])):
        source, phase = _phase(position, size)
        channels = slice(phase * filters, (phase + 1) * filters)
        output[(slice(None), *source, channels)] = y[(slice(None), *position)]
    return output


def _without_upsampling(kernel, padding):
    """Options of `upsample_conv` for a plain convolution."""
    ones = (1,) * (kernel.ndim - 2)
    return {
        "size": ones,
        "interpolation": "nearest",
        "padding": padding,
        "dilation": ones,
        "groups": 1,
    }


def subpixel_conv(x, kernel, bias, *, size, padding):
    options = _without_upsampling(kernel, padding)
    return depth_to_space(upsample_conv(x, kernel, bias, **options), size)


def subpixel_conv_gradients(x, kernel, gradient, *, size, padding):
    gradient = space_to_depth(gradient, size)
    return upsample_conv_gradients(x, kernel, gradient, **_without_upsampling(kernel, padding))


def bilinear_additive(x, size):
    """Upsample every channel, then add up groups of `prod(size)` adjacent channels."""
    upsampled, phases = upsample(x, size, "linear"), math.prod(size)
    output = np.zeros((*upsampled.shape[:-1], x.shape[-1] // phases))
    for channel in range(x.shape[-1]):
        output[..., channel // phases] += upsampled[..., channel]
    return output


def upsample_conv_gradients(x, kernel, gradient, *, size, interpolation, padding, dilation, groups):
    """Gradients of `sum(gradient * output)` in the input, the kernel and the bias."""
    kernel_size, filters = kernel.shape[:-2], kernel.shape[-1]
    upsampled = upsample(x, size, interpolation)
    matrices = _pad_matrices(upsampled.shape[1:-1], kernel_size, dilation, padding)
    padded = upsampled
    for axis, matrix in enumerate(matrices, start=1):
        padded = _apply_along_axis(matrix, padded, axis)
    padded_gradient, kernel_gradient = np.zeros_like(padded), np.zeros_like(kernel)
    channels, group_filters = x.shape[-1] // groups, filters // groups
    for tap, window in _windows(padded, kernel_size, dilation):
        for g in range(groups):
            ins = slice(g * channels, (g + 1) * channels)
            outs = slice(g * group_filters, (g + 1) * group_filters)
            group_gradient = gradient[..., outs]
            padded_gradient[window][..., ins] += group_gradient @ kernel[tap][:, outs].T
            kernel_gradient[tap][:, outs] += np.tensordot(
                padded[window][..., ins], group_gradient, (range(x.ndim - 1), range(x.ndim - 1))
            )
    upsampled_gradient = padded_gradient
    for axis, matrix in enumerate(matrices, start=1):
        upsampled_gradient = _apply_along_axis(matrix.T, upsampled_gradient, axis)
    bias_gradient = gradient.sum(axis=tuple(range(x.ndim - 1)))
    return upsample_adjoint(upsampled_gradient, size, interpolation), kernel_gradient, bias_gradient
