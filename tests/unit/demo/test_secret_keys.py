"""The secret keys of a command: issued when a shop first needs one, and revoked at its end."""

from typing import Any, cast

import pytest

from demo.environment import Environment
from demo.secret_keys import temporary_secret_keys
from deploy import secret_key
from deploy.command import DeployError
from deploy.secret_key import read
from tests.unit.deploy.test_secret_key import LOCAL, Secrets, shop_of


class Where:
    """A stage whose Secrets Manager is a fake."""

    stage = "local"

    def __init__(self, secrets: Secrets) -> None:
        self.secrets = secrets

    def client(self, service: str) -> Any:
        assert service == "secretsmanager"
        return self.secrets


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> Where:
    monkeypatch.setattr(secret_key, "PAUSE_S", 0)
    return Where(Secrets())


def test_a_shop_has_one_key_for_the_command_and_none_after_it(where: Where) -> None:
    with temporary_secret_keys(cast(Environment, where)) as key_of:
        assert read(LOCAL, where.secrets) == {}
        assert key_of("demo") == key_of("demo") != key_of("serenade")
        assert shop_of(key_of("demo"), where.secrets) == "demo"
    assert read(LOCAL, where.secrets) == {}


def test_a_command_that_fails_leaves_no_key(where: Where) -> None:
    def stopped() -> None:
        with temporary_secret_keys(cast(Environment, where)) as key_of:
            key_of("demo")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert read(LOCAL, where.secrets) == {}


def test_an_unknown_shop_gets_no_key(where: Where) -> None:
    with (
        pytest.raises(DeployError, match="no shop 'nobody'"),
        temporary_secret_keys(cast(Environment, where)) as key_of,
    ):
        key_of("nobody")
