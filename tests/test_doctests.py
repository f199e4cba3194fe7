import doctest
import importlib
import pkgutil

import pytest

import keras_upsampling

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(keras_upsampling.__path__, "keras_upsampling.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


def test_there_is_an_example_for_each_public_name():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [
        test
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(examples) >= len(keras_upsampling.__all__)
