"""The command line: where it posts to, what it needs, and what it says if something is missing."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from dashboards import __main__ as command
from dashboards import assets, server
from dashboards.server import Server, ServerError
from dashboards.superset_api import Superset
from deploy.command import DeployError

VARIABLES = (
    "PRESET_SECRET", "PRESET_TOKEN", "SUPERSET_PASSWORD", "SUPERSET_TOKEN", "SUPERSET_URL", "SUPERSET_USER",
)  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUGBOAT_LOCAL_STATE", str(tmp_path))


def test_a_dry_run_lists_every_asset_and_every_rule_and_asks_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["--stage", "local", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for path, asset in assets.read().items():
        assert f"{asset['uuid']}  {path}" in printed
    assert "role 'Tugboat shop demo' read rows with shop_id = 'demo'" in printed
    assert "tugboat/local/snowflake-reader" in printed


def test_another_stage_without_an_address_says_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--stage", "prod"]) == 1
    printed = capsys.readouterr().err
    assert "SUPERSET_URL is not set" in printed
    assert "make dashboards STAGE=prod ARGS=--serve" in printed


def test_an_address_without_a_login_names_the_three_kinds() -> None:
    with pytest.raises(DeployError, match=r"SUPERSET_USER.*SUPERSET_TOKEN.*PRESET_TOKEN"):
        command.connected("https://superset.test", {})


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SUPERSET_USER": "u", "SUPERSET_PASSWORD": "p"}, ("log_in", "u", "p")),
        ({"SUPERSET_TOKEN": "t"}, ("use_token", "t")),
        ({"PRESET_TOKEN": "n", "PRESET_SECRET": "s"}, ("log_in_to_preset", "n", "s")),
    ],
    ids=["password", "token", "preset"],
)
def test_the_environment_s_login_is_used(
    variables: dict[str, str], expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[tuple[str, ...]] = []
    for name in ("log_in", "use_token", "log_in_to_preset"):
        monkeypatch.setattr(Superset, name, lambda self, *given, name=name: used.append((name, *given)))
    command.connected("https://superset.test", variables)
    assert used == [expected]


def test_a_stack_that_does_not_run_says_how_to_start_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def account_of(*_: Any) -> str:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:4566")

    monkeypatch.setattr(command, "account_of", account_of)
    assert command.main(["--stage", "local"]) == 1
    assert "Start it with make up, and fill it with make demo" in capsys.readouterr().err


def test_a_login_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    own = Server(tmp_path / "superset")
    login = own.login()
    assert own.login() == login
    assert Server(tmp_path / "other").login().password != login.password
    assert (tmp_path / "superset" / "login.json").stat().st_mode & 0o777 == 0o600
    assert len(json.loads((tmp_path / "superset" / "login.json").read_text())["secret_key"]) >= 42


def test_a_missing_environment_names_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ENVIRONMENT", tmp_path / "none")
    with (
        pytest.raises(ServerError, match=r"make build/superset/\.installed"),
        Server(tmp_path).running(print),
    ):
        pass


def test_a_port_that_is_in_use_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    (tmp_path / ".installed").touch()
    monkeypatch.setattr(server, "ENVIRONMENT", tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = Server(tmp_path, other.getsockname()[1])
        with pytest.raises(ServerError, match=f"--port {taken.port + 1}"), taken.running(print):
            pass


def test_the_settings_of_superset_load_nothing_from_elsewhere_and_open_nothing_to_the_public() -> None:
    text = (server.HERE / "superset_config.py").read_text()
    settings: dict[str, Any] = {}
    code = compile(text.replace("import os", ""), "superset_config.py", "exec")
    exec(code, {"os": type("os", (), {"environ": dict.fromkeys(VARIABLES, "") | {
        "SUPERSET_SECRET_KEY": "k", "SUPERSET_DATABASE_URI": "sqlite://"}})}, settings)  # fmt: skip
    policy = settings["TALISMAN_CONFIG"]["content_security_policy"]
    assert not [value for values in policy.values() for value in values if "." in value or "//" in value]
    assert "AUTH_ROLE_PUBLIC" not in settings
    assert settings["SECRET_KEY"] == "k"
