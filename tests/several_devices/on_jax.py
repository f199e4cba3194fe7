"""Training on four devices of JAX equals training on one. `test_engines.py` runs this file."""

import jax
import keras
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from keras import distribution

from keras_upsampling import autoencoder
from keras_upsampling.metrics import Checkerboard
from tests.ops.one_step import METHODS, by_method
from tests.several_devices.common import (
    BATCH_SIZE,
    EPOCHS,
    LAST,
    assert_same_training,
    chain,
    chain_data,
    digits_model,
    import_program,
    normalization,
    plain,
    train_by_program,
)


@pytest.fixture(autouse=True)
def _one_device_afterwards():
    yield
    distribution.set_distribution(None)


def test_the_program_trains_as_on_one_device(monkeypatch, tmp_path, capsys):
    program = import_program("several_devices_jax")
    digits, history = train_by_program(program, 15, tmp_path / "digits.npz", monkeypatch)
    assert "Devices: cpu:0, cpu:1, cpu:2, cpu:3\n" in capsys.readouterr().out
    assert all(
        len(weight.value.sharding.device_set) == 4 for weight in history.model.trainable_variables
    )
    distribution.set_distribution(None)
    one = digits_model()
    kept = digits[:12]  # 15 digits on 4 devices
    expected = one.fit(kept, kept, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
    assert_same_training(
        history.history, history.model.get_weights(), expected.history, one.get_weights()
    )


def test_other_layers_train_as_on_one_device():
    one = chain()
    expected = one.fit(*chain_data(), batch_size=8, verbose=0)
    with distribution.DataParallel().scope():
        four = chain()
        history = four.fit(*chain_data(), batch_size=8, verbose=0)
    assert_same_training(history.history, four.get_weights(), expected.history, one.get_weights())


def test_batches_that_do_not_divide_are_refused_as_of_a_plain_model():
    x = np.zeros((6, 6, 6, 1), "float32")
    with distribution.DataParallel().scope():
        for model, inputs, targets in [(plain(), x, x), (chain(), *chain_data(6))]:
            model.fit(inputs[:4], targets[:4], batch_size=4, verbose=0)
            with pytest.raises(ValueError, match="dimension size is 6"):
                model.fit(inputs, targets, batch_size=6, verbose=0)
            # Its weights are lost. Once Keras keeps them, the guide changes.
            with pytest.raises(TypeError, match="NoneType"):
                model.get_weights()


def test_batch_normalization_takes_the_statistics_of_the_whole_batch():
    with distribution.DataParallel().scope():
        model, layer, x = normalization()
        model.train_on_batch(x, x)
    np.testing.assert_allclose(layer.moving_variance, x.var(axis=0), rtol=1e-5)


# Weights and maps in parts


def mesh():
    return distribution.DeviceMesh((2, 2), ("batch", "model"))


def test_filters_and_rows_are_divided_as_the_layout_says(monkeypatch):
    x = np.random.default_rng(0).random((4, 16, 12, 1)).astype("float32")

    def train():
        keras.utils.set_random_seed(0)
        model = autoencoder((16, 12, 1), filters=(4, 6), **LAST)
        model.compile(keras.optimizers.SGD(0.5), "mse", metrics=[Checkerboard(2, **LAST)])
        return model, model.fit(x, x, batch_size=4, epochs=2, verbose=0).history

    one, expected = train()
    layout = distribution.LayoutMap(mesh())
    layout[r"(up|down)_\d_conv/kernel"] = (None, None, None, "model")
    layout[r"(up|down)_\d_conv/bias"] = ("model",)
    # The maps of the last block, divided by rows.
    layout[r".*up_1_conv/output"] = ("batch", "model", None, None)
    divided = []
    get_layout = distribution.LayoutMap.__getitem__

    def recorded(layout, path):
        found = get_layout(layout, path)
        divided.extend([path] if found else [])
        return found

    monkeypatch.setattr(distribution.LayoutMap, "__getitem__", recorded)
    with distribution.ModelParallel(layout_map=layout).scope():
        parts, history = train()
    assert any(path.endswith("up_1_conv/output") for path in divided)
    kernels = [parts.decoder.get_layer(f"up_{n}_conv").kernel for n in (1, 2)]
    kernels.append(parts.encoder.get_layer("down_1_conv").kernel)
    for kernel in kernels:
        assert kernel.value.sharding.spec == PartitionSpec(None, None, None, "model")
        shapes = {shard.data.shape for shard in kernel.value.addressable_shards}
        assert shapes == {(*kernel.shape[:-1], kernel.shape[-1] // 2)}
    assert_same_training(history, parts.get_weights(), expected, one.get_weights())


WHOLE = (None,) * 4, (None,)
# How the map, the kernel and the bias are divided.
LAYOUTS = {
    "rows and columns": ((None, "batch", "model", None), *WHOLE),
    "batch": (("batch", None, None, None), *WHOLE),
    "batch and filters": (("batch", None, None, None), (None, None, None, "model"), ("model",)),
    "batch and rows": (("batch", "model", None, None), *WHOLE),
    "batch and channels": (("batch", None, None, "model"), (None, None, "model", None), (None,)),
}
# Every compilation takes time: one method has all layouts, and all have the first.
DIVIDED = [
    *((method, "rows and columns") for method in METHODS),
    *(("phases", layout) for layout in [*LAYOUTS][1:]),
]


@pytest.mark.parametrize(("method", "layout"), DIVIDED)
def test_every_method_computes_the_same_from_parts(method, layout):
    rng = np.random.default_rng(0)
    shapes = (4, 8, 6, 4), (3, 3, 4, 6), (6,), (4, 16, 12, 6)
    x, kernel, bias, cotangent = (rng.standard_normal(s).astype("float32") for s in shapes)

    @jax.jit
    def value_and_slopes(cotangent, *arguments):
        value, pull_back = jax.vjp(
            lambda x, kernel, bias: by_method(method)(x, kernel, 2, bias=bias, **LAST), *arguments
        )
        return value, *pull_back(cotangent)

    def placed(array, *axes):
        layout = distribution.TensorLayout(axes, mesh())
        return distribution.distribute_tensor(jax.numpy.asarray(array), layout)

    expected = value_and_slopes(cotangent, x, kernel, bias)
    parts = [
        placed(array, *axes) for array, axes in zip((x, kernel, bias), LAYOUTS[layout], strict=True)
    ]
    assert any(not part.sharding.is_fully_replicated for part in parts)
    for result, one in zip(value_and_slopes(cotangent, *parts), expected, strict=True):
        np.testing.assert_allclose(result, one, rtol=0, atol=1e-5 * abs(one).max())
