"""Stateless operations on tensors, `keras.ops` only: what a backend runs."""

from keras_upsampling.ops.pad import pad
from keras_upsampling.ops.resample import resample
from keras_upsampling.ops.upsample_conv import upsample_conv

__all__ = ["pad", "resample", "upsample_conv"]
