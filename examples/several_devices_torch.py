"""Train an autoencoder on several devices, on PyTorch: a process for each.

Every process has all weights and computes a part of each batch. On a machine without a GPU, all
processes use the processor.

    export KERAS_BACKEND=torch
    torchrun --standalone --nproc-per-node 2 examples/several_devices_torch.py
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import keras
import numpy as np
import torch
import torch.distributed as processes
from digits import add_training, load_or_exit
from torch.nn.parallel import DistributedDataParallel

from keras_upsampling import autoencoder
from keras_upsampling.metrics import Checkerboard

FILTERS = (16, 32, 8)
BATCH_SIZE = 64  # of all processes together


def train(
    images: np.ndarray, *, epochs: int, seed: int
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Train an autoencoder in all processes to reproduce the images; return its metrics too."""
    rank, world = processes.get_rank(), processes.get_world_size()
    keras.utils.set_random_seed(seed)
    model = autoencoder(images.shape[1:], filters=FILTERS, data_format="channels_last")
    parallel = DistributedDataParallel(model)
    optimizer = keras.optimizers.Adam()
    cross_entropy = keras.losses.BinaryCrossentropy(reduction="sum")
    loss, checkerboard = keras.metrics.Mean("loss"), Checkerboard(2, data_format="channels_last")
    history = []
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(images))
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[order[start : start + BATCH_SIZE]]
            x = keras.ops.convert_to_tensor(batch[rank::world])
            y = parallel(x)
            total = cross_entropy(x, y) / images[0].size  # the sum of the losses of this part
            model.zero_grad()
            # The parts add up to the batch's mean. DDP divides by the number of processes.
            (total / len(batch) * world).backward()
            weights = model.trainable_variables
            with torch.no_grad():
                optimizer.apply([weight.value.grad for weight in weights], weights)
                loss.update_state(total / max(len(x), 1), sample_weight=len(x))
                checkerboard.update_state(x, y)
        history.append({metric.name: result(metric) for metric in (loss, checkerboard)})
        if rank == 0:
            print(f"Epoch {epoch + 1}: {history[-1]}", flush=True)
    return model, history


def result(metric: keras.Metric) -> float:
    """Return the metric of the images of all processes, and reset it."""
    for variable in metric.variables:  # sums, which DDP leaves in each process
        processes.all_reduce(variable.value)
    value = float(metric.result())
    metric.reset_state()
    return value


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training(parser, epochs=3)
    arguments = parser.parse_args(argv)
    if not processes.is_torchelastic_launched():
        parser.error("start it by torchrun --standalone --nproc-per-node 2 PROGRAM")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    digits = load_or_exit(parser, arguments.data)
    processes.init_process_group()
    train(digits.train, epochs=arguments.epochs, seed=arguments.seed)
    processes.destroy_process_group()


if __name__ == "__main__":
    main()
