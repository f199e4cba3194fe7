"""`repair`: removes the checkerboard of constants from a copy of a trained model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from keras_upsampling._tables import by, reason_of, table
from keras_upsampling.auditing.copying import copied
from keras_upsampling.auditing.flow import SizeChange
from keras_upsampling.auditing.functions import Function
from keras_upsampling.auditing.kernels import TRANSPOSED, audit_kernel, subpixel
from keras_upsampling.auditing.survey import Survey, name_of, noise, survey_model
from keras_upsampling.auditing.trace import random_state_kept
from keras_upsampling.constraints import CheckerboardFree
from keras_upsampling.maths.harmonics import shortest_length
from keras_upsampling.metrics.image_scores import checkerboard_score, mean_db


class Move(NamedTuple):
    """How far `repair` moved a kernel.

    Attributes:
        layer: The layer's name, after the names of the nested models that contain it.
        gain_before: Its gain ripple, as in `audit_kernel`.
        gain_after: Its gain ripple after the move: 0 but for rounding.
        moved: Norm of the change over the norm of the kernel: 0.1 is 10 %.
    """

    layer: str
    gain_before: float
    gain_after: float
    moved: float


class Repaired(NamedTuple):
    """What `repair` returns. `print` shows it as a table.

    Attributes:
        model: The repaired copy.
        moves: How far each kernel was moved.
        not_moved: One sentence on each layer that was left unchanged.
        size: Period of the pattern that is scored, the longest that fits into the output. None if
            none fits, or if the output is not a map.
        db_before: Mean score of the model's output in decibels, as in `metrics.Checkerboard`. None
            if there is no score.
        db_after: The same for the copy.
        unscored: Why there are no scores; empty if there are, or if no layer upsamples.
    """

    model: keras.Model
    moves: tuple[Move, ...]
    not_moved: tuple[str, ...]
    size: tuple[int, ...] | None
    db_before: float | None
    db_after: float | None
    unscored: str = ""

    def __str__(self) -> str:
        return _text(self)


def repair(model: keras.Model, inputs: Any = None) -> Repaired:
    """Return a copy of a trained model whose kernels keep constants constant.

    Every transposed convolution, and every convolution followed by depth-to-space, gets the nearest
    kernel whose phases have equal sums, as from `constraints.CheckerboardFree`. A convolution
    followed by depth-to-space also gets equal biases. The outputs of the copy differ from the
    model's: look at them, and at the loss. The more a kernel has moved, the more training the copy
    may need.

    Args:
        model: A built model that can be saved. It is not changed.
        inputs: Inputs with which the output is scored; by default maps of noise from 0 to 1, or
            normal codes. Needed for models whose input shape is not known.

    Returns:
        `Repaired`, which prints as a table: the copy, how far each kernel moved, and the score
        before and after.

    Raises:
        TypeError: If `model` is not a model.
        ValueError: If it has no `call` (the message names its parts, which can be repaired), if it
            cannot be copied (the message names the classes), or if the shape of its input is not
            known and `inputs` are missing.

    Example:
        >>> import keras
        >>> from keras_upsampling import repair
        >>> up = keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="up")
        >>> repaired = repair(keras.Sequential([keras.Input((16, 16, 8)), up]))
        >>> repaired.moves[0].gain_after < 1e-5, repaired.db_after < repaired.db_before
        (True, True)

    Reference:
        Sugawara, Shiota, Kiya 2018, arXiv:1806.02658 (the condition that the new kernels satisfy).
    """
    with random_state_kept():
        examples = [inputs]
        if isinstance(model, keras.Model) and inputs is None:
            examples = _split_examples(noise(model, batch=_EXAMPLES))
        survey = survey_model(model, examples[0])
        duplicate = copied(model, survey.call)
        duplicate_survey = survey_model(duplicate, examples[0])
    moves, not_moved = [], []
    for name, change in _unique_layers(survey, duplicate_survey):
        if isinstance(change.call.operation, Function):
            not_moved.append(f"{name}: it is a function; its kernel is not a weight of a layer")
        elif change.has_gaps:
            not_moved.append(f"{name}: its kernel is smaller than its stride, {change.own_size}")
        elif not hasattr(change.call.operation.kernel, "assign"):
            not_moved.append(f"{name}: its kernel is computed from other weights, as with LoRA")
        else:
            moves.append(_move_kernel(name, change))
    scores = _scores(duplicate_survey, model, duplicate, examples)
    return Repaired(duplicate, tuple(moves), (*not_moved, *survey.unknown_upsampling), *scores)


def _outputs(model: keras.Model, inputs: Any) -> Any:
    with keras.StatelessScope():  # keep seeds and counters unchanged
        return model(inputs, training=False)


def _unique_layers(survey: Survey, duplicate_survey: Survey) -> Iterator[tuple[str, SizeChange]]:
    """Yield the copy's layers that can be projected, with their names in the model.

    A layer that is called several times is yielded once.
    """
    done = set()
    for original, change in zip(survey.changes, duplicate_survey.changes, strict=True):
        layer = change.call.operation
        transposes = isinstance(layer, TRANSPOSED) or type(layer).__name__ == "ConvTranspose"
        if id(layer) not in done and (change.order is not None or transposes):
            done.add(id(layer))
            yield name_of(original.call), change


def _move_kernel(name: str, change: SizeChange) -> Move:
    layer = change.call.operation
    kernel_before = ops.convert_to_numpy(layer.kernel)
    gain_before = _gain_ripple(change)
    if change.order is None:
        layer.kernel.assign(CheckerboardFree(change.own_size)(layer.kernel))
    else:
        # The constraint expects the phases before the filters.
        order = change.order.ravel()
        constraint = CheckerboardFree(change.own_size, subpixel=True)
        for weight in filter(lambda w: w is not None, (layer.kernel, layer.bias)):
            projected = constraint(ops.take(weight, order, axis=-1))
            weight.assign(ops.take(projected, np.argsort(order), axis=-1))
    distance = np.linalg.norm(ops.convert_to_numpy(layer.kernel) - kernel_before)
    moved = float(distance / (np.linalg.norm(kernel_before) or 1.0))
    return Move(name, gain_before, _gain_ripple(change), moved)


def _gain_ripple(change: SizeChange) -> float:
    layer = change.call.operation
    if change.order is None:
        return audit_kernel(layer).gain
    return subpixel(layer, change.own_size, change.order).ripple().gain


# How many examples of noise are scored, each by itself to save memory.
_EXAMPLES = 8

# By rank, the longest axis that is scored. Of longer ones, the middle is scored.
_LONGEST = {1: 4096, 2: 512, 3: 64}


class _Scores(NamedTuple):
    """The last fields of `Repaired`."""

    size: tuple[int, ...] | None
    db_before: float | None
    db_after: float | None
    unscored: str


def _split_examples(inputs: Any) -> list[Any]:
    """Return every example as a batch, or `inputs` if their batch size is another one."""
    if any(x.shape[0] != _EXAMPLES for x in tree.flatten(inputs)):
        return [inputs]
    return [tree.map_structure(lambda x, i=i: x[i : i + 1], inputs) for i in range(_EXAMPLES)]


def _scores(
    survey: Survey, model: keras.Model, duplicate: keras.Model, examples: Sequence[Any]
) -> _Scores:
    """Score the outputs of a model and its copy, for the longest period that fits into them."""
    changes = zip(survey.changes, survey.periods, strict=True)
    periods = {period for change, period in changes if change.enlarges}
    if not periods:
        return _Scores(None, None, None, "")
    try:
        shape = _images(model, examples[0], survey.data_format).shape
        size = _longest_period(periods, shape)
        if size is None:
            named = ", ".join(by(period) for period in sorted(periods))
            reason = f"a period of {named} does not fit into its shape {shape}"
            return _Scores(None, None, None, reason)
        middles = [
            [_middle(_images(each, inputs, survey.data_format), size) for inputs in examples]
            for each in (model, duplicate)
        ]
        db_before, db_after = (_mean_score(np.concatenate(images), size) for images in middles)
    # Whatever stops the score, the caller still gets the copy.
    except Exception as error:
        reason = f"{type(error).__name__}: {reason_of(error)}"
        return _Scores(None, None, None, reason)
    return _Scores(size, db_before, db_after, "")


def _images(model: keras.Model, inputs: Any, data_format: str) -> np.ndarray:
    """Return the first output of a model, channels last."""
    images = ops.convert_to_numpy(tree.flatten(_outputs(model, inputs))[0])
    images = np.asarray(images, dtype="float32")
    return images if data_format == "channels_last" else np.moveaxis(images, 1, -1)


def _longest_period(
    periods: Iterable[tuple[int, ...]], shape: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Return the longest period that can be scored in maps of that shape."""
    for size in sorted(periods, key=math.prod, reverse=True):
        scored = _scored_axes(size)
        if len(shape) == len(size) + 2 and all(
            n >= shortest_length(s, len(scored))
            for n, s in zip(shape[-1 - len(scored) : -1], scored, strict=True)
        ):
            return size
    return None


def _scored_axes(size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the period without the time axis of a clip whose frames are upsampled separately."""
    return size[1:] if len(size) == 3 and size[0] == 1 else size


def _middle(images: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the middle of long axes, and the frames of a clip as images."""
    size = _scored_axes(size)
    images = images.reshape(-1, *images.shape[-1 - len(size) :])
    for axis, s in enumerate(size, start=1):
        n = images.shape[axis]
        kept = min(n, max(_LONGEST[len(size)], shortest_length(s, len(size))))
        images = np.take(images, range((n - kept) // 2, (n + kept) // 2), axis=axis)
    return images


def _mean_score(images: np.ndarray, size: tuple[int, ...]) -> float:
    if not np.isfinite(images).all():
        raise ValueError("the output contains a NaN or an infinity")
    # Outputs may have any range.
    data_range = float(np.ptp(images)) or 1.0
    score = checkerboard_score(
        images, _scored_axes(size), data_range=data_range, data_format="channels_last"
    )
    return mean_db(score.db)


def _text(repaired: Repaired) -> str:
    head = ("layer", "gain before", "after", "moved by")
    rows = [
        (move.layer, f"{move.gain_before:.1%}", f"{move.gain_after:.1%}", f"{move.moved:.1%}")
        for move in repaired.moves
    ]
    lines = [table(head, rows)] if rows else ["No kernel was moved."]
    if repaired.db_before is not None and repaired.db_after is not None:
        size = by(repaired.size or ())
        scores = f"{repaired.db_before:.1f} dB before, {repaired.db_after:.1f} dB after"
        lines += ["", f"Score of the model's output, period {size}: {scores}"]
        if repaired.db_after > repaired.db_before:
            lines.append(
                "The score has risen: how the phases differ on slopes and edges outweighs the gain."
            )
    elif repaired.unscored:
        lines += ["", f"The model's output has no score: {repaired.unscored}."]
    if repaired.not_moved:
        lines += ["", "Not moved:", *(f"- {line}" for line in repaired.not_moved)]
    return "\n".join(lines)
