"""Train an autoencoder on all devices of a machine, on JAX.

Every device has all weights and computes an equal part of each batch. A processor counts as one
device; to try the program, split it into four. NPROC is the number of threads, of which every
device needs some.

    export KERAS_BACKEND=jax XLA_FLAGS=--xla_force_host_platform_device_count=4 NPROC=8
    python examples/several_devices_jax.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import keras
import numpy as np
from digits import add_training, load_or_exit

from keras_upsampling import autoencoder
from keras_upsampling.metrics import Checkerboard

FILTERS = (16, 32, 8)
BATCH_SIZE = 64  # of all devices together; a multiple of their number


def train(images: np.ndarray, *, epochs: int, seed: int) -> keras.callbacks.History:
    """Train an autoencoder on all devices to reproduce the images, and return the history."""
    parallel = keras.distribution.DataParallel()
    devices = parallel.num_model_replicas
    # Before the model: its weights have to be on all devices.
    keras.distribution.set_distribution(parallel)
    keras.utils.set_random_seed(seed)
    model = autoencoder(images.shape[1:], filters=FILTERS, data_format="channels_last")
    checkerboard = Checkerboard(2, data_format="channels_last")
    model.compile("adam", "binary_crossentropy", metrics=[checkerboard])
    # Every batch must divide evenly among the devices, the last one too.
    images = images[: len(images) // devices * devices]
    return model.fit(images, images, batch_size=BATCH_SIZE, epochs=epochs, verbose=2)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training(parser, epochs=3)
    arguments = parser.parse_args(argv)
    digits = load_or_exit(parser, arguments.data)
    print(f"Devices: {', '.join(keras.distribution.list_devices())}")
    train(digits.train, epochs=arguments.epochs, seed=arguments.seed)


if __name__ == "__main__":
    main()
