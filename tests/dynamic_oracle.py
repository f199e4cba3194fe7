"""Reference implementations of CARAFE and DySample in plain NumPy and float64.

Written from the definitions, without code of the package. Maps are
`(batch, height, width, channels)`.
"""

from itertools import product

import numpy as np


def conv(x, kernel, bias):
    """A convolution with zero padding that keeps the size; even kernels pad one more after."""
    _, height, width, _ = x.shape
    rows, columns = kernel.shape[:2]
    y = np.zeros((*x.shape[:3], kernel.shape[-1])) + bias
    for i, j, a, b in product(range(height), range(width), range(rows), range(columns)):
        r, c = i + a - (rows - 1) // 2, j + b - (columns - 1) // 2
        if 0 <= r < height and 0 <= c < width:
            y[:, i, j] += x[:, r, c] @ kernel[a, b]
    return y


def _means(x, size, kernel_size, groups):
    """For each weighted mean: the output index, the indices of its logits, and of its samples."""
    _, height, width, channels = x.shape
    depth = channels // groups
    for i, j in product(range(height), range(width)):
        neighbours = [
            (t, i + a - kernel_size[0] // 2, j + b - kernel_size[1] // 2)
            for t, (a, b) in enumerate(product(range(kernel_size[0]), range(kernel_size[1])))
        ]
        neighbours = [(t, r, c) for t, r, c in neighbours if 0 <= r < height and 0 <= c < width]
        taps, rows, columns = map(list, zip(*neighbours, strict=True))
        for p, q, g in product(range(size[0]), range(size[1]), range(groups)):
            first = ((p * size[1] + q) * groups + g) * kernel_size[0] * kernel_size[1]
            channel_slice = slice(g * depth, (g + 1) * depth)
            out = (slice(None), i * size[0] + p, j * size[1] + q, channel_slice)
            logit_index = (slice(None), i, j, [first + t for t in taps])
            yield out, logit_index, (slice(None), rows, columns, channel_slice)


def _softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def reassemble(x, logits, *, size, kernel_size, groups):
    batch, height, width, channels = x.shape
    y = np.zeros((batch, height * size[0], width * size[1], channels))
    for out, logit_index, sample_index in _means(x, size, kernel_size, groups):
        y[out] = np.einsum("bt,btc->bc", _softmax(logits[logit_index]), x[sample_index])
    return y


def reassemble_gradients(x, logits, gradient, *, size, kernel_size, groups):
    """Gradients of `sum(gradient * output)` in the input and the logits."""
    x_gradient, logits_gradient = np.zeros_like(x), np.zeros_like(logits)
    for out, logit_index, sample_index in _means(x, size, kernel_size, groups):
        weights = _softmax(logits[logit_index])
        x_gradient[sample_index] += weights[..., None] * gradient[out][:, None]
        weights_gradient = np.einsum("bc,btc->bt", gradient[out], x[sample_index])
        mean = (weights * weights_gradient).sum(axis=-1, keepdims=True)
        logits_gradient[logit_index] += weights * (weights_gradient - mean)
    return x_gradient, logits_gradient


def carafe(x, weights, **options):
    """CARAFE; `weights` are kernel and bias of the compressor, kernel and bias of the encoder."""
    return reassemble(x, conv(conv(x, *weights[:2]), *weights[2:]), **options)


def _reads(x, positions):
    """For each value read: the output index, the index in `positions`, and four corners.

    A corner is its index in `x`, its weight, and the slopes of the weight along rows and columns.
    """
    (_, height, width, channels), groups = x.shape, positions.shape[3]
    depth = channels // groups
    for b, i, j, g in np.ndindex(positions.shape[:4]):
        row, column = positions[b, i, j, g]
        # Outside the map the edge is repeated, so the slope is zero.
        inside = 0 <= row < height - 1, 0 <= column < width - 1
        row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
        top, left = (
            min(int(start), max(n - 2, 0)) for start, n in ((row, height), (column, width))
        )
        channel_slice = slice(g * depth, (g + 1) * depth)
        corners = []
        for lower, right in product((0, 1), (0, 1)):
            row_weight = row - top if lower else 1 - (row - top)
            column_weight = column - left if right else 1 - (column - left)
            slope = (
                inside[0] * (1 if lower else -1) * column_weight,
                inside[1] * (1 if right else -1) * row_weight,
            )
            pixel = (b, min(top + lower, height - 1), min(left + right, width - 1), channel_slice)
            corners.append((pixel, row_weight * column_weight, np.array(slope)))
        yield (b, i, j, channel_slice), (b, i, j, g), corners


def sample(x, positions):
    y = np.zeros((*positions.shape[:3], x.shape[-1]))
    for out, _, corners in _reads(x, positions):
        for pixel, weight, _ in corners:
            y[out] += weight * x[pixel]
    return y


def sample_gradients(x, positions, gradient):
    """Gradients of `sum(gradient * output)` in the input and the positions."""
    x_gradient, positions_gradient = np.zeros_like(x), np.zeros_like(positions)
    for out, index, corners in _reads(x, positions):
        for pixel, weight, slope in corners:
            x_gradient[pixel] += weight * gradient[out]
            positions_gradient[index] += slope * (gradient[out] @ x[pixel])
    return x_gradient, positions_gradient


def dysample(x, kernel, bias, *, size, groups, start):
    """DySample; the shape of `kernel` is `(channels, 2 * groups * prod(size))`."""
    batch, height, width, _ = x.shape
    offsets = x @ kernel + bias
    positions = np.zeros((batch, height * size[0], width * size[1], groups, 2))
    for _, i, j, g, axis in np.ndindex(1, *positions.shape[1:]):
        output_index, s = (i, j)[axis], size[axis]
        phase = (i % size[0]) * size[1] + j % size[1]
        channel = (phase * groups + g) * 2 + axis
        initial = {"nearest": output_index // s, "linear": (output_index + 0.5) / s - 0.5}[start]
        offset = offsets[:, i // size[0], j // size[1], channel]
        positions[:, i, j, g, axis] = initial + offset / 4
    return sample(x, positions)
