"""Export of models with the exporters of the backend."""

import contextlib
import io
import warnings

import keras
import numpy as np

from tests.backends import BACKEND


def exported(model, shape, path, first=False):
    """Export `model` and return the programs, each as a function from array to array.

    Args:
        model: Model to export.
        shape: Shape of the input, with None for axes of unknown length.
        path: Folder for the exported files.
        first: Whether to use the first exporter only.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # The exporters emit warnings about their own internals.
        warnings.simplefilter("ignore")
        exporters = _EXPORTERS[BACKEND, None in shape][: 1 if first else None]
        return [export(model, shape, path) for export in exporters]


def _saved_model(model, shape, path):
    import tensorflow as tf

    signature = [keras.InputSpec(shape=shape, dtype="float32")]
    model.export(
        path / "saved_model", format="tf_saved_model", input_signature=signature, verbose=False
    )
    # The function needs a reference to the loaded object.
    loaded = tf.saved_model.load(path / "saved_model")
    return lambda x: loaded.serve(x).numpy()


def _jax_program(model, shape, path):  # noqa: ARG001 (no file is written)
    import jax

    # Keras exports JAX models as SavedModels, which need TensorFlow. The JAX program in them is
    # tested here.
    names = [f"n{axis}" if length is None else str(length) for axis, length in enumerate(shape)]
    symbolic = jax.export.symbolic_shape(", ".join(names))
    program = jax.export.export(jax.jit(model))(jax.ShapeDtypeStruct(symbolic, "float32"))
    return jax.jit(jax.export.deserialize(program.serialize()).call)


def _onnx(model, shape, path):
    import onnx
    from onnx.reference import ReferenceEvaluator

    signature = [keras.InputSpec(shape=shape, dtype="float32")]
    model.export(path / "model.onnx", format="onnx", input_signature=signature, verbose=False)
    session = ReferenceEvaluator(onnx.load(path / "model.onnx"))

    def run(x):
        with np.errstate(divide="ignore"):  # raised by the reference softmax
            return session.run(None, {session.input_names[0]: x})[0]

    return run


def _torch_program(model, shape, path):
    import torch

    dynamic_shapes = {
        i: torch.export.Dim.DYNAMIC for i, length in enumerate(shape) if length is None
    }
    # Different lengths for each axis, and longer than the small ones that PyTorch specialises.
    lengths = [7 + 2 * i if length is None else length for i, length in enumerate(shape)]
    model.export(
        path / "model.pt2",
        format="torch",
        input_signature=[keras.InputSpec(shape=lengths, dtype="float32")],
        dynamic_shapes=dynamic_shapes,
        verbose=False,
    )
    program = torch.export.load(path / "model.pt2").module()
    return lambda x: np.asarray(program(torch.from_numpy(x)).detach())


# Exporters by backend, and whether lengths are unknown. PyTorch's own format is tested for
# unknown lengths only, the harder case.
_EXPORTERS = {
    ("tensorflow", False): [_saved_model],
    ("tensorflow", True): [_saved_model],
    ("jax", False): [_jax_program],
    ("jax", True): [_jax_program],
    ("torch", False): [_onnx],
    ("torch", True): [_onnx, _torch_program],
}
