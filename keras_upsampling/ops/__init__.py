"""Stateless operations on tensors, written with `keras.ops` for every backend."""

from keras_upsampling.ops.blur_pooling import blur_pool
from keras_upsampling.ops.checkerboards import checkerboard
from keras_upsampling.ops.padding import pad
from keras_upsampling.ops.resampling import resample
from keras_upsampling.ops.subpixel_convolution import subpixel_conv
from keras_upsampling.ops.upsample_convolution import upsample_conv

__all__ = [
    "blur_pool",
    "checkerboard",
    "pad",
    "resample",
    "subpixel_conv",
    "upsample_conv",
]
