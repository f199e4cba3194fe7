"""Set-up shared by all tests."""

import keras
import pytest
from hypothesis import settings

# `print_blob` shows how to repeat the smallest failing case. No deadline: a backend compiles
# at its first call, JAX for every new shape, so it gets fewer examples. The draws are the
# same in every run.
settings.register_profile(
    "suite",
    max_examples=25 if keras.backend.backend() == "jax" else 60,
    deadline=None,
    derandomize=True,
    print_blob=True,
)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)
    yield
    keras.backend.clear_session()
