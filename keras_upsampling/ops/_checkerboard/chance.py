"""Probability that noise alone has a ratio of two powers as large as the measured one."""

from __future__ import annotations

import math

from keras import ops

from keras_upsampling._types import Tensor

# Smaller p-values would be errors of the approximation and of single precision.
MIN_P = 1e-7
# Halved here, because the score doubles the smaller of two p-values (Bonferroni).
_MIN_SINGLE_P = MIN_P / 2


def f_survival(ratio: Tensor, numerator_dof: float, denominator_dof: float) -> Tensor:
    """Return the probability that an F-distributed value is `ratio` or larger.

    It is approximated by a normal score: Wallace's for one numerator degree of freedom, otherwise
    Peizer and Pratt's (Annals of Mathematical Statistics 1959, Journal of the American Statistical
    Association 1968).
    """
    if numerator_dof == 1:
        score = (
            (8 * denominator_dof + 1)
            / (8 * denominator_dof + 3)
            * ops.sqrt(denominator_dof * ops.log1p(ratio / denominator_dof))
        )
        return ops.maximum(1 - ops.erf(score / math.sqrt(2)), _MIN_SINGLE_P)
    a, b = (numerator_dof - 1) / 2, (denominator_dof - 1) / 2
    # Both are computed directly: as 1 minus the other, a small one would be rounded away.
    p = ops.maximum(denominator_dof / (numerator_dof * ratio + denominator_dof), 1e-6)
    q = ops.maximum(
        numerator_dof * ratio / (numerator_dof * ratio + denominator_dof),
        1e-6 * numerator_dof / denominator_dof,
    )
    distance = b * q - (a + 1 / 3) * p + 1 / 6
    distance += 0.02 * (q / (b + 0.5) - p / (a + 0.5) + (q - 0.5) / (a + b + 1))
    skewness = q * _skewness(b / ((a + b) * p)) + p * _skewness(a / ((a + b) * q))
    score = distance * ops.sqrt((1 + skewness) / ((a + b + 1 / 6) * p * q))
    return ops.maximum(0.5 * (1 - ops.erf(score / math.sqrt(2))), _MIN_SINGLE_P)


def _skewness(x: Tensor) -> Tensor:
    """Return `(1 - x**2 + 2 x log(x)) / (1 - x)**2`."""
    t = 1 - x
    near_one = ops.abs(t) < 0.1
    safe_x = ops.where(near_one, 0.5, x)
    return ops.where(
        near_one,
        t / 3 + t**2 / 6 + t**3 / 10,  # the quotient is 0/0 at x = 1
        (1 - safe_x**2 + 2 * safe_x * ops.log(safe_x)) / (1 - safe_x) ** 2,
    )
