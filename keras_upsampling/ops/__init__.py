"""Stateless operations on tensors: what a backend runs, by `keras.ops`."""

from keras_upsampling.ops.blur_pool import blur_pool
from keras_upsampling.ops.checkerboard import checkerboard
from keras_upsampling.ops.pad import pad
from keras_upsampling.ops.resample import resample
from keras_upsampling.ops.subpixel_conv import subpixel_conv
from keras_upsampling.ops.upsample_conv import upsample_conv

__all__ = [
    "blur_pool",
    "checkerboard",
    "pad",
    "resample",
    "subpixel_conv",
    "upsample_conv",
]
