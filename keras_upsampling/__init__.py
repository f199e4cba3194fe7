"""Upsampling for Keras 3 decoders, without checkerboards."""

# Importing the modules registers their classes, so that Keras can load models with them.
from keras_upsampling import auditing as auditing
from keras_upsampling import config as config
from keras_upsampling import constraints as constraints
from keras_upsampling import initializers as initializers
from keras_upsampling import layers as layers
from keras_upsampling import metrics as metrics
from keras_upsampling import models as models
from keras_upsampling import ops as ops
from keras_upsampling.auditing import audit, audit_kernel, repair
from keras_upsampling.layers import (
    CARAFE2D,
    BilinearAdditiveUpsampling2D,
    BlurPool1D,
    BlurPool2D,
    BlurPool3D,
    DySample2D,
    SubpixelConv1D,
    SubpixelConv2D,
    SubpixelConv3D,
    Upsample1D,
    Upsample2D,
    Upsample3D,
    UpsampleConv1D,
    UpsampleConv2D,
    UpsampleConv3D,
)
from keras_upsampling.metrics import checkerboard_score, detect_stride
from keras_upsampling.models import autoencoder, tutorial_autoencoder, variational_autoencoder

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
