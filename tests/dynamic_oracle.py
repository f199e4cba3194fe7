"""What the layers that look at the map must compute, in slow plain NumPy and float64.

Written from the definitions, sharing no code with the package. Maps are
`(batch, height, width, channels)`.
"""

from itertools import product

import numpy as np


def conv(x, kernel, bias):
    """A convolution that keeps the size, zeros outside; of even kernels the odd one goes after."""
    _, height, width, _ = x.shape
    rows, columns = kernel.shape[:2]
    y = np.zeros((*x.shape[:3], kernel.shape[-1])) + bias
    for i, j, a, b in product(range(height), range(width), range(rows), range(columns)):
        r, c = i + a - (rows - 1) // 2, j + b - (columns - 1) // 2
        if 0 <= r < height and 0 <= c < width:
            y[:, i, j] += x[:, r, c] @ kernel[a, b]
    return y


def _means(x, size, kernel_size, groups):
    """Where each mean goes, which logits it has, and which pixels they are of."""
    _, height, width, channels = x.shape
    depth = channels // groups
    for i, j in product(range(height), range(width)):
        near = [
            (t, i + a - kernel_size[0] // 2, j + b - kernel_size[1] // 2)
            for t, (a, b) in enumerate(product(range(kernel_size[0]), range(kernel_size[1])))
        ]
        near = [(t, r, c) for t, r, c in near if 0 <= r < height and 0 <= c < width]
        taps, rows, columns = map(list, zip(*near, strict=True))
        for p, q, g in product(range(size[0]), range(size[1]), range(groups)):
            first = ((p * size[1] + q) * groups + g) * kernel_size[0] * kernel_size[1]
            part = slice(g * depth, (g + 1) * depth)
            out = (slice(None), i * size[0] + p, j * size[1] + q, part)
            picked = (slice(None), i, j, [first + t for t in taps])
            yield out, picked, (slice(None), rows, columns, part)


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def reassemble(x, logits, *, size, kernel_size, groups):
    batch, height, width, channels = x.shape
    y = np.zeros((batch, height * size[0], width * size[1], channels))
    for out, picked, seen in _means(x, size, kernel_size, groups):
        y[out] = np.einsum("bt,btc->bc", _softmax(logits[picked]), x[seen])
    return y


def reassemble_gradients(x, logits, gradient, *, size, kernel_size, groups):
    """Gradients of `sum(gradient * output)` in the map and the logits."""
    to_x, to_logits = np.zeros_like(x), np.zeros_like(logits)
    for out, picked, seen in _means(x, size, kernel_size, groups):
        weights = _softmax(logits[picked])
        to_x[seen] += weights[..., None] * gradient[out][:, None]
        to_weights = np.einsum("bc,btc->bt", gradient[out], x[seen])
        mean = (weights * to_weights).sum(axis=-1, keepdims=True)
        to_logits[picked] += weights * (to_weights - mean)
    return to_x, to_logits


def carafe(x, weights, **options):
    """`weights`: kernel and bias of the compressor, kernel and bias of the encoder."""
    return reassemble(x, conv(conv(x, *weights[:2]), *weights[2:]), **options)


def _reads(x, positions):
    """Where each number read goes, its place in `positions`, its corners and their weights.

    With each corner's weight come its slopes along rows and columns.
    """
    (_, height, width, channels), groups = x.shape, positions.shape[3]
    depth = channels // groups
    for b, i, j, g in np.ndindex(positions.shape[:4]):
        row, column = positions[b, i, j, g]
        # Where the edge goes on, nothing changes.
        moves = 0 <= row < height - 1, 0 <= column < width - 1
        row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
        top, left = (
            min(int(place), max(n - 2, 0)) for place, n in ((row, height), (column, width))
        )
        part = slice(g * depth, (g + 1) * depth)
        corners = []
        for below, beyond in product((0, 1), (0, 1)):
            by_row = row - top if below else 1 - (row - top)
            by_column = column - left if beyond else 1 - (column - left)
            slope = (
                moves[0] * (1 if below else -1) * by_column,
                moves[1] * (1 if beyond else -1) * by_row,
            )
            pixel = (b, min(top + below, height - 1), min(left + beyond, width - 1), part)
            corners.append((pixel, by_row * by_column, np.array(slope)))
        yield (b, i, j, part), (b, i, j, g), corners


def sample(x, positions):
    y = np.zeros((*positions.shape[:3], x.shape[-1]))
    for out, _, corners in _reads(x, positions):
        for pixel, weight, _ in corners:
            y[out] += weight * x[pixel]
    return y


def sample_gradients(x, positions, gradient):
    """Gradients of `sum(gradient * output)` in the map and the positions."""
    to_x, to_positions = np.zeros_like(x), np.zeros_like(positions)
    for out, place, corners in _reads(x, positions):
        for pixel, weight, slope in corners:
            to_x[pixel] += weight * gradient[out]
            to_positions[place] += slope * (gradient[out] @ x[pixel])
    return to_x, to_positions


def dysample(x, kernel, bias, *, size, groups, start):
    """`kernel`: `(channels, numbers)`."""
    batch, height, width, _ = x.shape
    offsets = x @ kernel + bias
    positions = np.zeros((batch, height * size[0], width * size[1], groups, 2))
    for _, i, j, g, axis in np.ndindex(1, *positions.shape[1:]):
        place, s = (i, j)[axis], size[axis]
        phase = (i % size[0]) * size[1] + j % size[1]
        number = (phase * groups + g) * 2 + axis
        at = {"nearest": place // s, "linear": (place + 0.5) / s - 0.5}[start]
        moved = offsets[:, i // size[0], j // size[1], number]
        positions[:, i, j, g, axis] = at + moved / 4
    return sample(x, positions)
