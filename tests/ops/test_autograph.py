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

# AutoGraph warns about these, because it cannot read them.
UNREADABLE = (ast.NamedExpr, ast.Match)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_module_has_syntax_that_autograph_cannot_read(module):
    nodes = ast.walk(ast.parse(inspect.getsource(module)))
    assert not [node.lineno for node in nodes if isinstance(node, UNREADABLE)]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="AutoGraph is TensorFlow's")
def test_autograph_can_convert_the_operations_and_the_methods():
    import tensorflow as tf

    method_members = [
        vars(module).values()
        for module in MODULES
        if module.__name__.startswith("keras_upsampling.ops._upsample_conv")
    ]
    functions = [
        value
        for value in (*map(vars(public).get, public.__all__), *itertools.chain(*method_members))
        if isinstance(value, types.FunctionType)
    ]
    assert len(functions) > 10
    for function in dict.fromkeys(functions):
        tf.autograph.to_graph(function)
