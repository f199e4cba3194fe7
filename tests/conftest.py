"""Configuration of all tests."""

import keras
import pytest
from hypothesis import settings

from keras_upsampling.ops._upsample_conv import known_rates

# No deadline, since backends compile at the first call; JAX compiles for every shape, so it gets
# fewer examples. `derandomize` makes runs repeatable.
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

    # Compilation takes most of the time of the tests. This disables optimizations of the machine
    # code only, not XLA's passes.
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True, scope="session")
def _no_tuned_rates(tmp_path_factory):
    # Rates that were tuned on the machine of the tests would change which methods are chosen.
    path = tmp_path_factory.mktemp("home") / "keras_upsampling.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_rates, "default_path", lambda: path)
        yield


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)
    yield
    # Collecting garbage after every test would take longer than most tests.
    keras.utils.clear_session(free_memory=False)
