"""The command that issues and revokes secret keys."""

from typing import Any

import boto3
import pytest

from deploy import secret_key
from deploy.command import DeployError
from deploy.secret_key import KEYS_PER_SHOP, issue, issued, main, name_of, read, revoke
from deploy.stages import read_stage
from functions.platform.errors import RequestRefused
from functions.platform.secret_keys import SecretKeys, digest
from testing.fakes import client_error
from testing.threads import at_once

LOCAL = read_stage("local")


class Secrets:
    """Secrets Manager with one secret; `before_write` is called before each write."""

    def __init__(self, exists: bool = True) -> None:
        self.value: str | None = None
        self.exists = exists
        self.before_write: Any = lambda: None

    def get_secret_value(self, SecretId: str, VersionStage: str = "AWSCURRENT") -> dict[str, str]:
        assert SecretId == "tugboat/local/secret-keys"
        if self.value is None:
            raise client_error("ResourceNotFoundException")
        return {"SecretString": self.value}

    def put_secret_value(self, SecretId: str, SecretString: str) -> None:
        if not self.exists:
            raise client_error("ResourceNotFoundException")
        self.before_write()
        self.value = SecretString


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    monkeypatch.setattr(secret_key, "PAUSE_S", 0)
    return Secrets()


def shop_of(key: str, secrets: Secrets) -> str:
    return SecretKeys("tugboat/local/secret-keys", lambda: secrets, threads=at_once).shop_of(f"Bearer {key}")


def test_the_collector_knows_an_issued_key_and_the_secret_does_not_contain_it(secrets: Secrets) -> None:
    key = issue(LOCAL, "demo", secrets)
    assert shop_of(key, secrets) == "demo"
    assert key.startswith("tugboat-secret-")
    assert len(key) > 50
    assert key not in str(secrets.value)


def test_keys_overlap_until_the_old_one_is_revoked(secrets: Secrets) -> None:
    old, new = issue(LOCAL, "demo", secrets), issue(LOCAL, "demo", secrets)
    other = issue(LOCAL, "serenade", secrets)
    assert {shop_of(key, secrets) for key in (old, new)} == {"demo"}
    revoke(LOCAL, "demo", digest(old)[:8], secrets)
    with pytest.raises(RequestRefused):
        shop_of(old, secrets)
    assert (shop_of(new, secrets), shop_of(other, secrets)) == ("demo", "serenade")


def test_a_key_of_a_block_ends_with_it(secrets: Secrets) -> None:
    with issued(LOCAL, "demo", secrets) as key:
        assert shop_of(key, secrets) == "demo"
    with pytest.raises(RequestRefused):
        shop_of(key, secrets)


def test_a_key_that_another_command_overwrote_is_written_again(secrets: Secrets) -> None:
    issue(LOCAL, "demo", secrets)
    before = secrets.value
    writes = []

    def overwrite_once() -> None:
        writes.append(1)

    def put(SecretId: str, SecretString: str) -> None:
        overwrite_once()
        secrets.value = before if len(writes) == 1 else SecretString

    secrets.put_secret_value = put  # type: ignore[method-assign]
    key = issue(LOCAL, "demo", secrets)
    assert shop_of(key, secrets) == "demo"
    assert len(writes) == 2


def test_a_shop_has_a_bounded_number_of_keys(secrets: Secrets) -> None:
    for _ in range(KEYS_PER_SHOP):
        issue(LOCAL, "demo", secrets)
    with pytest.raises(DeployError, match=f"--revoke {name_of(read(LOCAL, secrets)['demo'][0])}"):
        issue(LOCAL, "demo", secrets)


def test_an_unknown_shop_a_missing_stage_and_an_unknown_name_are_told(secrets: Secrets) -> None:
    with pytest.raises(DeployError, match=r"no shop 'nobody'.*\[local.shops\]"):
        issue(LOCAL, "nobody", secrets)
    secrets.exists = False
    with pytest.raises(DeployError, match="make deploy STAGE=local"):
        issue(LOCAL, "demo", secrets)
    for name in ("", "0123", "not hexadecimal"):
        with pytest.raises(DeployError, match="0 secret keys of shop 'demo'"):
            revoke(LOCAL, "demo", name, secrets)


def test_the_command_prints_the_key_once_and_lists_names_only(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boto3.Session, "client", lambda self, service: secrets)
    assert main(["--stage", "local", "--list"]) == 0
    assert "no secret key" in capsys.readouterr().out
    assert main(["--stage", "local", "--shop", "demo"]) == 0
    key = capsys.readouterr().out.splitlines()[0]
    assert shop_of(key, secrets) == "demo"
    assert main(["--stage", "local", "--list"]) == 0
    listed = capsys.readouterr().out
    name = digest(key)[:8]
    assert name in listed
    assert key not in listed
    assert main(["--stage", "local", "--shop", "demo", "--revoke", name]) == 0
    assert "5 minutes" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--stage", "local"])
