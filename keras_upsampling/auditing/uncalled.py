"""Models without a `call`, such as a GAN that only trains its generator and critic."""

from __future__ import annotations

import keras


def refuse_without_call(model: keras.Model) -> None:
    """Raise for a model without a `call`, and name the models that it holds.

    Raises:
        ValueError: If the model has no `call`.
    """
    if type(model).call is not keras.Model.call:
        return
    inner_models = []
    for name in dir(model):
        if hasattr(type(model), name) or name.startswith("_"):
            continue
        value = getattr(model, name)
        items = {name: value}
        if isinstance(value, (list, tuple)):
            items = {f"{name}[{i}]": item for i, item in enumerate(value)}
        elif isinstance(value, dict):
            items = {f"{name}[{key!r}]": item for key, item in value.items()}
        inner_models += [
            f"`.{path}`" for path, item in items.items() if isinstance(item, keras.Model)
        ]
    separately = f": {', '.join(inner_models)}" if inner_models else ""
    raise ValueError(
        f"The model must have a `call`. Received: {model.name!r} of type {type(model).__name__}, "
        f"which has no `call`. Audit or repair its inner models separately{separately}."
    )
