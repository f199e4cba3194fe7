"""Upsampling and convolving a batch: the ways to do it, and the one place that chooses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import ops

from keras_upsampling._arguments import channel_axis, one_of, spatial_axes
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.ops import ways
from keras_upsampling.ops.borders import borders
from keras_upsampling.ops.devices import on_cpu
from keras_upsampling.ops.gradient import with_gradient_of
from keras_upsampling.ops.tables import phase_taps, traced_by_torch, traced_for_onnx
from keras_upsampling.ops.task import Task, checked


def upsample_conv(
    x: Tensor,
    kernel: Tensor,
    size: IntPerAxis = 2,
    *,
    bias: Tensor | None = None,
    interpolation: str = "nearest",
    padding: str = "same",
    data_format: str | None = None,
    dilation_rate: IntPerAxis = 1,
    method: str | None = None,
) -> Tensor:
    """Enlarge a batch by whole factors and convolve it, in one step where that pays.

    Args:
        x: Tensor `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`; one, two or three spatial axes. Integers are
            turned into the kernel's dtype. No axis may be empty but the batch.
        kernel: Tensor `(*kernel_size, channels // groups, filters)`, as in `keras.ops.conv`:
            fewer channels than `x` has make a grouped convolution. Floats; a kernel of higher
            precision than `x` is composed in its own, then cast.
        size: Factor for every axis, or one per axis.
        bias: Tensor `(filters,)` that is added to every sample, or None.
        interpolation: As in `resample`.
        padding: Of the enlarged map: `"same"` (zeros) and `"valid"` as in Keras;
            `"reflect"`, `"symmetric"`, `"edge"` and `"wrap"` as in `numpy.pad`.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        dilation_rate: Step between the kernel's taps on the enlarged map, for every axis or
            one per axis.
        method: For tests and measurements: `"resize"`, `"phases"`, `"rows"`, `"matrices"`,
            `"products"`, `"one_product"` or `"transposed"`. The result is the same. By default the
            way that was quickest where it was measured.

    Returns:
        Tensor in the dtype of `x` (for integers, the kernel's) with `filters` channels; every
        spatial axis is `size` times as long, less the kernel's extent minus one under `"valid"`.

    Raises:
        TypeError: a factor or a dilation is not an integer, the kernel is not of floats, or `x`
            is symbolic, complex or of floats of 8 bits.
        ValueError: unknown interpolation, padding or method, a method that cannot do what is
            asked, a number below 1, `x` or `kernel` of the wrong rank, channels that are unknown
            or do not match, filters that the groups do not divide, a bias that is not one number
            per filter, or an axis of known length that is empty or too short for the padding.

    Example:
        >>> from keras import ops
        >>> from keras_upsampling.ops import upsample_conv
        >>> x, kernel = ops.ones((1, 4, 5, 3)), ops.ones((3, 3, 3, 8))
        >>> tuple(upsample_conv(x, kernel, 2, data_format="channels_last").shape)
        (1, 8, 10, 8)

    Reference:
        Odena, Dumoulin, Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill;
        Colbert et al. 2021, arXiv:2107.07647 (one convolution per phase);
        Kinoshita, Kiya 2020, arXiv:2002.02117 (a box behind a transposed convolution).
    """
    x, kernel, bias, task = checked(
        x, kernel, bias, size, interpolation, padding, data_format, dilation_rate
    )
    if method is None:
        forward, backward = _choose(x, task)
    elif one_of(method, tuple(METHODS), "method") not in _possible(x, task):
        raise ValueError(
            f"method={method!r} cannot do {task.rank} dimensions with "
            f"interpolation={task.interpolation!r}, padding={task.padding!r}, "
            f"dilation_rate={task.dilation_rate}, groups={task.groups} and an input of shape "
            f"{tuple(x.shape)} (axes must be known and long enough for borders made apart). "
            f"Possible here: {', '.join(map(repr, _possible(x, task)))}."
        )
    else:
        forward = backward = method
    # TensorFlow convolves channels first on GPUs only, and the one-step ways are written for
    # channels last: the input is turned while it is small.
    tensorflow, one_step = (
        keras.backend.backend() == "tensorflow",
        {forward, backward} != {"resize"},
    )
    turned = task.data_format == "channels_first" and (tensorflow or one_step)
    if turned:
        x, task = ops.moveaxis(x, 1, -1), task._replace(data_format="channels_last")
    run = _by(forward, task)
    if backward != forward:
        run = with_gradient_of(_by(backward, task), run)
    y = run(x, kernel) if bias is None else run(x, kernel, bias)
    return ops.moveaxis(y, -1, 1) if turned else y


def _by(method: str, task: Task) -> Callable[..., Tensor]:
    """A method as a function of tensors: the input, the kernel, and the bias if there is one."""

    def run(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        return METHODS[method](x, kernel, bias, task)

    return run


def _possible(x: Tensor, task: Task) -> tuple[str, ...]:
    """The methods that are exact for a task."""
    nearest = task.interpolation == "nearest"
    # A reflection that stays within the copies of the edge sample is that sample again;
    # further in, no padding of the input expresses it.
    expressed = nearest and (
        task.padding != "reflect"
        or all(max(widths) < s for widths, s in zip(task.widths, task.size, strict=True))
    )
    composed = expressed or (not nearest and _borders_fit(x, task))
    added_up = task.groups == 1 and (expressed or (not nearest and task.around == "zeros"))
    exact = {
        "resize": True,
        "phases": composed,
        "rows": composed and task.rank == 2,
        "matrices": task.rank == 2
        and task.groups == 1
        and all(isinstance(x.shape[axis], int) for axis in spatial_axes(2, task.data_format))
        and not traced_by_torch(),  # whose graphs hold no arrays of NumPy's
        "products": added_up,
        "one_product": added_up,
        # Keras's transposed convolution has neither groups nor dilation, its depthwise
        # convolution no third dimension.
        "transposed": composed
        and task.groups == 1
        and max(task.dilation_rate) == 1
        and task.rank < 3,
    }
    return tuple(method for method in METHODS if exact[method])


def _borders_fit(x: Tensor, task: Task) -> bool:
    """Whether the borders can be made apart: of what is near, and with something between."""
    if task.padding == "wrap":
        return False
    lengths = [x.shape[axis] for axis in spatial_axes(task.rank, task.data_format)]
    return all(
        not border.outputs
        or (isinstance(n, int) and n >= border.inputs and n * s > 2 * max(border.enlarged))
        for n, s, border in zip(lengths, task.size, borders(task), strict=True)
    )


# What a length is taken to be where it is not known yet, the batch's included.
_TYPICAL_LENGTH = 32

# For how many taps to take products: each holds a map, and compiling takes the longer the more
# there are.
_MOST_PRODUCTS = 125


def _choose(x: Tensor, task: Task) -> tuple[str, str]:
    """The methods of the forward and of the backward pass.

    What was quickest where it was measured; the most careful one elsewhere.

    Measured on a 2-core CPU in float32, with `python -m keras_upsampling bench`, mostly of the
    options `--shape`, `--method` and `--against upsampling`; figures below are how many times as
    fast as Keras's `UpSampling` and `Conv` a method is, forward | training step, at s=2 and k=3
    unless said; `"resize"` has about 1.0. GPUs and half precision were not measured: they resize.

    Some figures of TensorFlow come in pairs, `1.1, 1.4`: the first where it runs oneDNN's kernels,
    as it does on processors with AVX512-VNNI, the second with `TF_ENABLE_ONEDNN_OPTS=0`.
    """
    precise = keras.backend.standardize_dtype(x.dtype) in ("float32", "float64")
    # ONNX programs of lengths that are open were wrong by transposed convolutions.
    if not precise or not on_cpu(x) or max(task.size) == 1 or traced_for_onnx():
        return "resize", "resize"
    axes = [*spatial_axes(task.rank, task.data_format), channel_axis(task.rank, task.data_format)]
    *spatial, channels = (
        x.shape[axis] if isinstance(x.shape[axis], int) else _TYPICAL_LENGTH for axis in axes
    )
    batch = x.shape[0] if isinstance(x.shape[0], int) else _TYPICAL_LENGTH
    samples = batch * math.prod(spatial)
    shape = _Shape(
        samples=samples,
        shortest=min(spatial),
        longest=max(spatial),
        channels=channels,
        enlarged=samples * math.prod(task.size) * channels,
        known=all(isinstance(x.shape[axis], int) for axis in axes[:-1]),
    )
    backend, possible = keras.backend.backend(), _possible(x, task)
    forward = _PREFERRED[backend](shape, task)
    if forward not in possible:
        forward = "resize"
    # PyTorch's gradients are those of the way that went forward.
    backward = _BACKWARD[backend](forward, shape, task) if backend in _BACKWARD else forward
    if backward not in possible:
        # Lengths are unknown or too short for borders made apart, or there are groups, say. On
        # TensorFlow the gradients of rows would be slower still.
        slow = backend == "tensorflow" and forward == "rows"
        backward = "resize" if slow else forward
    return forward, backward


class _Shape(NamedTuple):
    """What of the input's shape decides.

    `enlarged` is how many numbers its enlarged map has, `known` whether its lengths are.
    """

    samples: int
    shortest: int
    longest: int
    channels: int
    enlarged: int
    known: bool


def _worth_borders(shape: _Shape, task: Task, depths: int) -> bool:
    # Made apart, they cost too much on short axes: at s=2, 24x24x64, cubic, 0.9 | 1.2 on
    # TensorFlow; 32x32x64, lanczos5, 0.7 | 0.8. Larger factors have more to save: there an axis
    # need only be so many times as long as its border is deep.
    depth = max(border.inputs if border.outputs else 0 for border in borders(task))
    enough = max(32, 5 * depth) if min(task.size) < 3 else depths * depth - 1
    return not depth or (shape.known and shape.shortest >= enough)


def _density(task: Task) -> float:
    """How many taps the kernel of a phase has for each of the kernel's own, with nearest.

    At most 1 but for dilation, whose zeros make taps too. Up to 2, phases mostly pay.
    """
    windows = [
        (s - 1 + d * (k - 1)) // s + 1
        for s, k, d in zip(task.size, task.kernel_size, task.dilation_rate, strict=True)
    ]
    return math.prod(windows) / math.prod(task.kernel_size)


def _preferred_on_tensorflow(shape: _Shape, task: Task) -> str:
    # Convolutions of many channels are quick, passes over the map are dear.
    if task.interpolation != "nearest":
        return _smooth_on_tensorflow(shape, task) if task.rank == 2 else "resize"
    # What is gained does not pay for the operations more: 25x7x7x8: 1.0 | 0.9; 256x16 (16 in the
    # batch): 0.9 | 0.8.
    if shape.enlarged < {1: 250_000, 2: 100_000, 3: 300_000}[task.rank]:
        return "resize"
    if max(task.kernel_size) == 1:
        return "products"  # 64x64x256: 2.0 | 3.0
    if task.groups > 1 or math.prod(task.kernel_size) > _MOST_PRODUCTS:
        # Four groups, 64x64x256: 2.8 | 6.3, dilated by 3 1.2 | 1.8.
        return "phases" if _density(task) <= 2 else "resize"
    dilated, small_factor = max(task.dilation_rate) > 1, min(task.size) < 3
    long_kernel = max(task.kernel_size) > 4
    # The products are small where there are few channels, and many where the kernel is long:
    # 256x256x16: phases 2.4, products 1.8; s=3, k=5: 3.7, 2.8; but s=3: both 4.0; s=4: 2.1, 3.0,
    # and dilated by 6 0.9, 2.2.
    if shape.channels < 32 and (small_factor or (long_kernel and min(task.size) < 4)):
        return "phases" if _density(task) <= 2 else "products"
    if shape.channels < 128 and small_factor and not dilated:
        # 32x32x64, k=5: 2.5, products 2.0; 24x24x24x32: 3.9 | 7.1, products 3.2 | 3.6.
        if long_kernel or task.rank == 3:
            return "phases"
        # 32 of 7x7x64: 1.7, products 1.3; but 16 of 14x14x64 1.3 and 1.7, and 28x28x32, 32x32x64
        # and 128x128x32 about the same.
        if task.rank == 2:
            return "transposed"
    # 56x56x128: 2.7, 3.0, products 2.1, 2.8; 64x64x256: 3.4, 3.2, products 2.9, 3.0.
    if task.rank == 2 and small_factor and not (dilated or long_kernel) and shape.shortest >= 32:
        return "transposed"
    # Nothing is enlarged before it has to be, and the larger the factor, the more that saves:
    # 8x8x512: 3.1 where a transposed convolution has 1.2; s=4, 64x64x256: 7.1, 8x8x512: 11,
    # 7x7x64: 3.5, 32x32x64: 4.0; s=2, k=5, 64x64x256: 3.4 where phases have 2.7. One dimension,
    # 2048x64: 1.2, s=4: 1.7. Dilated by 2, 32x32x64: 2.0, phases 1.2.
    return "products"


def _smooth_on_tensorflow(shape: _Shape, task: Task) -> str:
    linear, lanczos = task.interpolation == "linear", task.interpolation.startswith("lanczos")
    dilated, apart = max(task.dilation_rate) > 1, _worth_borders(shape, task, depths=4)
    few_channels, long_axes = shape.channels < 32, shape.shortest >= 128
    # Matrices have the more zeros the longer the axes are, and the other ways the more to do
    # the longer the filter is. 7x7x64: linear 1.1 | 1.7, with s=4 2.6 | 4.4, cubic 1.7 | 2.7,
    # lanczos3 1.5 | 2.3; 32x32x64: lanczos3 1.1 | 1.6; but 16x16x64, linear: 0.8 | 1.3.
    needed = 8 if lanczos else 32 if linear else 16
    filled = min(task.size) ** 2 * shape.channels / shape.longest >= needed
    if filled and shape.longest < 32:
        return "matrices"
    if few_channels and long_axes:
        # Fewer taps save less, and dilated ones would be met with the zeros between them.
        dense = min(task.kernel_size) > 2 and not dilated
        if task.interpolation == "lanczos5" or not dense:
            return "resize"  # 256x256x16, lanczos5, s=4: 1.3, 1.2, rows 0.9, 1.3
        # 256x256x16, linear: 1.1, 1.4, k=5: 1.6, 1.8, where a transposed convolution has 2.1,
        # 0.9; but s=3: rows 0.9, 1.9, that 1.4, 1.4. Cubic: 1.3, 1.5, lanczos3: 1.1, 1.1.
        if linear and min(task.size) > 2 and apart and task.groups == 1:
            return "transposed"
        return "rows" if min(task.size) > 1 else "resize"
    if filled and lanczos:
        # 56x56x128: lanczos3 1.2, lanczos5 1.4 with oneDNN's; 32x32x64: 0.8 and 1.0, k=5: 1.1, 1.1.
        fuller = min(task.size) ** 2 * shape.channels > 8 * shape.longest
        return "matrices" if fuller or max(task.kernel_size) > 4 else "resize"
    # 64x64x256: 2.3, 2.3, s=4: 4.5, 3.2; 32x32x64: 1.6, 1.4, s=4: 1.6, 1.8; but 128x128x32: 1.2,
    # 0.8, s=3: 1.5, 0.7.
    if shape.channels >= 64 and apart:
        return "transposed"
    # What of linear's borders is made apart needs known lengths, but for products. 32x32x64, s=3:
    # 1.2, 1.5, s=4: 1.2, 1.6, 64x64x256: 1.9, 1.9; but 32x32x64: 1.0, 1.0, k=5: 0.8, 1.0.
    if (
        (linear and not shape.known and task.groups == 1 and task.around == "zeros")
        and (not dilated and shape.channels >= (64 if min(task.size) > 2 else 128))
        and max(task.kernel_size) < 6
    ):  # fmt: skip
        return "products"
    return "matrices" if filled else "resize"


def _backward_on_tensorflow(forward: str, shape: _Shape, task: Task) -> str:
    # How many times as fast training steps are with the gradients of another way, and in brackets
    # with those of the way itself.
    nearest = task.interpolation == "nearest"
    if forward == "products":
        # Three dimensions, 8x8x8x128: 1.1 (2.5), 2.9 (4.9) with those of phases; dilated by 2,
        # 7x7x64: 1.0 (1.8), 1.0 (2.0) with those of `"resize"`.
        if task.rank == 3 or max(task.dilation_rate) > 1 or max(task.kernel_size) == 1:
            return forward
        # s=3, 64x64x256: 3.2 (6.0), 8.8 (10), 32x32x64: 3.3 (3.7), 4.5 (4.6), but k=5: 4.4 (3.7),
        # 7.3 (4.0), and 7x7x64: 2.1 (1.6), 4.1 (3.4).
        larger = task.rank == 2 and min(task.size) > 2 and shape.shortest >= 16
        return forward if larger and max(task.kernel_size) < 5 else "transposed"
    # The zeros in matrices cost the less, the more channels there are for an axis. 64x64x256: 2.9
    # (2.1), 4.2 (3.8), s=4: 6.3 (3.6), 7.0 (6.1); but 32x32x64: 1.5 (1.5), 1.7 (1.7).
    if forward == "transposed" and task.interpolation == "linear" and shape.channels >= 64:
        full = min(task.size) ** 2 * shape.channels >= 16 * shape.longest
        measured = shape.longest <= 64 and max(task.kernel_size) < 6
        return "matrices" if full and measured else forward
    # 32x32x64: lanczos3 1.4 (1.0), 1.6 (1.0).
    if forward == "resize" and task.interpolation.startswith("lanczos") and shape.channels >= 64:
        return "matrices" if 2 * shape.longest <= shape.channels else forward
    # The gradients of convolutions are slow where there are few channels.
    if shape.channels >= 64 or task.rank == 3:
        return forward
    if nearest and task.groups == 1 and _density(task) > 1:
        return "resize"  # 256x256x16, dilated by 3: 1.4 (0.8)
    if nearest:
        # 256x256x16: 3.2 (2.5), 5.1 (6.5); but with k=5 3.6 (3.3), 6.8 (8.9).
        return "transposed" if forward == "phases" and max(task.kernel_size) < 4 else forward
    if task.rank == 1:
        return forward
    if shape.shortest >= 128:
        # 256x256x16: linear 1.5 (0.9), 4.6 (1.6), lanczos3 1.1 (0.8), 2.7 (0.8).
        return "transposed"
    # 28x28x32, both where it is resized: linear 1.2, 1.4, lanczos5 1.2, 1.3.
    return "matrices" if shape.longest <= shape.channels else forward


def _preferred_on_jax(shape: _Shape, task: Task) -> str:
    few, long_kernel = shape.channels < 32, max(task.kernel_size) > 4
    too_many = math.prod(task.kernel_size) > _MOST_PRODUCTS
    if task.interpolation != "nearest":
        return "resize" if too_many else _smooth_on_jax(shape, task, few, long_kernel)
    # 256x256x16, k=5: 2.6, products 0.8; four groups, 64x64x256: 16 | 7, dilated by 3 3.5 | 2.1.
    if (few and long_kernel) or task.groups > 1:
        return "phases" if shape.samples >= 64 and _density(task) <= 2 else "resize"
    # XLA fuses the sums of shifts, and has no quick gradient of convolutions: products, 3.2 |
    # 5.5 (three dimensions 8 to 50). Transposed convolutions: 0.1 to 0.5.
    return "resize" if too_many else "products"


def _smooth_on_jax(shape: _Shape, task: Task, few: bool, long_kernel: bool) -> str:
    linear, small_factor = task.interpolation == "linear", min(task.size) < 3
    # 256x256x16: cubic 2.9 | 2.3 (products 1.6 | 1.6), k=5: linear 3.6 | 5.8 (1.8 | 2.6), cubic
    # with s=4 3.3 | 1.8; but with s=4 and k=3 2.1 | 1.3 (2.4 | 2.8), and lanczos5 0.8 | 0.8. Odd
    # factors leave one phase as it is, which is less to add up: linear, s=3, k=5: 3.2 | 2.4, by
    # products 3.5 | 3.3.
    if (
        (few and task.interpolation != "lanczos5" and max(task.dilation_rate) == 1)
        and (task.rank == 2 and _worth_borders(shape, task, depths=4))
        and (min(task.size) % 2 == 0 and (long_kernel or (small_factor and not linear)))
    ):  # fmt: skip
        return "phases"
    # What is fused is made again for each of the shifts of another axis, so it is not many of
    # them that pay. Linear: 4.6 | 3.2, cubic, 32x32x64: 2.4 | 0.9, k=5: 0.5 | 0.7.
    if task.rank == 1 or _shifts(task) <= 18:
        return "products"
    # Matrices hold a map for each tap, and have the more zeros the longer the axes are: lanczos5,
    # 32x32x64: 1.4 | 1.4, cubic, k=5, 7x7x64: 2.2 | 1.7, but 56x56x128: 0.8 | 1.2.
    held = max(1, max(task.kernel_size) - 2)
    return "matrices" if shape.longest * held <= shape.channels * min(task.size) / 2 else "resize"


def _shifts(task: Task) -> float:
    """How many shifted maps products add up for a phase of an axis, on average."""
    counts = []
    for k, s in zip(task.kernel_size, task.size, strict=True):
        weights = [weight for phase in phase_taps(s, task.interpolation)[1] for weight in phase]
        counts.append(k * sum(map(bool, weights)) / s)
    return max(counts)


def _backward_on_jax(forward: str, shape: _Shape, task: Task) -> str:
    # Training steps with the gradients of another way, and in brackets with the way's own.
    if task.interpolation == "nearest":
        # One product is slower forward, and its gradients quicker: 56x56x128: 3.2 (2.3), 7x7x64:
        # 3.9 (3.0), but with many taps, as in 16x16x16x32, 14 (22), k=5: 2.5 (12).
        few_taps = 1 < math.prod(task.kernel_size) <= 25
        return "one_product" if forward == "products" and few_taps else forward
    if max(task.kernel_size) > 5:
        return forward  # matrices hold a map for every tap
    # Matrices: 32x32x64: linear 2.4 (1.3), s=4 2.9 (2.6), cubic 1.8 (1.1); 7x7x64: cubic 2.8 (1.6),
    # linear, k=5: 3.0 (1.9); but 256x256x16: linear 1.7 (2.5), cubic 1.0 (1.7). Where products do
    # not pay, they do on longer axes too, where few channels let one expect few filters: lanczos5,
    # 256x256x16: 1.5 (1.1).
    longest = 256 if forward == "resize" and shape.channels < 32 else shape.channels
    return "matrices" if shape.longest <= longest else forward


def _preferred_on_torch(shape: _Shape, task: Task) -> str:
    large = shape.enlarged >= 1_000_000
    few, dilated = shape.channels < 32, max(task.dilation_rate) > 1
    long_kernel, small_factor = max(task.kernel_size) > 4, min(task.size) < 3
    if task.interpolation != "nearest":
        # Linear, 7x7x64: 1.3 | 1.1, s=3: 1.9 | 1.8, s=4: 2.3 | 3.6, but k=5: 0.8 | 0.8.
        short = 8 * shape.longest <= shape.channels and shape.enlarged >= 200_000
        if short and not (long_kernel and small_factor):
            return "matrices"
        wide = shape.shortest >= 12 and _worth_borders(shape, task, depths=5)
        # 64x64x256: 3.0 | 2.9; 14x14x64, s=3: 1.2 | 1.2, but 7x7x64: 0.8 | 0.9, s=4: 0.9 | 0.9.
        return "transposed" if task.rank == 2 and wide and large else "resize"
    few_taps = math.prod(task.kernel_size) <= _MOST_PRODUCTS
    if task.rank < 3 and task.groups == 1 and not few and few_taps:
        # Dilated by 2, 64x64x256: 4.5 | 3.3 (phases 1.9 | 1.2), 32x32x64: 1.2 | 1.9; by 6,
        # 64x64x256: 2.5 | 3.3 (0.3 | 0.2). 2048x64: 2.3 | 1.7 (2.0 | 0.9).
        if large and (dilated or task.rank == 1):
            return "products"
        # 128x64 (16 in the batch), s=3: 1.1 | 1.5, s=4: 1.5 | 1.8, but s=2, k=5: 0.7 | 0.9.
        if task.rank == 1 and shape.enlarged >= 350_000 and not long_kernel:
            return "products"
    if task.rank != 2 or task.groups > 1 or dilated:
        # 24x24x24x32: 3.7 | 2.9, but 7x7x7x32: 1.0 | 1.2. Four groups, 64x64x256: 4.1 | 2.4,
        # dilated by 3 1.2 | 0.9. Few channels, dilated by 3, 256x256x16: 2.9 | 2.0.
        return "phases" if large and _density(task) <= (2 if few else 1.5) else "resize"
    if shape.enlarged < 200_000:
        return "resize"  # 25x7x7x8: 0.7 | 0.8
    if max(task.kernel_size) == 1:
        return "products"  # 64x64x256: 7.3 | 5.0
    return "transposed"  # 3.1 | 2.9; 64x64x256 4.2 | 4.2


_PREFERRED = {
    "tensorflow": _preferred_on_tensorflow,
    "jax": _preferred_on_jax,
    "torch": _preferred_on_torch,
}

_BACKWARD = {
    "tensorflow": _backward_on_tensorflow,
    "jax": _backward_on_jax,
}


METHODS: dict[str, Callable[[Tensor, Tensor, Tensor | None, Task], Tensor]] = {
    "resize": ways.resize,
    "phases": ways.phases,
    "rows": ways.rows,
    "matrices": ways.matrices,
    "products": ways.products,
    "one_product": ways.one_product,
    "transposed": ways.transposed,
}
