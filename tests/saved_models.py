"""Models that every backend must load, saved on each backend.

    nox -s saved_models                       # on every backend
    KERAS_BACKEND=jax python -m tests.saved_models    # on one

writes `tests/data/saved/NAME.zip` for every contract that has none, and for those named on the
command line. The archives `tests/data/saved_on_BACKEND.zip` were saved by earlier versions, and are
never written again.
"""

import io
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from tests.backends import BACKEND, to_numpy

BACKENDS = ("tensorflow", "jax", "torch")
DATA = Path(__file__).parent / "data"


def saved_model(name, backend):
    """Return the file of a contract's model saved on a backend, as bytes, and its output there."""
    own, archive = DATA / "saved" / f"{name}.zip", DATA / f"saved_on_{backend}.zip"
    path, stem = (own, backend) if own.exists() else (archive, name)
    with zipfile.ZipFile(path) as models:
        if f"{stem}.keras" not in models.namelist():
            raise FileNotFoundError(
                f"There is no model of {name!r} that was saved on {backend}. Write it with "
                f'`nox -s "saved_models({backend})" -- {name}`.'
            )
        return models.read(f"{stem}.keras"), np.load(io.BytesIO(models.read(f"{stem}.npy")))


def is_archived(name):
    """Return whether an earlier version has saved the model of a contract."""
    with zipfile.ZipFile(DATA / f"saved_on_{BACKEND}.zip") as models:
        return f"{name}.keras" in models.namelist()


def is_saved(name):
    """Return whether this backend's model of a contract is among the fixtures."""
    try:
        saved_model(name, BACKEND)
    except FileNotFoundError:
        return False
    return True


def save(contract):
    """Add this backend's model to the file of a contract, or replace it; return the path."""
    path = DATA / "saved" / f"{contract.name}.zip"
    path.parent.mkdir(exist_ok=True)
    entries = {}
    if path.exists():
        with zipfile.ZipFile(path) as models:
            entries = {entry: models.read(entry) for entry in models.namelist()}
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        model, outputs = contract.model(), io.BytesIO()
        model.save(Path(folder) / "model.keras")
        np.save(outputs, to_numpy(model(contract.input())).astype("float32"))
        entries[f"{BACKEND}.keras"] = (Path(folder) / "model.keras").read_bytes()
        entries[f"{BACKEND}.npy"] = outputs.getvalue()
        with zipfile.ZipFile(Path(folder) / path.name, "w", zipfile.ZIP_DEFLATED) as models:
            for entry, content in sorted(entries.items()):
                models.writestr(entry, content)
        os.replace(Path(folder) / path.name, path)
    return path


def main(names):
    """Save the models of the contracts with these names; by default, those that have none."""
    from tests.test_contract import CONTRACTS  # which imports this module

    contracts = {contract.name: contract for contract in CONTRACTS}
    unknown = set(names) - contracts.keys()
    if unknown:
        sys.exit(f"Unknown contracts: {sorted(unknown)}. Known: {sorted(contracts)}.")
    archived = [name for name in names if is_archived(name)]
    if archived:
        sys.exit(f"Saved by earlier versions, which must go on loading: {archived}.")
    chosen = names or [name for name in contracts if not is_saved(name)]
    for name in chosen:
        print(save(contracts[name]))
    print(f"{len(chosen)} models saved on {BACKEND}")


if __name__ == "__main__":
    main(sys.argv[1:])
