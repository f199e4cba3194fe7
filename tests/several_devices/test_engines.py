"""Run the tests on several devices: they have to exist before the backend is imported."""

import os
import subprocess
import sys
from pathlib import Path

from tests.backends import BACKEND

FOLDER = Path(__file__).parent
# XLA ends the process if devices wait for each other and there are not enough threads for all.
FOUR_DEVICES = {
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4",
    "NPROC": "8",
}
TWO_PROCESSES = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def test_training_on_several_devices_equals_training_on_one():
    launcher = TWO_PROCESSES if BACKEND == "torch" else []
    environment = {"jax": FOUR_DEVICES, "torch": {"OMP_NUM_THREADS": "1"}}.get(BACKEND, {})
    process = subprocess.run(
        [
            *(sys.executable, *launcher, "-m", "pytest", "-x", "-p", "no:cacheprovider"),
            FOLDER / f"on_{BACKEND}.py",
        ],
        cwd=FOLDER.parents[1],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout[-5000:] + process.stderr[-3000:]
    assert " passed" in process.stdout
