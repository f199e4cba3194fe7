"""`repair`: takes the checkerboard of constants out of a trained model, in a copy."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from keras_upsampling._arguments import spatial_axes
from keras_upsampling._tables import by, reason_of, table
from keras_upsampling.constraints import CheckerboardFree
from keras_upsampling.flow import Found
from keras_upsampling.kernels import TRANSPOSED, audit_kernel, subpixel
from keras_upsampling.maths.harmonics import shortest_length
from keras_upsampling.score import checkerboard_score, mean_db
from keras_upsampling.survey import Survey, name_of, noise, survey
from keras_upsampling.trace import calls, random_state_kept


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
    """

    model: keras.Model
    moves: tuple[Move, ...]
    not_moved: tuple[str, ...]
    size: tuple[int, ...] | None
    db_before: float | None
    db_after: float | None

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
        ValueError: the shape of the input is not known, and `inputs` are not given.

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
        if isinstance(model, keras.Model) and inputs is None:
            inputs = noise(model, batch=8)
        seen = survey(model, inputs)
        again = _copy(model, seen)
        twins = survey(again, inputs)
    moves, left = [], []
    for name, one in _each_layer_once(seen, twins):
        if one.has_gaps:
            left.append(f"{name}: its kernel is smaller than its stride, {one.size}")
        elif not hasattr(one.call.operation.kernel, "assign"):
            left.append(f"{name}: its kernel is made of others, as by LoRA")
        else:
            moves.append(_move(name, one))
    size, before, after = _scores(twins, *(_outputs(each, inputs) for each in (model, again)))
    return Repaired(again, tuple(moves), (*left, *seen.unknown), size, before, after)


def _outputs(model: keras.Model, inputs: Any) -> Any:
    with keras.StatelessScope():  # seeds and counters stay where they are
        return model(inputs, training=False)


def _copy(model: keras.Model, seen: Survey) -> keras.Model:
    # Classes that are not registered are known all the same: they are in the model.
    types = [type(one.operation) for one in calls(seen.call)]
    own = {one.__name__: one for one in types if one.__module__.split(".")[0] != "keras"}
    try:
        with keras.saving.custom_object_scope(own):
            again = copy.deepcopy(model)
    except Exception as error:
        raise ValueError(
            f"A copy is repaired, and no copy of {model.name!r} can be made. Expected a model "
            "that can be saved and loaded: a class of its own may lack a `get_config`. Received a "
            f"{type(model).__name__}; repair a model inside of it by itself, or add what is "
            f"missing. ({reason_of(error)})"
        ) from error
    if any(type(one) is not type(other) for one, other in _pairs(model, again)):
        raise ValueError(
            f"Two classes of {model.name!r} have the same name, so no copy of it can be made. "
            "Rename one of them."
        )
    # Seeds and counters are no weights, and a saved model starts them anew.
    state = zip(model.non_trainable_variables, again.non_trainable_variables, strict=True)
    for variable, twin in state:
        twin.assign(variable)
    return again


def _pairs(model: Any, again: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every layer of a model with that of its copy."""
    yield model, again
    for pair in zip(getattr(model, "layers", ()), getattr(again, "layers", ()), strict=True):
        yield from _pairs(*pair)


def _each_layer_once(seen: Survey, twins: Survey) -> Iterator[tuple[str, Found]]:
    """Yield what can be projected of a copy, by its name in the model.

    Layers that are called more than once come only once.
    """
    done = set()
    for original, one in zip(seen.found, twins.found, strict=True):
        layer = one.call.operation
        if id(layer) not in done and (one.order is not None or isinstance(layer, TRANSPOSED)):
            done.add(id(layer))
            yield name_of(original.call), one


def _move(name: str, one: Found) -> Move:
    layer = one.call.operation
    before = ops.convert_to_numpy(layer.kernel)
    gain = _gain(one)
    if one.order is None:
        layer.kernel.assign(CheckerboardFree(one.size)(layer.kernel))
    else:
        # Phases first, then filters, is how the constraint has them.
        order = one.order.ravel()
        constraint = CheckerboardFree(one.size, subpixel=True)
        for weight in filter(lambda w: w is not None, (layer.kernel, layer.bias)):
            projected = constraint(ops.take(weight, order, axis=-1))
            weight.assign(ops.take(projected, np.argsort(order), axis=-1))
    change = np.linalg.norm(ops.convert_to_numpy(layer.kernel) - before)
    moved = float(change / (np.linalg.norm(before) or 1.0))
    return Move(name, gain, _gain(one), moved)


def _gain(one: Found) -> float:
    layer = one.call.operation
    if one.order is None:
        return audit_kernel(layer).gain
    return subpixel(layer, one.size, one.order).ripple().gain


def _scores(
    seen: Survey, *outputs: Any
) -> tuple[tuple[int, ...] | None, float | None, float | None]:
    """Return the longest period of the model's patterns that fits, and the mean scores."""
    images = [ops.convert_to_numpy(tree.flatten(each)[0]).astype("float32") for each in outputs]
    shape = images[0].shape
    found = zip(seen.found, seen.periods, strict=True)
    periods = {period for one, period in found if one.enlarges}
    for size in sorted(periods, key=math.prod, reverse=True):
        axes = spatial_axes(len(size), seen.data_format)
        if len(shape) == len(size) + 2 and all(
            shape[axis] >= shortest_length(s, len(size)) for axis, s in zip(axes, size, strict=True)
        ):
            before, after = (_mean_score(each, size, seen.data_format) for each in images)
            return size, before, after
    return None, None, None


def _mean_score(images: np.ndarray, size: tuple[int, ...], data_format: str) -> float | None:
    if not np.isfinite(images).all():
        return None
    # Outputs have any range.
    data_range = float(np.ptp(images)) or 1.0
    score = checkerboard_score(images, size, data_range=data_range, data_format=data_format)
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
    if repaired.not_moved:
        lines += ["", "Not moved:", *(f"- {line}" for line in repaired.not_moved)]
    return "\n".join(lines)
