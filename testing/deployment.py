"""Deployment commands in a copy of the repository.

Chalice writes a record of its deployment to .chalice/deployed. In a copy, the developer's own record stays unchanged.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
COPIED = (
    ".chalice",
    "catalogue",
    "clients",
    "contracts",
    "deploy",
    "experiments",
    "functions",
    "imports",
    "layers",
    "rules",
    "sql",
    "statemachine",
    "storefront",
    "training_jobs",
)


def copy_repository(folder: Path) -> Path:
    """Copy the files that a deployment reads to `folder`; return it."""
    ignored = shutil.ignore_patterns("deployed", "__pycache__", "target", "logs")
    for name in COPIED:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    for name in ("app.py", "requirements.txt"):
        shutil.copy(REPOSITORY / name, folder / name)
    shutil.copytree(REPOSITORY / "vendor", folder / "vendor", symlinks=True)
    # Names of built layers contain a hash of their content, so copies share them. Building them takes a minute.
    (folder / "build").mkdir()
    (REPOSITORY / "build" / "layers").mkdir(parents=True, exist_ok=True)
    (folder / "build" / "layers").symlink_to(REPOSITORY / "build" / "layers")
    return folder


def run(command: str, copy: Path, environment: dict[str, str], *arguments: str) -> str:
    """Run `python -m <command> --stage local` in the copy; return its output."""
    completed = subprocess.run(
        [sys.executable, "-m", command, "--stage", "local", *arguments],
        cwd=copy,
        env={**os.environ, **environment, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def package(folder: Path) -> Path:
    """Run `chalice package` for the stage `local`; return `folder`.

    It then contains deployment.zip, which all Lambda functions share, and sam.json.
    Chalice packs a copy, because the repository contains bytecode from tests, which it would add to the zip.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    completed = subprocess.run(
        [
            sys.executable,
            "-c",
            "from chalice.cli import main; main()",
            "package",
            "--stage",
            "local",
            str(folder),
        ],
        cwd=copy_repository(folder / "repository"),
        env={**environment, "AWS_DEFAULT_REGION": "us-east-1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return folder
