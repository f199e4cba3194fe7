"""Pair the variables of a model with those of its copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras


def paired(
    variables: Sequence[keras.Variable], copies: Sequence[keras.Variable], owner: str = ""
) -> Iterator[tuple[keras.Variable, keras.Variable]]:
    """Yield every variable with its copy.

    Variables are paired by their paths if the paths are unique and equal, else by position.
    Positions differ if a layer was quantized after it was built: its copy is built quantized.

    Args:
        variables: Variables of the original.
        copies: Variables of the copy.
        owner: Name of the layer that holds them. Paths are compared from this name on.
    """
    paths, copied_paths = (
        [_path_inside(variable.path, owner) for variable in group] for group in (variables, copies)
    )
    if len(set(paths)) == len(variables) and set(paths) == set(copied_paths):
        by_path = dict(zip(copied_paths, copies, strict=True))
        copies = [by_path[path] for path in paths]
    yield from zip(variables, copies, strict=True)


def _path_inside(path: str, owner: str) -> str:
    return path.split(f"{owner}/", 1)[-1] if owner else path
