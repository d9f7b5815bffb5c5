"""The commands of deploy/: help with an example, and errors that end with the next step."""

import importlib
import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, TokenRetrievalError

from deploy.command import DeployError, Progress, exit_status

FOLDER = Path(__file__).resolve().parents[3] / "deploy"
COMMANDS = sorted(path.stem for path in FOLDER.glob("*.py") if "def main(" in path.read_text())


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 13


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_an_example_that_it_accepts(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"deploy.{name}").main(["--help"])
    assert ended.value.code == 0
    module = "deploy" if name == "__main__" else f"deploy.{name}"
    example = re.search(rf"example: python -m {re.escape(module)} (.+)\n$", capsys.readouterr().out)
    assert example is not None
    source = (FOLDER / f"{name}.py").read_text() + (FOLDER / "command.py").read_text()
    source += (FOLDER / "shop_option.py").read_text()
    assert all(f'"{option}"' in source for option in re.findall(r"--[\w-]+", example[1]))


@pytest.mark.parametrize("name", ["__main__", "destroy", "rollback", "chalice_config"])
def test_a_command_for_an_unknown_stage_ends_with_the_known_ones(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert importlib.import_module(f"deploy.{name}").main(["--stage", "staging"]) == 1
    assert "use one of dev, local, prod" in capsys.readouterr().err


def test_an_expected_failure_is_printed_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise DeployError("the stack is locked: wait, then deploy again")

    assert exit_status(fail) == 1
    assert capsys.readouterr().err == "\nthe stack is locked: wait, then deploy again\n"


def test_a_refusal_of_aws_ends_with_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "CreateStack")

    assert exit_status(fail) == 1
    printed = capsys.readouterr().err
    assert "AccessDenied" in printed
    assert "run the same command again" in printed


@pytest.mark.parametrize(
    "error", [NoCredentialsError(), TokenRetrievalError(provider="sso", error_msg="Token has expired")]
)
def test_who_is_not_signed_in_is_told_to_sign_in(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert exit_status(fail) == 1
    assert "Sign in (aws sso login, or AWS_PROFILE)" in capsys.readouterr().err


def test_a_path_that_cannot_be_written_is_named_with_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write() -> int:
        return tmp_path.write_text("")

    assert exit_status(write) == 1
    assert f"{tmp_path}: Is a directory. Correct the path or the rights to it" in capsys.readouterr().err


def test_a_defect_shows_its_traceback() -> None:
    def fail() -> int:
        raise KeyError("stage")

    with pytest.raises(KeyError):
        exit_status(fail)


def test_progress_has_the_seconds_since_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    Progress()("created the buckets")
    assert re.fullmatch(r"\[ +\d+\.\d s\] created the buckets\n", capsys.readouterr().out)
