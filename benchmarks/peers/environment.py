"""The peers' virtual environment under build/peers, separate from the project's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = REPOSITORY / "build" / "peers"
PYTHON = ENVIRONMENT / "bin" / "python"
_INSTALLED = ENVIRONMENT / ".installed"
_TORCH = "torch==2.13.0"  # the project's version, so that only the libraries differ


class NotSetUp(RuntimeError):
    """The peers' environment does not exist."""


def set_up() -> None:
    """Create the environment, or update it to requirements.txt."""
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    pip = [str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, _TORCH], check=True)
    # Without dependencies: recbole requires ray and thop, which nothing here imports and which do not install.
    subprocess.run([*pip, "--no-deps", "-r", str(Path(__file__).with_name("requirements.txt"))], check=True)
    _INSTALLED.touch()


def run_worker(directory: Path, threads: int) -> None:
    """Train and score by the directory's plan; the libraries write their logs into the directory."""
    if not _INSTALLED.exists():
        raise NotSetUp("the peers are not installed: python -m benchmarks.peers setup")
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
    }
    command = [str(PYTHON), "-m", "benchmarks.peers.worker", str(directory)]
    subprocess.run(command, check=True, cwd=directory, env=environment)
