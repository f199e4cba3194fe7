"""`audit` and `repair` of published architectures."""

import keras
import pytest

from keras_upsampling import audit, repair
from tests.auditing.models_in_the_wild import ARCHITECTURES

# All architectures run on one backend only, for time. These contain all that differs by backend.
ALL_BACKENDS = ("conditional_gan", "denoiser", "melgan")
NAMES = ARCHITECTURES if keras.backend.backend() == "torch" else ALL_BACKENDS


@pytest.mark.parametrize("name", NAMES)
def test_every_upsampling_is_measured_or_has_a_reason(name):
    architecture = ARCHITECTURES[name]
    model = architecture.build()
    result = audit(model)
    assert sum(layer.enlarges for layer in result.layers) == architecture.upsamplings
    response = result.response
    assert len(response.layers) == architecture.upsamplings - architecture.unmeasured
    assert sum(architecture.reason in line for line in response.left) == architecture.unmeasured


# The two largest take too long here. `python -m tests.auditing.models_in_the_wild` runs them.
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("pix2pix", "cyclegan")])
def test_every_architecture_is_repaired(name):
    model = ARCHITECTURES[name].build()
    result = repair(model)
    assert all(move.gain_after < 1e-4 for move in result.moves)
    assert result.model.count_params() == model.count_params()
    assert result.db_before is not None or result.unscored
