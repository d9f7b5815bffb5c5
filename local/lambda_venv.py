"""The virtual environment of Lambda workers: the packages of AWS's managed python3.11 runtime, and nothing else.

A deployed zip and its layers must contain everything else, exactly as on AWS.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from local.environment import REPOSITORY

PACKAGES = Path(__file__).with_name("lambda_runtime.txt")


def location() -> Path:
    """Return the folder of the environment. All stacks of this checkout share it, because installing takes seconds."""
    return Path(os.environ.get("TUGBOAT_LOCAL_LAMBDA_RUNTIME", REPOSITORY / ".local" / "lambda-runtime"))


def ensure(path: Path) -> bool:
    """Create the environment if it is missing or if its pins changed.

    Returns:
        True if it was created.
    """
    wanted = hashlib.sha256(PACKAGES.read_bytes()).hexdigest()
    marker = path / "made-from"
    if marker.is_file() and marker.read_text() == wanted:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(path)], check=True)
    python = path / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-qq", "--no-deps", "--require-hashes", "-r", str(PACKAGES)], check=True)
    marker.write_text(wanted)
    return True
