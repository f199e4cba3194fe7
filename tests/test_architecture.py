"""The layout holds: what imports what, what is public, what an import costs."""

import ast
import graphlib
import subprocess
import sys
import tomllib
from pathlib import Path

import keras
import pytest

import keras_upsampling

PACKAGE = Path(keras_upsampling.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

# From the bottom up; a file imports only from rows above its own (lower numbers), or its own.
ROWS = {
    "_tables": 0,
    "_types": 0,
    "maths": 1,
    "_arguments": 2,
    "_shapes": 2,
    "ops": 3,
    "config": 4,
    "constraints": 4,
    "initializers": 4,
    "layers": 5,
    "metrics": 5,
    "auditing": 6,
    "models": 6,
    "": 7,
    "bench": 8,
    "plots": 8,
    "commands": 9,
    "__main__": 10,
}


def row(module):
    """The row of a module, by the first part of its name inside the package."""
    part = module.removeprefix("keras_upsampling").removeprefix(".").split(".")[0]
    return ROWS[part]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_one_way(path):
    for imported in imports(path):
        if imported.split(".")[0] == "keras_upsampling":
            assert row(imported) <= row(name(path)), f"{name(path)} imports {imported}"
        assert not imported.startswith("keras.src"), f"{name(path)} imports {imported}"


def test_auditing_does_not_need_the_models():
    for path in (PACKAGE / "auditing").glob("*.py"):
        assert not [i for i in imports(path) if i.startswith("keras_upsampling.models")], path


def test_no_modules_import_each_other():
    modules = {name(path) for path in FILES}
    graph = {module: set() for module in modules}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                members = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name(path)] |= (members & modules) or ({node.module} & modules)
            elif isinstance(node, ast.Import):
                graph[name(path)] |= {alias.name for alias in node.names} & modules
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names them


def test_the_package_is_easy_to_survey():
    entries = {path.name for path in PACKAGE.iterdir()} - {"py.typed", "__pycache__"}
    assert len(entries) <= 18, sorted(entries)
    long = {name(path): n for path in FILES if (n := len(path.read_text().splitlines())) > 300}
    assert not long


NAMESPACES = (
    "auditing",
    "config",
    "constraints",
    "initializers",
    "layers",
    "metrics",
    "models",
    "ops",
)


def test_no_module_has_the_name_of_a_public_function():
    public = set(keras_upsampling.__all__).union(
        *(getattr(keras_upsampling, namespace).__all__ for namespace in NAMESPACES)
    )
    assert not public & {part for path in FILES for part in name(path).split(".")}


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_namespaces_hold_what_they_name(namespace):
    module = getattr(keras_upsampling, namespace)
    assert sys.modules[f"keras_upsampling.{namespace}"] is module
    for attribute in module.__all__:
        value = getattr(module, attribute)
        assert value.__module__.startswith("keras_upsampling."), attribute
        assert value.__doc__, attribute


def test_public_names_are_in_a_namespace():
    members = set().union(*(getattr(keras_upsampling, n).__all__ for n in NAMESPACES))
    assert set(keras_upsampling.__all__) <= members


@pytest.mark.parametrize("path", FILES, ids=name)
def test_backends_are_named_where_they_have_to_be(path):
    named = {imported.split(".")[0] for imported in imports(path)} & {"tensorflow", "jax", "torch"}
    allowed = {
        PACKAGE / "ops" / "gradient.py": {"tensorflow", "jax", "torch"},
        PACKAGE / "ops" / "devices.py": {"tensorflow", "jax", "torch"},
        PACKAGE / "ops" / "tables.py": {"jax", "torch"},
        PACKAGE / "bench" / "programs.py": {"tensorflow", "jax", "torch"},
    }
    assert named == allowed.get(path, set())


@pytest.mark.parametrize("path", FILES, ids=name)
def test_convolutions_are_run_in_one_place(path):
    # `convolve` knows where a backend's own fails; it is handed the one to run.
    kinds = {"conv", "conv_transpose", "depthwise_conv", "separable_conv"}
    nodes = list(ast.walk(ast.parse(path.read_text())))
    handed = [
        node.args[0]
        for node in nodes
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "convolve"
    ]
    for node in nodes:
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("ops", "keras.ops"):
            assert node.attr not in kinds or node in handed, f"line {node.lineno}"


def test_only_plots_draws():
    drawing = {
        path for path in FILES if any(i.split(".")[0] == "matplotlib" for i in imports(path))
    }
    assert {path.parent for path in drawing} == {PACKAGE / "plots"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "maths").glob("*.py")), ids=name)
def test_arithmetic_needs_numpy_and_the_standard_library_alone(path):
    for imported in imports(path):
        top = imported.split(".")[0]
        inside = imported.startswith("keras_upsampling.maths")
        assert inside or top == "numpy" or top in sys.stdlib_module_names, imported


def test_public_names_are_all_there_is():
    public = {
        attribute
        for attribute, value in vars(keras_upsampling).items()
        if not attribute.startswith("_") and not isinstance(value, type(sys))
    }
    assert public == set(keras_upsampling.__all__)
    assert len(public) == len(keras_upsampling.__all__)  # in order: the linter sees to it


def test_public_names_are_documented_with_an_example():
    for attribute in keras_upsampling.__all__:
        assert ">>> " in getattr(keras_upsampling, attribute).__doc__, attribute


def test_the_version_stands_in_one_place():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    changelog = (PACKAGE.parent / "CHANGELOG.md").read_text()
    assert f"## [{keras_upsampling.__version__}]" in changelog


def test_importing_loads_the_backend_in_use_and_nothing_heavy():
    # Keras itself loads matplotlib where it finds it; without, an import of ours would fail.
    program = """
import sys
sys.modules["matplotlib"] = None
read = []
sys.addaudithook(lambda event, values: event == "open" and read.append(str(values[0])))
import keras
before = {name.split(".")[0] for name in sys.modules}
import keras_upsampling
after = {name.split(".")[0] for name in sys.modules}
print(sorted(after - before))
print(sorted(after & {"tensorflow", "jax", "torch"}))
print([path for path in read if path.endswith(("rates.json", "keras_upsampling.json"))])
"""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines() == [
        "['keras_upsampling']",
        f"['{keras.backend.backend()}']",
        "[]",
    ]
