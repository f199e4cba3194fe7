"""`Checkerboard`: the score of images as a Keras metric, over a whole data set."""

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
from keras_upsampling.ops.tables import compiled_on_jax

_checkerboard = compiled_on_jax(checkerboard, ("size", "data_range", "data_format"))


def _one_each(weights: Any, of: Tensor) -> Tensor:
    """Return weights as a tensor like `of`, one number for each image."""
    weights = ops.cast(weights, of.dtype)
    shape, (images,) = tuple(weights.shape), of.shape
    known = None not in (images, *shape[:1])
    # Losses of images ask for weights with an axis of 1 for each of theirs.
    if set(shape[1:]) - {1} or (shape and known and shape[0] != images):
        raise ValueError(
            f"`sample_weight` must be one weight for each of the images, of shape ({images},), or "
            f"with axes of 1 after it. Received shape {shape}."
        )
    return ops.reshape(weights, (-1,)) if shape else weights


@keras.saving.register_keras_serializable(package="keras_upsampling")
class Checkerboard(keras.metrics.Metric):
    """How strong the pattern of upsampling is in what a model makes, in decibels.

    The mean over the images of the power that repeats each `size` samples, over the power that
    their content explains: about 0 dB or below without a pattern, 10 dB and more where a
    transposed convolution leaves one. Many images show patterns that are too weak to be seen in
    one of them. The values of the images are not checked: mind `data_range`, and a NaN makes the
    result NaN.

    Images have a batch axis always, as what models make has; one image is `image[None]`. As one of
    `weighted_metrics` beside a loss of images, it is given weights of shape `(batch, 1, 1)`, which
    such losses ask for.

    Its state is sums only, so that metrics of parts of a data set can be merged, and give what one
    metric of all of it gives.

    Args:
        size: Period of the pattern, for every axis or one per axis: the factor of the last
            upsampling, or the product of the last few.
        use_reference: Whether `y_true` is what the images should be, in their shape: then what a
            small filter makes of it is taken out first, and far weaker patterns show. Without,
            `y_true` is ignored, and may be None.
        data_range: Difference between the highest and the lowest value that images can have.
        data_format: `"channels_last"` or `"channels_first"`; Keras's setting by default.
        name: Of the metric.
        dtype: Of its state and of its arithmetic: float64 if that is asked for, else float32,
            since the squares of a strong pattern do not fit into half precision.

    Raises:
        TypeError: a factor is not an integer, or `data_range` no number. When updated: the images
            are complex.
        ValueError: a factor is below 1, all of them are 1, or `data_range` is not positive and
            finite. When updated: an axis of the images is too short (the message says the
            shortest), `y_true` is None where it is the reference, or of another shape than the
            images, or `sample_weight` is not one number for each image.

    Example:
        >>> import numpy as np
        >>> from keras_upsampling.metrics import Checkerboard
        >>> images = np.random.default_rng(0).normal(0.5, 0.1, (8, 32, 32, 1)).astype("float32")
        >>> metric = Checkerboard(2, data_format="channels_last")
        >>> metric.update_state(images, images)
        >>> float(metric.result()) < 1
        True
        >>> images[:, ::2] += 0.1  # every second row is lighter
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
            raise ValueError(f"`size` must be 2 or more on some axis. Received: size={size}.")
        self.size = checked if per_axis else checked[0]
        self.use_reference = bool(use_reference)
        self.data_range = positive_number(data_range, "data_range")
        self.data_format = data_format_or_default(data_format)
        self._precision = "float64" if self.dtype == "float64" else "float32"
        self._sums = {
            part: self.add_variable((), initializer="zeros", dtype=self._precision, name=part)
            for part in ("images", "ratios", "squares", "detections")
        }

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add the images `y_pred`, each with its `sample_weight` (1 by default)."""
        if self.use_reference and y_true is None:
            raise ValueError(
                "With use_reference=True, `y_true` must be what the images should be. Received: "
                "y_true=None; pass it, or leave out use_reference."
            )
        reference = real_tensor(y_true, "y_true") if self.use_reference else None
        score = _checkerboard(
            ops.cast(real_tensor(y_pred, "y_pred"), self._precision),
            size=self.size,
            reference=None if reference is None else ops.cast(reference, self._precision),
            data_range=self.data_range,
            data_format=self.data_format,
        )
        added = {
            "images": ops.ones_like(score.db),
            "ratios": 10 ** (score.db / 10),
            "squares": ops.square(score.amplitude),
            "detections": ops.cast(score.detected, score.db.dtype),
        }
        weights = 1 if sample_weight is None else _one_each(sample_weight, score.db)
        for part, total in self._sums.items():
            total.assign_add(ops.cast(ops.sum(added[part] * weights), total.dtype))

    def merge_state(self, metrics: Iterable[Checkerboard]) -> None:
        """Add what other metrics of the same kind have seen.

        Raises:
            ValueError: one measures something else.
        """
        metrics = list(metrics)
        for other in metrics:
            if not isinstance(other, Checkerboard) or other._measures() != self._measures():
                raise ValueError(
                    f"Only metrics that measure the same can be merged. Received {other!r} with "
                    f"{other._measures() if isinstance(other, Checkerboard) else 'other state'}, "
                    f"expected a Checkerboard with {self._measures()}."
                )
        for other in metrics:
            for part, total in self._sums.items():
                total.assign_add(other._sums[part])

    def result(self) -> Tensor:
        """Return the mean ratio in decibels; 0 before any image."""
        images, ratios = (ops.convert_to_tensor(self._sums[p]) for p in ("images", "ratios"))
        seen = images > 0
        mean = ops.where(seen, ratios / ops.where(seen, images, 1), 1)
        return 10 * ops.log10(mean)

    def details(self) -> dict[str, float]:
        """Return what the sums say besides `db`, the result.

        `amplitude` is the root mean square of the pattern, in the unit of the images, `images` how
        many they are, and `detection_rate` the share that has a pattern for certain.
        """
        sums = {part: float(ops.convert_to_numpy(total)) for part, total in self._sums.items()}
        images = sums["images"] or 1.0
        return {
            "db": float(ops.convert_to_numpy(self.result())),
            "amplitude": (sums["squares"] / images) ** 0.5,
            "detection_rate": sums["detections"] / images,
            "images": sums["images"],
        }

    def _measures(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "use_reference": self.use_reference,
            "data_range": self.data_range,
            "data_format": self.data_format,
        }

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), **self._measures()}
