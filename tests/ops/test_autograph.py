import ast
import inspect
import itertools
import sys
import types

import pytest

import keras_upsampling.ops as public
from tests.backends import BACKEND

MODULES = [
    module
    for name, module in sorted(sys.modules.items())
    if name.startswith(("keras_upsampling.ops", "keras_upsampling.maths", "keras_upsampling._arg"))
]

# What AutoGraph warns of, since it cannot read it.
UNREADABLE = (ast.NamedExpr, ast.Match)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_nothing_is_written_that_autograph_cannot_read(module):
    nodes = ast.walk(ast.parse(inspect.getsource(module)))
    assert not [node.lineno for node in nodes if isinstance(node, UNREADABLE)]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="AutoGraph is TensorFlow's")
def test_the_operations_and_what_chooses_can_be_read_in_a_tf_function():
    import tensorflow as tf

    inner = [
        vars(module).values()
        for module in MODULES
        if module.__name__.startswith("keras_upsampling.ops._upsample_conv")
    ]
    functions = [
        value
        for value in (*map(vars(public).get, public.__all__), *itertools.chain(*inner))
        if isinstance(value, types.FunctionType)
    ]
    assert len(functions) > 10
    for function in dict.fromkeys(functions):
        tf.autograph.to_graph(function)
