"""Models that are only made of others, as those that train two against each other."""

from __future__ import annotations

import keras


def refuse_without_call(model: keras.Model) -> None:
    """Name the models that a model is made of, where nothing says how they are called.

    Raises:
        ValueError: it has no `call`.
    """
    if type(model).call is not keras.Model.call:
        return
    parts = []
    for name in dir(model):
        if hasattr(type(model), name) or name.startswith("_"):
            continue
        value = getattr(model, name)
        named = {name: value}
        if isinstance(value, (list, tuple)):
            named = {f"{name}[{i}]": one for i, one in enumerate(value)}
        elif isinstance(value, dict):
            named = {f"{name}[{key!r}]": one for key, one in value.items()}
        parts += [f"`.{part}`" for part, one in named.items() if isinstance(one, keras.Model)]
    mend = f"its parts by themselves: {', '.join(parts)}" if parts else "what it is made of"
    raise ValueError(
        f"{model.name!r} has no `call`, so nobody knows what it makes. Expected a model that can "
        f"be called. Received a {type(model).__name__}; audit or repair {mend}."
    )
