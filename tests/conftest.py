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

if keras.backend.backend() == "jax":
    import jax

    # XLA's passes stay as they are; only the machine code at the end is less polished. Most of
    # the time goes into compiling what runs once, on little data.
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)
    yield
    # Python collects garbage when there is enough of it: to have it done after every test takes
    # longer than most tests.
    keras.utils.clear_session(free_memory=False)
