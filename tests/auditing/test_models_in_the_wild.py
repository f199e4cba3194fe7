"""Published architectures are audited and repaired, and all that repeats in them is measured."""

import keras
import pytest

from keras_upsampling import audit, repair
from tests.auditing.models_in_the_wild import ARCHITECTURES

# One backend runs all of them; what differs between backends is in these.
EVERYWHERE = ("conditional_gan", "denoiser", "melgan")
NAMES = ARCHITECTURES if keras.backend.backend() == "torch" else EVERYWHERE


@pytest.mark.parametrize("name", NAMES)
def test_every_upsampling_is_measured_or_has_a_reason(name):
    architecture = ARCHITECTURES[name]
    model = architecture.build()
    found = audit(model)
    assert sum(one.enlarges for one in found.layers) == architecture.upsamplings
    response = found.response
    assert len(response.layers) == architecture.upsamplings - architecture.unmeasured
    assert sum(architecture.reason in line for line in response.left) == architecture.unmeasured


# The largest two are left to `python -m tests.auditing.models_in_the_wild`, for time.
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("pix2pix", "cyclegan")])
def test_they_are_repaired(name):
    model = ARCHITECTURES[name].build()
    found = repair(model)
    assert all(move.gain_after < 1e-4 for move in found.moves)
    assert found.model.count_params() == model.count_params()
    assert found.db_before is not None or found.unscored
