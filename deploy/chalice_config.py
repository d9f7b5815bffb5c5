"""Write .chalice/config.json and the policies of a stage, which Chalice gives to each Lambda.

Both follow from deploy/lambdas.py, so that no stage has rights that another lacks.
"""

import json
import sys
from pathlib import Path
from typing import Any

from deploy import layer_versions
from deploy.command import exit_status, stage_parser
from deploy.lambdas import LAMBDAS, Lambda, common_environment
from deploy.stages import Stage, StageError, read_stage

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / ".chalice"

# The stage whose policies have no stage in their file names.
POLICY_STAGE = "local"

Json = dict[str, Any]


def policy_file(stage: Stage, name: str) -> str:
    """Return the name of the file that holds a Lambda's policy for a stage."""
    suffix = "" if stage.name == POLICY_STAGE else f"-{stage.name}"
    return f"policy-{name}{suffix}.json"


def stage_config(stage: Stage, account_id: str, arns: dict[str, str]) -> Json:
    """Return a stage's entry in config.json, with its layers at these addresses."""
    return {
        "api_gateway_stage": stage.api_stage,
        "xray": stage.tracing,
        "environment_variables": common_environment(stage),
        "lambda_functions": {one.name: _entry(one, stage, account_id, arns) for one in LAMBDAS},
    }


def _entry(one: Lambda, stage: Stage, account_id: str, arns: dict[str, str]) -> Json:
    entry: Json = {
        "lambda_memory_size": one.memory_mb,
        "lambda_timeout": one.timeout_s,
        "iam_policy_file": policy_file(stage, one.name),
        "environment_variables": one.environment(stage, account_id),
    }
    if one.layer:
        entry["layers"] = [arns[one.layer]]
    if one.max_concurrency and (concurrency := one.max_concurrency(stage)):
        entry["reserved_concurrency"] = concurrency
    return entry


def render_config(stage: Stage, account_id: str, arns: dict[str, str], current: Json) -> str:
    """Return config.json with this stage's entry rendered anew and the other stages' entries kept."""
    config: Json = {
        "version": "2.0",
        "app_name": "tugboat",
        "api_gateway_endpoint_type": "REGIONAL",
        "autogen_policy": False,
        "automatic_layer": False,
        # API Gateway gzips the SDK's scripts and long responses above this size. It decompresses requests by itself.
        "minimum_compression_size": 1024,
        "stages": {**current.get("stages", {}), stage.name: stage_config(stage, account_id, arns)},
    }
    return json.dumps(config, indent=2) + "\n"


def outdated(stage: Stage, account_id: str, arns: dict[str, str], folder: Path = FOLDER) -> dict[Path, str]:
    """Return the outdated files of a stage, each with its new text."""
    config_file = folder / "config.json"
    current = json.loads(config_file.read_text()) if config_file.exists() else {}
    wanted = {config_file: render_config(stage, account_id, arns, current)}
    for one in LAMBDAS:
        wanted[folder / policy_file(stage, one.name)] = one.rendered_policy(stage, account_id)
    return {path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text}


def write(stage: Stage, account_id: str, arns: dict[str, str], folder: Path = FOLDER) -> list[Path]:
    """Write the outdated files and return their paths."""
    files = outdated(stage, account_id, arns, folder)
    for path, text in files.items():
        path.write_text(text)
    return list(files)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = stage_parser(__spec__.name, __doc__, "--stage local --check")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is outdated")
    args = parser.parse_args(arguments)

    def run() -> int:
        stage = read_stage(args.stage)
        if not stage.account_id:
            raise StageError(
                f"stage {stage.name} has no account_id in deploy/stages.toml: add it, or run make deploy, "
                "which asks AWS for it"
            )
        arns = layer_versions.arns(stage, stage.account_id)
        if not args.check:
            for path in write(stage, stage.account_id, arns, FOLDER):
                print(f"wrote {path.relative_to(REPOSITORY)}: commit it")
            return 0
        files = outdated(stage, stage.account_id, arns, FOLDER)
        for path in files:
            print(
                f"{path.relative_to(REPOSITORY)} is not what deploy/lambdas.py and deploy/stages.toml ask for. "
                f"Write it: python -m deploy.chalice_config --stage {stage.name}",
                file=sys.stderr,
            )
        return 1 if files else 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
