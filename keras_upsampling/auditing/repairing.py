"""`repair`: takes the checkerboard of constants out of a trained model, in a copy."""

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
    """How far a kernel was moved.

    Attributes:
        layer: The layer's name, behind those of the models inside of the model that it is in.
        gain_before: Its gain ripple, as in `audit_kernel`.
        gain_after: The same after the move: 0 but for rounding.
        moved: Norm of the change over the norm of the kernel: 0.1 is 10 %.
    """

    layer: str
    gain_before: float
    gain_after: float
    moved: float


class Repaired(NamedTuple):
    """What `repair` returns. `print` shows it as a table.

    Attributes:
        model: The copy.
        moves: What was done to every layer.
        not_moved: What was left as it is, a sentence each.
        size: Period of the pattern that the scores are of, the longest that fits into what the
            model makes; None where none does, or the output is no map.
        db_before: Mean score of what the model makes, in decibels, as `metrics.Checkerboard`;
            None likewise.
        db_after: The same of the copy.
        unscored: Why there are no scores; empty where there are some, or nothing that enlarges.
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
    """Move the kernels of a trained model so that constants stay constant, in a copy of it.

    Every transposed convolution, and every convolution that depth-to-space follows, gets the
    nearest kernel whose phases have one sum (and of the latter, one bias), as
    `constraints.CheckerboardFree` would have it. The model computes something else then: look at
    what it makes, and at its loss. The more a kernel has moved, the more training it may need.

    Args:
        model: A model that has been built and can be saved. It is not changed.
        inputs: What the model is called with to score what it makes; by default maps of noise from
            0 to 1, or normal codes. Needed for models that do not tell the shape of their input.

    Returns:
        `Repaired`, which prints as a table: the copy, how far each kernel moved, and the score
        before and after.

    Raises:
        TypeError: not a model.
        ValueError: it has no `call` (the message names its parts, which can be repaired), it
            cannot be copied (the message names the classes), or the shape of the input is not
            known, and `inputs` are not given.

    Example:
        >>> import keras
        >>> from keras_upsampling import repair
        >>> up = keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="up")
        >>> repaired = repair(keras.Sequential([keras.Input((16, 16, 8)), up]))
        >>> repaired.moves[0].gain_after < 1e-5, repaired.db_after < repaired.db_before
        (True, True)

    Reference:
        Sugawara, Shiota, Kiya 2018, arXiv:1806.02658 (the condition that is projected onto).
    """
    with random_state_kept():
        drawn = [inputs]
        if isinstance(model, keras.Model) and inputs is None:
            drawn = _one_by_one(noise(model, batch=_EXAMPLES))
        survey = survey_model(model, drawn[0])
        again = copied(model, survey.call)
        twins = survey_model(again, drawn[0])
    moves, left = [], []
    for name, one in _each_layer_once(survey, twins):
        if isinstance(one.call.operation, Function):
            left.append(f"{name}: it is a function, whose kernel is no weight of a layer")
        elif one.has_gaps:
            left.append(f"{name}: its kernel is smaller than its stride, {one.own_size}")
        elif not hasattr(one.call.operation.kernel, "assign"):
            left.append(f"{name}: its kernel is made of others, as by LoRA")
        else:
            moves.append(_move(name, one))
    scores = _scores(twins, model, again, drawn)
    return Repaired(again, tuple(moves), (*left, *survey.unknown_upsampling), *scores)


def _outputs(model: keras.Model, inputs: Any) -> Any:
    with keras.StatelessScope():  # seeds and counters stay where they are
        return model(inputs, training=False)


def _each_layer_once(survey: Survey, twins: Survey) -> Iterator[tuple[str, SizeChange]]:
    """Yield what can be projected of a copy, by its name in the model.

    Layers that are called more than once come only once.
    """
    done = set()
    for original, one in zip(survey.changes, twins.changes, strict=True):
        layer = one.call.operation
        transposes = isinstance(layer, TRANSPOSED) or type(layer).__name__ == "ConvTranspose"
        if id(layer) not in done and (one.order is not None or transposes):
            done.add(id(layer))
            yield name_of(original.call), one


def _move(name: str, one: SizeChange) -> Move:
    layer = one.call.operation
    before = ops.convert_to_numpy(layer.kernel)
    gain = _gain(one)
    if one.order is None:
        layer.kernel.assign(CheckerboardFree(one.own_size)(layer.kernel))
    else:
        # Phases first, then filters, is how the constraint has them.
        order = one.order.ravel()
        constraint = CheckerboardFree(one.own_size, subpixel=True)
        for weight in filter(lambda w: w is not None, (layer.kernel, layer.bias)):
            projected = constraint(ops.take(weight, order, axis=-1))
            weight.assign(ops.take(projected, np.argsort(order), axis=-1))
    change = np.linalg.norm(ops.convert_to_numpy(layer.kernel) - before)
    moved = float(change / (np.linalg.norm(before) or 1.0))
    return Move(name, gain, _gain(one), moved)


def _gain(one: SizeChange) -> float:
    layer = one.call.operation
    if one.order is None:
        return audit_kernel(layer).gain
    return subpixel(layer, one.own_size, one.order).ripple().gain


# How many examples of noise are scored, one after the other for the sake of memory.
_EXAMPLES = 8

# How long what is scored may be, by rank: what is longer is cut, and the middle scored.
_LONGEST = {1: 4096, 2: 512, 3: 64}


class _Scores(NamedTuple):
    """The last fields of `Repaired`."""

    size: tuple[int, ...] | None
    db_before: float | None
    db_after: float | None
    unscored: str


def _one_by_one(inputs: Any) -> list[Any]:
    """Return every example as a batch of its own, if they can be told apart."""
    if any(x.shape[0] != _EXAMPLES for x in tree.flatten(inputs)):
        return [inputs]
    return [tree.map_structure(lambda x, i=i: x[i : i + 1], inputs) for i in range(_EXAMPLES)]


def _scores(
    survey: Survey, model: keras.Model, again: keras.Model, drawn: Sequence[Any]
) -> _Scores:
    """Score what a model and its copy make, with the longest period of its patterns that fits."""
    found = zip(survey.changes, survey.periods, strict=True)
    periods = {period for one, period in found if one.enlarges}
    if not periods:
        return _Scores(None, None, None, "")
    try:
        shape = _images(model, drawn[0], survey.data_format).shape
        size = _longest(periods, shape)
        if size is None:
            named = ", ".join(by(period) for period in sorted(periods))
            why = f"nothing long enough for a period of {named}, its shape is {shape}"
            return _Scores(None, None, None, why)
        middles = [
            [_middle(_images(each, inputs, survey.data_format), size) for inputs in drawn]
            for each in (model, again)
        ]
        db_before, db_after = (_mean_score(np.concatenate(one), size) for one in middles)
    # The copy is what was asked for; whatever stops the score does not take it away.
    except Exception as error:
        why = f"{type(error).__name__}: {reason_of(error)}"
        return _Scores(None, None, None, why)
    return _Scores(size, db_before, db_after, "")


def _images(model: keras.Model, inputs: Any, data_format: str) -> np.ndarray:
    """Return what a model makes, its channels last."""
    images = ops.convert_to_numpy(tree.flatten(_outputs(model, inputs))[0])
    images = np.asarray(images, dtype="float32")
    return images if data_format == "channels_last" else np.moveaxis(images, 1, -1)


def _longest(periods: Iterable[tuple[int, ...]], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the longest period that a score can be of."""
    for size in sorted(periods, key=math.prod, reverse=True):
        scored = _scored_axes(size)
        if len(shape) == len(size) + 2 and all(
            n >= shortest_length(s, len(scored))
            for n, s in zip(shape[-1 - len(scored) : -1], scored, strict=True)
        ):
            return size
    return None


def _scored_axes(size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the period without a first axis of three that has none: of a film, each picture's."""
    return size[1:] if len(size) == 3 and size[0] == 1 else size


def _middle(images: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the middle of what is too long, every picture of a film as an image."""
    size = _scored_axes(size)
    images = images.reshape(-1, *images.shape[-1 - len(size) :])
    for axis, s in enumerate(size, start=1):
        n = images.shape[axis]
        kept = min(n, max(_LONGEST[len(size)], shortest_length(s, len(size))))
        images = np.take(images, range((n - kept) // 2, (n + kept) // 2), axis=axis)
    return images


def _mean_score(images: np.ndarray, size: tuple[int, ...]) -> float:
    if not np.isfinite(images).all():
        raise ValueError("what the model makes holds a NaN or an infinity")
    # Outputs have any range.
    data_range = float(np.ptp(images)) or 1.0
    score = checkerboard_score(
        images, _scored_axes(size), data_range=data_range, data_format="channels_last"
    )
    return mean_db(score.db)


def _text(repaired: Repaired) -> str:
    head = ("layer", "gain before", "after", "moved by")
    rows = [
        (one.layer, f"{one.gain_before:.1%}", f"{one.gain_after:.1%}", f"{one.moved:.1%}")
        for one in repaired.moves
    ]
    lines = [table(head, rows)] if rows else ["No kernel was moved."]
    if repaired.db_before is not None and repaired.db_after is not None:
        size = by(repaired.size or ())
        scores = f"{repaired.db_before:.1f} dB before, {repaired.db_after:.1f} dB after"
        lines += ["", f"Score of what the model makes, period {size}: {scores}"]
        if repaired.db_after > repaired.db_before:
            lines.append("It has risen: what the phases do to slopes and edges outweighs the gain.")
    elif repaired.unscored:
        lines += ["", f"What the model makes has no score: {repaired.unscored}."]
    if repaired.not_moved:
        lines += ["", "Not moved:", *(f"- {line}" for line in repaired.not_moved)]
    return "\n".join(lines)
