"""Makes a page of the reference for every public name, and its entry in the navigation.

The names are those in `__all__` of the package and of its namespaces: there is nothing to write
for a new one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "keras_upsampling"

# Section of the navigation, and the namespaces whose names it lists.
SECTIONS = {
    "Layers": ("layers", "initializers", "constraints"),
    "Models": ("models",),
    "Measures": ("metrics", "auditing", "plots"),
    "Operations": ("ops",),
    "Settings": ("config",),
}

# Methods to show, beside what the docstring of the class says.
METHODS = {
    "auditing.Audit": ["records", "to_json"],
    "metrics.Checkerboard": ["merge_state", "details"],
    "models.Autoencoder": ["call", "encode", "decode"],
    "models.VariationalAutoencoder": ["call", "encode", "sample"],
}

# Where to read on, by the first part of the name that fits.
_MEASURING = "What the numbers mean: [Measuring](../measuring.md)."
_READING = (
    "How to read it: [Checkerboards](../checkerboards.py#where-it-comes-from)."
)
_MENDING = "An example: [Checkerboards](../checkerboards.py#mending-it)."
_PLOTS = "It needs matplotlib: the extra `plot`."
NOTES = {
    "UpsampleConv": "Which interpolation and padding to take: [Choosing](../choosing.md).",
    "Upsample": "Which interpolation to take: [Choosing](../choosing.md).",
    "SubpixelConv": "Initializer: [`initializers.ICNR`](initializers.ICNR.md). Constraint: "
    "[`constraints.CheckerboardFree`](constraints.CheckerboardFree.md).",
    "audit": _READING,
    "auditing.": _READING,
    "autoencoder": "At work: [Images of any size](../any_size.py), "
    "[Choosing a block](../blocks.py).",
    "variational_autoencoder": "At work: [Drawing images](../variational.py).",
    "tutorial_autoencoder": "Layer by layer: [Tutorial](../tutorial.py).",
    "models.": "Returned by [`autoencoder`](autoencoder.md) and "
    "[`variational_autoencoder`](variational_autoencoder.md).",
    "checkerboard_score": _MEASURING,
    "detect_stride": _MEASURING,
    "metrics.": _MEASURING,
    "ops.checkerboard": _MEASURING,
    "config.": "What rates are: [One step](../one_step.md#how-one-is-chosen).",
    "repair": _MENDING,
    "constraints.": _MENDING,
    "plots.image": f"{_PLOTS} How to read it: [Measuring](../measuring.md#how-it-works).",
    "plots.": f"{_PLOTS} {_READING}",
}


def public_names(module: str) -> list[str]:
    """Return `__all__` of the package ("") or of a namespace, without importing it."""
    for node in _statements(module):
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "__all__"
        ):
            return list(ast.literal_eval(node.value))
    raise ValueError(f"keras_upsampling.{module} has no __all__.")


def names_at_the_top(namespace: str) -> set[str]:
    """Return the names that the package itself imports from a namespace."""
    return {
        alias.name
        for node in _statements("")
        if isinstance(node, ast.ImportFrom)
        and node.module == f"keras_upsampling.{namespace}"
        for alias in node.names
    }


def _statements(module: str) -> list[ast.stmt]:
    path = PACKAGE / module
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8")).body


def pages() -> dict[str, dict[str, str]]:
    """Return the text of every page, by section and title."""
    return {
        section: {
            title: _page(title)
            for namespace in namespaces
            for title in _titles(namespace)
        }
        for section, namespaces in SECTIONS.items()
    }


def _titles(namespace: str) -> Iterator[str]:
    top = names_at_the_top(namespace)
    # What the package itself exports comes first.
    for name in sorted(
        public_names(namespace), key=lambda name: name not in top
    ):
        yield name if name in top else f"{namespace}.{name}"


def _page(title: str) -> str:
    members = METHODS.get(title, "false")
    lines = [
        f"::: keras_upsampling.{title}",
        "    options:",
        f"      heading: {title}",
    ]
    lines += [f"      members: {members}".replace("'", ""), ""]
    namespace, _, name = title.rpartition(".")
    if namespace:
        package = f"keras_upsampling.{namespace}"
        lines += [f"Import it with `from {package} import {name}`.", ""]
    rank = re.search(r"([123])D$", title)
    if rank:
        others = [
            title[: rank.start()] + f"{n}D" for n in "123" if n != rank[1]
        ]
        known = [other for other in others if other in public_names("")]
        links = ", ".join(f"[`{other}`]({other}.md)" for other in known)
        lines += [f"In other ranks: {links}.", ""] if links else []
    note = next(
        (text for start, text in NOTES.items() if title.startswith(start)), ""
    )
    return "\n".join([*lines, note, ""])


def on_config(config, **_):
    """Add the sections to the navigation."""
    for section, texts in pages().items():
        entries = [{title: f"api/{title}.md"} for title in texts]
        config["nav"].append({section: entries})
    return config


def on_files(files, config, **_):
    """Add the pages."""
    from mkdocs.structure.files import File

    for texts in pages().values():
        for title, text in texts.items():
            files.append(
                File.generated(config, f"api/{title}.md", content=text)
            )
    return files
