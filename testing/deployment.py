"""The deploying commands, run in a copy of the repository.

Chalice records what it deployed under .chalice/deployed, and the record of whoever works here must stay theirs.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
COPIED = (".chalice", "functions", "layers", "sql", "statemachine", "storefront", "training_jobs")


def copy_repository(folder: Path) -> Path:
    """What a deployment reads, in `folder`."""
    ignored = shutil.ignore_patterns("deployed", "__pycache__", "target", "logs")
    for name in COPIED:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    for name in ("app.py", "requirements.txt"):
        shutil.copy(REPOSITORY / name, folder / name)
    shutil.copytree(REPOSITORY / "vendor", folder / "vendor", symlinks=True)
    # Built layers are known by their content's hash, so they can be shared; without them a test takes a minute more.
    (folder / "build").mkdir()
    (REPOSITORY / "build" / "layers").mkdir(parents=True, exist_ok=True)
    (folder / "build" / "layers").symlink_to(REPOSITORY / "build" / "layers")
    return folder


def run(command: str, copy: Path, environment: dict[str, str], *arguments: str) -> str:
    """`python -m statemachine.<command> --stage local` in the copy; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"statemachine.{command}", "--stage", "local", *arguments],
        cwd=copy,
        env={**os.environ, **environment, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def package(folder: Path) -> Path:
    """What `chalice package` makes of the stage local, in `folder`: deployment.zip, which all Lambdas share, and sam.json.

    Packed from a copy, without the bytecode that tests leave in the repository: Chalice would zip it.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
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
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
