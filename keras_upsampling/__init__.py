"""Upsampling for Keras 3 decoders, without checkerboards."""

# Keras is to know these when it loads a model.
from keras_upsampling import constraints as constraints
from keras_upsampling import initializers as initializers
from keras_upsampling import metrics as metrics
from keras_upsampling.audit import audit
from keras_upsampling.kernels import audit_kernel
from keras_upsampling.layers.bilinear_additive import BilinearAdditiveUpsampling2D
from keras_upsampling.layers.blur_pool import BlurPool1D, BlurPool2D, BlurPool3D
from keras_upsampling.layers.carafe import CARAFE2D
from keras_upsampling.layers.dysample import DySample2D
from keras_upsampling.layers.subpixel_conv import (
    SubpixelConv1D,
    SubpixelConv2D,
    SubpixelConv3D,
)
from keras_upsampling.layers.upsample import Upsample1D, Upsample2D, Upsample3D
from keras_upsampling.layers.upsample_conv import (
    UpsampleConv1D,
    UpsampleConv2D,
    UpsampleConv3D,
)
from keras_upsampling.models.autoencoder import autoencoder
from keras_upsampling.models.tutorial import tutorial_autoencoder
from keras_upsampling.models.variational import variational_autoencoder
from keras_upsampling.repair import repair
from keras_upsampling.score import checkerboard_score, detect_stride

__version__ = "0.1.0"

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
    "audit",
    "audit_kernel",
    "autoencoder",
    "checkerboard_score",
    "detect_stride",
    "repair",
    "tutorial_autoencoder",
    "variational_autoencoder",
]
