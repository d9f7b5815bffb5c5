"""Every command of a stage works in the stage's region, whatever region the profile and the environment name."""

import ast
import subprocess
from pathlib import Path
from typing import Any

import pytest

from demo import environment
from deploy import chalice_cli
from deploy.command import DeployError
from deploy.stages import read_stage

REPOSITORY = Path(__file__).resolve().parents[3]
# Preflight reads the caller's own region in order to compare it with the stage's.
OWN_REGION = {"deploy/preflight/__main__.py: boto3.Session()"}


def _without_region() -> list[str]:
    """Return the calls that make a session or client for whatever region is around."""
    found = []
    for folder in ("deploy", "demo", "sql"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and ast.unparse(node.func) in ("boto3.client", "boto3.Session")
                    and "region_name" not in {keyword.arg for keyword in node.keywords}
                ):
                    found.append(f"{path.relative_to(REPOSITORY)}: {ast.unparse(node)}")
    return found


def test_every_client_is_made_for_a_region() -> None:
    assert [call for call in _without_region() if call not in OWN_REGION] == []


def test_chalice_runs_in_the_stages_region(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, str] = {}

    def popen(*_: Any, env: dict[str, str], **__: Any) -> Any:
        given.update(env)
        raise DeployError("not run")

    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(subprocess, "Popen", popen)
    stage = read_stage("dev")
    with pytest.raises(DeployError):
        chalice_cli.run_chalice("deploy", stage, print)
    assert (given["AWS_REGION"], given["AWS_DEFAULT_REGION"]) == (stage.region, stage.region)


def test_demo_commands_use_the_stages_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUGBOAT_STAGE", "local")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert environment.from_variables().region == read_stage("local").region
