import numpy as np
import pytest

from keras_upsampling.maths.interpolation import INTERPOLATIONS, Interpolation


def triangle(x):
    return np.maximum(0, 1 - abs(x))


@pytest.mark.parametrize(
    ("radius", "weight", "law"),
    [
        (1, lambda x: np.where(x > -0.1, triangle(x), 0), "be even"),
        (1, lambda x: triangle(x / 3), "vanish outside its radius"),
        (2, lambda x: triangle(x / 2), "be 1 at 0 and 0 at every other integer"),
        (1, lambda x: triangle(x) ** 2, "sum to one"),
    ],
)
def test_kernel_that_breaks_a_law_raises(radius, weight, law):
    with pytest.raises(ValueError, match=f"'broken' must {law}"):
        Interpolation("broken", radius, weight)


def test_cubic_reproduces_parabolas():
    # The reason for a = -0.5 (Keys 1981); no other value does.
    samples = np.arange(-3.0, 4.0)
    for position in np.linspace(-0.5, 0.5, 11):
        weights = INTERPOLATIONS["cubic"].weight(position - samples)
        assert weights @ (2 * samples**2 - samples + 3) == pytest.approx(
            2 * position**2 - position + 3, abs=1e-12
        )
