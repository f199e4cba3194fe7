"""How probable a ratio of two powers is, if chance made both."""

from __future__ import annotations

import math

from keras import ops

from keras_upsampling._types import Tensor

# Below this, the approximations and single precision say nothing any more.
LEAST_P = 1e-7


def chance_of(ratio: Tensor, above: float, below: float) -> Tensor:
    """Return how probable so large a value of the F distribution is.

    By a normal score: of Wallace for one degree above, else of Peizer and Pratt (Annals of
    Mathematical Statistics 1959, Journal of the American Statistical Association 1968).
    """
    if above == 1:
        score = (8 * below + 1) / (8 * below + 3) * ops.sqrt(below * ops.log1p(ratio / below))
        return ops.maximum(1 - ops.erf(score / math.sqrt(2)), LEAST_P / 2)
    a, b = (above - 1) / 2, (below - 1) / 2
    # Both, since either can be so small that nothing is left of it in 1 less the other.
    p = ops.maximum(below / (above * ratio + below), 1e-6)
    q = ops.maximum(above * ratio / (above * ratio + below), 1e-6 * above / below)
    distance = b * q - (a + 1 / 3) * p + 1 / 6
    distance += 0.02 * (q / (b + 0.5) - p / (a + 0.5) + (q - 0.5) / (a + b + 1))
    skewness = q * _skewness(b / ((a + b) * p)) + p * _skewness(a / ((a + b) * q))
    score = distance * ops.sqrt((1 + skewness) / ((a + b + 1 / 6) * p * q))
    return ops.maximum(0.5 * (1 - ops.erf(score / math.sqrt(2))), LEAST_P / 2)


def _skewness(x: Tensor) -> Tensor:
    """Return `(1 - x**2 + 2 x log(x)) / (1 - x)**2`."""
    t = 1 - x
    near = ops.abs(t) < 0.1
    far = ops.where(near, 0.5, x)
    return ops.where(
        near,
        t / 3 + t**2 / 6 + t**3 / 10,  # where the quotient is nothing over nothing
        (1 - far**2 + 2 * far * ops.log(far)) / (1 - far) ** 2,
    )
