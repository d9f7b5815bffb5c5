"""The commands of demo/ without a login, and without the local stack: a sentence with the next step, and no traceback."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from demo.environment import Environment

COMMANDS = {
    "demo.recommend": ["--items", "boot-7"],
    "demo.canary": [],
    "demo.replay": [],
    "demo.follow": [],
    "demo.rerun": [],
    "demo.smoke.__main__": [],
}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sign nobody in, and ask no metadata service."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
        "TUGBOAT_API_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_for_an_account_says_that_nobody_is_signed_in(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUGBOAT_STAGE", "dev")
    assert importlib.import_module(module).main(COMMANDS[module]) == 1
    assert "AWS accepts no credentials" in (said := capsys.readouterr().err)
    assert "Sign in (aws sso login, or AWS_PROFILE)" in said


@pytest.mark.parametrize("module", ["demo.replay", "demo.follow", "demo.rerun", "demo.smoke.__main__"])
def test_a_command_without_the_local_stack_names_the_command_that_starts_it(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Down:
        def __getattr__(self, _: str) -> Any:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:4566/")

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "local")  # the command itself sets what is missing
    monkeypatch.setenv("TUGBOAT_STAGE", "local")
    monkeypatch.setattr(Environment, "client", lambda *_: Down())
    assert importlib.import_module(module).main(COMMANDS[module]) == 1
    assert "start it with `make up`" in capsys.readouterr().err
