"""dbt with a stage's own credentials: `python -m sql.run_dbt --stage local build --select sessions+`."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from deploy.stages import read_stage
from functions.platform import warehouse
from functions.platform.dbt import dbt_environment, project_dir

# Not below sql/, which is packed into the Lambdas.
BUILD = Path(__file__).resolve().parents[1] / "build" / "dbt"


def run(stage: str, dbt_arguments: list[str]) -> int:
    """Run one dbt command on a stage, and return dbt's exit status. Its output is below build/dbt."""
    import boto3

    secrets = boto3.client("secretsmanager", region_name=read_stage(stage).region)
    credentials = warehouse.read_credentials(secrets, f"tugboat/{stage}/snowflake")
    project = str(project_dir())
    command = [sys.executable, "-W", "ignore", "-m", "dbt.cli.main", *dbt_arguments]
    command += ["--project-dir", project, "--profiles-dir", project]
    command += ["--target-path", str(BUILD), "--log-path", str(BUILD / "logs")]
    return subprocess.run(command, env=os.environ | dbt_environment(credentials)).returncode


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sql.run_dbt",
        description=(__doc__ or "").split("\n")[0],
        epilog="example: python -m sql.run_dbt test --select staging",
    )
    default = os.environ.get("TUGBOAT_STAGE", "local")
    parser.add_argument(
        "--stage", default=default, help="local, dev or prod (default: TUGBOAT_STAGE, or local)"
    )
    given, dbt_arguments = parser.parse_known_args(arguments)
    if not dbt_arguments:
        parser.error("what shall dbt do? For instance: build, or test --select stg_events")
    return run(given.stage, dbt_arguments)


if __name__ == "__main__":
    sys.exit(main())
