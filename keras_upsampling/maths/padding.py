"""How much a convolution pads, and the lengths that follow."""

from __future__ import annotations

# What the map may be padded with before it is convolved; the last four as `numpy.pad` means them.
PADDINGS = ("same", "valid", "reflect", "symmetric", "edge", "wrap")


def kernel_extent(kernel_size: int, dilation_rate: int) -> int:
    """Return how many samples a dilated kernel spans."""
    return (kernel_size - 1) * dilation_rate + 1


def pad_widths(extent: int, padding: str) -> tuple[int, int]:
    """Return how many samples are added before and after an axis.

    For even kernels the odd one goes after, as Keras does.
    """
    if padding == "valid":
        return 0, 0
    return (extent - 1) // 2, extent // 2


def convolved_length(length: int, extent: int, padding: str, *, of: str = "upsampled map") -> int:
    """Return the length of an axis of `length` samples, padded and convolved.

    Args:
        length: Of the axis.
        extent: How many samples the kernel spans.
        padding: One of `PADDINGS`.
        of: What errors call the map.

    Raises:
        ValueError: nothing is left of it, or `reflect` would have to look past its end.
    """
    widest = max(pad_widths(extent, padding))
    if padding == "reflect" and widest > length - 1:
        raise ValueError(
            f"`padding='reflect'` would add {widest} samples to an axis of {length} of the {of}, "
            f"and can add {max(length - 1, 0)} at most. "
            "Use a smaller kernel or dilation, or padding='symmetric' or 'edge'."
        )
    if padding != "valid":
        return length
    if extent > length:
        raise ValueError(
            f"The kernel spans {extent} samples and the {of} has {length} on that axis, "
            "so padding='valid' leaves nothing. Use a smaller kernel or dilation, a larger "
            "input, or padding='same'."
        )
    return length - extent + 1
