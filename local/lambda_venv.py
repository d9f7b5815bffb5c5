"""A bare virtual environment for Lambda workers: what AWS's managed python3.11 runtime holds, and nothing else.

A deployed zip with its layers must hold everything more, exactly as on AWS.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from local.environment import REPOSITORY

PACKAGES = ("awslambdaric==4.2.2", "boto3")


def location() -> Path:
    """Shared by every stack of this checkout, because making it takes seconds."""
    return Path(os.environ.get("TUGBOAT_LOCAL_LAMBDA_RUNTIME", REPOSITORY / ".local" / "lambda-runtime"))


def ensure(path: Path) -> bool:
    """Makes the environment if it is missing or its pins changed. True when something was made."""
    constraints = REPOSITORY / "constraints.txt"
    wanted = hashlib.sha256(repr(PACKAGES).encode() + constraints.read_bytes()).hexdigest()
    marker = path / "made-from"
    if marker.is_file() and marker.read_text() == wanted:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(path)], check=True)
    python = path / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-qq", "--constraint", str(constraints), *PACKAGES], check=True)
    marker.write_text(wanted)
    return True
