"""Which variable of a copy is which of the original."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras


def paired(
    variables: Sequence[keras.Variable], others: Sequence[keras.Variable], owner: str = ""
) -> Iterator[tuple[keras.Variable, keras.Variable]]:
    """Yield every variable with that of the copy.

    A layer that was quantized after it had been built has its variables in another order than a
    copy, which is quantized from the start: so they go by their paths, as far as those tell.

    Args:
        variables: Of the original.
        others: Of the copy.
        owner: The name of what they belong to, where what their paths have before it may differ.
    """
    paths = [[_inside(one.path, owner) for one in group] for group in (variables, others)]
    if len(set(paths[0])) == len(variables) and set(paths[0]) == set(paths[1]):
        twins = dict(zip(paths[1], others, strict=True))
        others = [twins[path] for path in paths[0]]
    yield from zip(variables, others, strict=True)


def _inside(path: str, owner: str) -> str:
    return path.split(f"{owner}/", 1)[-1] if owner else path
