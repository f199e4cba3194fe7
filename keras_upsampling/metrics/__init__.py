"""The checkerboard score: for arrays of images, and as a Keras metric for data sets."""

from keras_upsampling.metrics.image_scores import Stride, checkerboard_score, detect_stride
from keras_upsampling.metrics.keras_metric import Checkerboard
from keras_upsampling.ops._checkerboard.score import CheckerboardScore

__all__ = ["Checkerboard", "CheckerboardScore", "Stride", "checkerboard_score", "detect_stride"]
