"""Widths of boundary padding, and output lengths of convolutions."""

from __future__ import annotations

# The last four are modes of `numpy.pad`.
PADDINGS = ("same", "valid", "reflect", "symmetric", "edge", "wrap")


def kernel_extent(kernel_size: int, dilation_rate: int) -> int:
    """Return the number of samples that a dilated kernel spans."""
    return (kernel_size - 1) * dilation_rate + 1


def pad_widths(extent: int, padding: str) -> tuple[int, int]:
    """Return the number of samples added before and after an axis.

    An even kernel adds one more sample after the axis than before it, as in Keras.
    """
    if padding == "valid":
        return 0, 0
    return (extent - 1) // 2, extent // 2


def convolved_length(
    length: int, extent: int, padding: str, *, map_name: str = "upsampled map"
) -> int:
    """Return the length of an axis after padding and convolution.

    Args:
        length: Length of the axis, in samples.
        extent: Number of samples that the kernel spans.
        padding: One of `PADDINGS`.
        map_name: Name of the map, for error messages.

    Raises:
        ValueError: If the output would have no samples, or the axis is too short for `reflect`.
    """
    widest = max(pad_widths(extent, padding))
    if padding == "reflect" and widest > length - 1:
        raise ValueError(
            f"`padding='reflect'` would add {widest} samples to an axis of {length} of the "
            f"{map_name}, and can add {max(length - 1, 0)} at most. "
            "Use a smaller kernel or dilation, or padding='symmetric' or 'edge'."
        )
    if padding != "valid":
        return length
    if extent > length:
        raise ValueError(
            f"The kernel spans {extent} samples and the {map_name} has {length} on that axis, "
            "so padding='valid' leaves nothing. Use a smaller kernel or dilation, a larger "
            "input, or padding='same'."
        )
    return length - extent + 1
