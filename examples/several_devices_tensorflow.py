"""Train an autoencoder on all devices of a machine, on TensorFlow.

Every device has all weights and computes a part of each batch. On a machine without a GPU, the
processor is split into two devices.

    KERAS_BACKEND=tensorflow python examples/several_devices_tensorflow.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from digits import add_training, load_or_exit

from keras_upsampling import autoencoder
from keras_upsampling.metrics import Checkerboard

FILTERS = (16, 32, 8)
BATCH_SIZE = 64  # of all devices together; a multiple of their number


def all_devices() -> tf.distribute.Strategy:
    """Return the strategy for all GPUs, or for two halves of the processor."""
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def train(
    images: np.ndarray, strategy: tf.distribute.Strategy, *, epochs: int, seed: int
) -> keras.callbacks.History:
    """Train an autoencoder on the devices of `strategy`, and return the history."""
    devices = strategy.num_replicas_in_sync
    keras.utils.set_random_seed(seed)
    with strategy.scope():  # model, optimizer and metrics have variables on all devices
        model = autoencoder(images.shape[1:], filters=FILTERS, data_format="channels_last")
        checkerboard = Checkerboard(2, data_format="channels_last")
        model.compile("adam", "binary_crossentropy", metrics=[checkerboard])
    # Parts of different lengths would weigh the same: the last batch must divide evenly too.
    images = images[: len(images) // devices * devices]
    return model.fit(images, images, batch_size=BATCH_SIZE, epochs=epochs, verbose=2)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training(parser, epochs=3)
    arguments = parser.parse_args(argv)
    digits = load_or_exit(parser, arguments.data)
    strategy = all_devices()
    print(f"Devices: {', '.join(strategy.extended.worker_devices)}")
    train(digits.train, strategy, epochs=arguments.epochs, seed=arguments.seed)


if __name__ == "__main__":
    main()
