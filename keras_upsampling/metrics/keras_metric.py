"""`Checkerboard`: the checkerboard score as a Keras metric, for data sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_upsampling._arguments import positive_ints, positive_number
from keras_upsampling._shapes import data_format_or_default
from keras_upsampling._types import IntPerAxis, Tensor
from keras_upsampling.ops.checkerboards import checkerboard, real_tensor


def _image_weights(weights: Any, scores: Tensor) -> Tensor:
    """Return weights as a tensor `(batch,)` or a scalar, in the dtype of the `scores`."""
    weights = ops.cast(weights, scores.dtype)
    shape, (images,) = tuple(weights.shape), scores.shape
    known = None not in (images, *shape[:1])
    # For images, Keras's losses need weights with additional axes of length 1.
    if set(shape[1:]) - {1} or (shape and known and shape[0] != images):
        raise ValueError(
            f"`sample_weight` must be one weight for each of the images, of shape ({images},), "
            f"optionally followed by axes of length 1. Received: weights of shape {shape}. Average "
            "the weights of pixels over each image."
        )
    return ops.reshape(weights, (-1,)) if shape else weights


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Checkerboard(keras.metrics.Metric):
    """Strength of the checkerboard in the outputs of a model, in decibels.

    The result is the mean over the images of a ratio: the power at the harmonics of the pattern
    over the power around them. It is about 0 dB or below without a pattern, and 10 dB or more
    where a transposed convolution leaves one. Many images together reveal patterns that are too
    weak to be detected in one of them. The values of the images are not checked: set `data_range`
    correctly; a NaN in an image makes the result NaN.

    Images always have a batch axis, as the outputs of a model; pass one image as `image[None]`. In
    `weighted_metrics`, next to a loss of images, the metric accepts the weights of shape
    `(batch, 1, 1)` that the loss needs.

    The state consists of sums. Metrics of parts of a data set can therefore be merged, and have
    the same result as one metric of the complete data set.

    Args:
        size: Period of the pattern, for every axis or one per axis: the factor of the last
            upsampling, or the product of the last few.
        use_reference: Whether `y_true` is what the images should be, in the same shape. If True,
            the part of the images that a small filter predicts from `y_true` is subtracted first,
            which reveals much weaker patterns. If False, `y_true` is ignored and may be None.
        data_range: Difference between the highest and the lowest value that images can have.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        name: Name of the metric.
        dtype: Dtype of the state and the computation: float64 for `"float64"`, otherwise float32,
            because the squares of a strong pattern overflow half precision.

    Raises:
        TypeError: If a factor is not an integer, or `data_range` is not a number. In
            `update_state`, if the images are complex.
        ValueError: If a factor is below 1, all factors are 1, or `data_range` is not positive and
            finite. In `update_state`, if an axis of the images is too short (the message names the
            minimal length), `y_true` is the reference and is None or has another shape than the
            images, or `sample_weight` is not one number per image.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling.metrics import Checkerboard
        >>> images = np.random.default_rng(0).normal(0.5, 0.1, (8, 32, 32, 1)).astype("float32")
        >>> metric = Checkerboard(2, data_format="channels_last")
        >>> metric.update_state(images, images)
        >>> float(metric.result()) < 1
        True
        >>> images[:, ::2] += 0.1  # every second row is brighter
        >>> metric.reset_state()
        >>> metric.update_state(images, images)
        >>> float(metric.result()) > 10, metric.details()["detection_rate"]
        (True, 1.0)

    Reference:
        Dobie, Wilson 1996, JASA 100:2236 (a spectral line against its surroundings).
    """

    def __init__(
        self,
        size: IntPerAxis = 2,
        *,
        use_reference: bool = False,
        data_range: float = 1.0,
        data_format: str | None = None,
        name: str = "checkerboard",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        per_axis = np.ndim(size) == 1
        checked = positive_ints(size, np.size(size) if per_axis else 1, "size")
        if max(checked, default=1) == 1:
            raise ValueError(
                f"`size` must be 2 or more on some axis. Received: size={size}. Use the factor of "
                "the upsampling."
            )
        self.size = checked if per_axis else checked[0]
        self.use_reference = bool(use_reference)
        self.data_range = positive_number(data_range, "data_range")
        self.data_format = data_format_or_default(data_format)
        self._precision = "float64" if self.dtype == "float64" else "float32"
        self._sums = {
            key: self.add_variable((), initializer="zeros", dtype=self._precision, name=key)
            for key in ("images", "ratios", "squares", "detections")
        }

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add the images `y_pred`, each with its `sample_weight` (1 by default)."""
        if self.use_reference and y_true is None:
            raise ValueError(
                "With use_reference=True, `y_true` must be what the images should be. Received: "
                "y_true=None. Pass the reference images, or omit use_reference."
            )
        reference = real_tensor(y_true, "y_true") if self.use_reference else None
        score = checkerboard(
            ops.cast(real_tensor(y_pred, "y_pred"), self._precision),
            size=self.size,
            reference=None if reference is None else ops.cast(reference, self._precision),
            data_range=self.data_range,
            data_format=self.data_format,
        )
        summands = {
            "images": ops.ones_like(score.db),
            "ratios": 10 ** (score.db / 10),
            "squares": ops.square(score.amplitude),
            "detections": ops.cast(score.detected, score.db.dtype),
        }
        weights = 1 if sample_weight is None else _image_weights(sample_weight, score.db)
        for key, total in self._sums.items():
            total.assign_add(ops.cast(ops.sum(summands[key] * weights), total.dtype))

    def merge_state(self, metrics: Iterable[Checkerboard]) -> None:
        """Add the states of other metrics with the same arguments.

        Raises:
            ValueError: If a metric has other arguments or another class.
        """
        metrics = list(metrics)
        for metric in metrics:
            if not isinstance(metric, Checkerboard) or metric._arguments() != self._arguments():
                raise ValueError(
                    "Only metrics that measure the same can be merged: expected a Checkerboard "
                    f"with {self._arguments()}. Received: {metric!r} with "
                    f"{metric._arguments() if isinstance(metric, Checkerboard) else 'other state'}"
                    ". Create all with the same arguments."
                )
        for metric in metrics:
            for key, total in self._sums.items():
                total.assign_add(metric._sums[key])

    def result(self) -> Tensor:
        """Return the mean ratio in decibels; 0 before the first image."""
        images, ratios = (ops.convert_to_tensor(self._sums[key]) for key in ("images", "ratios"))
        updated = images > 0
        mean = ops.where(updated, ratios / ops.where(updated, images, 1), 1)
        return 10 * ops.log10(mean)

    def details(self) -> dict[str, float]:
        """Return all averages that the metric computes.

        `db` is the result, `amplitude` the root mean square of the pattern in the unit of the
        images, `detection_rate` the fraction of images with a detected pattern, and `images` the
        number of images.
        """
        sums = {key: float(ops.convert_to_numpy(total)) for key, total in self._sums.items()}
        images = sums["images"] or 1.0
        return {
            "db": float(ops.convert_to_numpy(self.result())),
            "amplitude": (sums["squares"] / images) ** 0.5,
            "detection_rate": sums["detections"] / images,
            "images": sums["images"],
        }

    def _arguments(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "use_reference": self.use_reference,
            "data_range": self.data_range,
            "data_format": self.data_format,
        }

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the metric."""
        return {**super().get_config(), **self._arguments()}
