"""What the exporters of the backend make of a model."""

import contextlib
import io
import warnings

import keras
import numpy as np

from tests.backends import BACKEND


def exported(model, shape, path, first=False):
    """The programs that `model` is exported to, each as a function from array to array.

    `shape` is that of the input, with None where a program has to take any length; `first` asks
    for one program only.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # The exporters warn of their own ways: of tracing, folding, and what they will leave.
        warnings.simplefilter("ignore")
        exporters = _EXPORTERS[BACKEND, None in shape][: 1 if first else None]
        return [export(model, shape, path) for export in exporters]


def _saved_model(model, shape, path):
    import tensorflow as tf

    signature = [keras.InputSpec(shape=shape, dtype="float32")]
    model.export(
        path / "saved_model", format="tf_saved_model", input_signature=signature, verbose=False
    )
    # The program belongs to what was loaded, which has to stay.
    loaded = tf.saved_model.load(path / "saved_model")
    return lambda x: loaded.serve(x).numpy()


def _jax_program(model, shape, path):  # noqa: ARG001 (it is not written to a file)
    import jax

    # Keras writes JAX models as SavedModels, with TensorFlow's help; the program it would put in
    # is this one.
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
        with np.errstate(divide="ignore"):  # of a softmax, as the reference reckons it
            return session.run(None, {session.input_names[0]: x})[0]

    return run


def _torch_program(model, shape, path):
    import torch

    unknown = {i: torch.export.Dim.DYNAMIC for i, length in enumerate(shape) if length is None}
    # At sizes that differ, and are not as small as those that have programs of their own.
    traced = [7 + 2 * i if length is None else length for i, length in enumerate(shape)]
    model.export(
        path / "model.pt2",
        format="torch",
        input_signature=[keras.InputSpec(shape=traced, dtype="float32")],
        dynamic_shapes=unknown,
        verbose=False,
    )
    program = torch.export.load(path / "model.pt2").module()
    return lambda x: np.asarray(program(torch.from_numpy(x)).detach())


# By backend, and whether sizes are unknown. PyTorch's own format is tried where it is harder.
_EXPORTERS = {
    ("tensorflow", False): [_saved_model],
    ("tensorflow", True): [_saved_model],
    ("jax", False): [_jax_program],
    ("jax", True): [_jax_program],
    ("torch", False): [_onnx],
    ("torch", True): [_onnx, _torch_program],
}
