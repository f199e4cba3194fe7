"""Write `tests/data/saved_on_BACKEND.zip`, the models that every backend must load.

    KERAS_BACKEND=jax python -m tests.saved_models

Run on each backend after a contract was added or changed.
"""

import io
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from tests.backends import BACKEND, to_numpy
from tests.contract import DATA
from tests.test_contract import CONTRACTS


def main():
    """Write the archive beside its place, then move it there."""
    target = DATA / f"saved_on_{BACKEND}.zip"
    with tempfile.TemporaryDirectory(dir=DATA) as folder:
        archive_path = Path(folder) / target.name
        with zipfile.ZipFile(archive_path, "w", zipfile.ZIP_DEFLATED) as archive:
            for contract in CONTRACTS:
                model = contract.model()
                path = Path(folder) / f"{contract.name}.keras"
                model.save(path)
                archive.write(path, path.name)
                outputs = io.BytesIO()
                np.save(outputs, to_numpy(model(contract.input())).astype("float32"))
                archive.writestr(f"{contract.name}.npy", outputs.getvalue())
        os.replace(archive_path, target)
    print(f"{target}: {len(CONTRACTS)} models, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
