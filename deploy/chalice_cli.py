"""Run Chalice's command line. It keeps a record of each stage's deployment in a file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.command import DeployError, Say
from deploy.stages import Stage

REPOSITORY = Path(__file__).resolve().parent.parent
# An account has one API deployment per 5 seconds. botocore's default, 3 attempts, takes 3 seconds at most.
MAX_ATTEMPTS = "10"
DEPLOYED = REPOSITORY / ".chalice" / "deployed"


def run_chalice(command: str, stage: Stage, say: Say) -> None:
    """Run `chalice deploy` or `chalice delete` with this interpreter, and print its lines.

    Raises:
        DeployError: Chalice failed.
    """
    # Chalice zips everything below vendor/: this machine's bytecode would change the hash of every zip.
    for cache in [*REPOSITORY.glob("functions/**/__pycache__"), *REPOSITORY.glob("sql/**/__pycache__")]:
        shutil.rmtree(cache, ignore_errors=True)
    program = "from chalice.cli import main; main()"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            program,
            "--project-dir",
            str(REPOSITORY),
            command,
            "--stage",
            stage.name,
        ],
        cwd=REPOSITORY,
        # Chalice knows no region but the environment's or the profile's.
        env={
            **os.environ,
            **stage.region_variables,
            "AWS_MAX_ATTEMPTS": MAX_ATTEMPTS,
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        say(f"chalice: {line.rstrip()}")
    if process.wait() != 0:
        raise DeployError(
            f"chalice {command} failed with exit code {process.returncode}; its output is above. "
            "Fix the cause, then run the same command again: finished steps are kept"
        )


def record_file(stage: Stage) -> Path:
    """Return the path of Chalice's record of the stage."""
    return DEPLOYED / f"{stage.name}.json"
