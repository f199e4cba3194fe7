"""Layers that upsample or downsample feature maps."""

from keras_upsampling.layers.bilinear_additive import BilinearAdditiveUpsampling2D
from keras_upsampling.layers.blur_pooling import BlurPool1D, BlurPool2D, BlurPool3D
from keras_upsampling.layers.carafe import CARAFE2D
from keras_upsampling.layers.dysample import DySample2D
from keras_upsampling.layers.subpixel_convolution import (
    SubpixelConv1D,
    SubpixelConv2D,
    SubpixelConv3D,
)
from keras_upsampling.layers.upsample_convolution import (
    UpsampleConv1D,
    UpsampleConv2D,
    UpsampleConv3D,
)
from keras_upsampling.layers.upsampling import Upsample1D, Upsample2D, Upsample3D

__all__ = [
    "CARAFE2D",
    "BilinearAdditiveUpsampling2D",
    "BlurPool1D",
    "BlurPool2D",
    "BlurPool3D",
    "DySample2D",
    "SubpixelConv1D",
    "SubpixelConv2D",
    "SubpixelConv3D",
    "Upsample1D",
    "Upsample2D",
    "Upsample3D",
    "UpsampleConv1D",
    "UpsampleConv2D",
    "UpsampleConv3D",
]
