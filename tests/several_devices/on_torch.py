"""Training in two processes of PyTorch equals that in one. `test_engines.py` runs this file.

Every process runs all tests.
"""

import numpy as np
import pytest
import torch
import torch.distributed as processes
from torch.nn.parallel import DistributedDataParallel

from tests.several_devices.common import (
    BATCH_SIZE,
    EPOCHS,
    SEED,
    assert_same_training,
    chain,
    chain_data,
    digits_model,
    import_program,
    normalization,
    train_by_program,
)


@pytest.fixture(scope="module", autouse=True)
def _processes():
    processes.init_process_group("gloo")
    yield
    processes.destroy_process_group()


def test_the_program_trains_as_in_one_process(monkeypatch, tmp_path, capsys):
    program = import_program("several_devices_torch")
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(processes, name, lambda *_: None)
    path = tmp_path / "digits.npz"
    # The last batch is one digit: nothing is left for the second process.
    digits, (model, history) = train_by_program(program, 17, path, monkeypatch)
    assert ("Epoch 2" in capsys.readouterr().out) == (processes.get_rank() == 0)
    one = digits_model()
    expected = []
    for epoch in range(EPOCHS):
        shuffled = digits[np.random.default_rng([SEED, epoch]).permutation(len(digits))]
        options = {"batch_size": BATCH_SIZE, "shuffle": False, "verbose": 0}
        expected.append(one.fit(shuffled, shuffled, **options).history)
    names = expected[0]
    assert_same_training(
        {name: [epoch[name] for epoch in history] for name in names},
        model.get_weights(),
        {name: [value for epoch in expected for value in epoch[name]] for name in names},
        one.get_weights(),
    )


def train_in_parts(model, x, y):
    """Train a model for one step, with the part of this process, and return the loss of both."""
    rank, world = processes.get_rank(), processes.get_world_size()
    parallel = DistributedDataParallel(model)  # kept: it adds up the gradients
    outputs = parallel(torch.as_tensor(x[rank::world]))
    squares = torch.sum((outputs - torch.as_tensor(y[rank::world])) ** 2)
    (squares * world / y.size).backward()
    weights = model.trainable_variables
    with torch.no_grad():
        model.optimizer.apply([weight.value.grad for weight in weights], weights)
    total = squares.detach()
    processes.all_reduce(total)
    return float(total) / y.size


@pytest.mark.parametrize("count", [8, 7])
def test_other_layers_train_as_in_one_process(count):
    one, two = chain(), chain()
    expected = one.train_on_batch(*chain_data(count))
    loss = train_in_parts(two, *chain_data(count))
    assert_same_training(
        {"loss": [loss]}, two.get_weights(), {"loss": [expected]}, one.get_weights()
    )


def test_batch_normalization_takes_the_statistics_of_parts():
    model, layer, x = normalization()
    part = x[processes.get_rank() :: processes.get_world_size()]
    DistributedDataParallel(model)(torch.as_tensor(part), training=True)
    received = layer.moving_variance.value.detach().numpy()
    np.testing.assert_allclose(received, part.var(axis=0), rtol=1e-5)
