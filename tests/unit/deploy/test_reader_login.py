"""The login of dashboards, against a fake Snowflake that knows owners, users and grants."""

import json

import pytest
from botocore.exceptions import ClientError

from deploy import reader_login, warehouse_setup
from functions.platform.warehouse import Credentials
from local.warehouse.access import keys
from local.warehouse.access.account import Account, Thing
from sql.setup.apply import render
from tests.unit.deploy.test_warehouse_setup import PIPELINE, STAGE, account
from tests.unit.deploy.test_warehouse_setup import Secrets as Logins

ACCOUNT_ID = "123456789012"
USER, ROLE = "TUGBOAT_DEV_DASHBOARDS", "TUGBOAT_DEV_READER"
__all__ = ["account"]


class Secrets(Logins):
    """Secrets Manager that also stores."""

    def create_secret(self, Name: str, SecretString: str) -> None:
        if Name in self.logins:
            raise ClientError({"Error": {"Code": "ResourceExistsException"}}, "CreateSecret")
        self.put_secret_value(Name, SecretString)

    def put_secret_value(self, SecretId: str, SecretString: str) -> None:
        self.logins[SecretId] = Credentials(**json.loads(SecretString))


@pytest.fixture
def secrets(account: Account) -> Secrets:
    """Set the warehouse up, so that the reader's role exists."""
    given = Secrets(admin=True)
    warehouse_setup.set_up(STAGE, ACCOUNT_ID, given, lambda _: None)
    return given


def silent(_: str) -> None:
    pass


def test_the_user_has_the_reader_s_role_only_and_its_key_is_stored(
    account: Account, secrets: Secrets
) -> None:
    login = reader_login.create(STAGE, ACCOUNT_ID, secrets, silent)
    assert (login.user, login.role, login.warehouse) == (USER, ROLE, f"{PIPELINE.warehouse}_READERS")
    assert secrets.logins[STAGE.reader_secret_name] == login
    user = account.objects[Thing("USER", USER)]
    assert account.parents[Thing("USER", USER)] == {ROLE}
    assert user.properties["TYPE"] == "SERVICE"
    assert user.properties["DEFAULT_SECONDARY_ROLES"] == []
    private = login.private_key_pem.encode()
    assert user.properties["RSA_PUBLIC_KEY"].replace("\n", "") in keys._public_key(private).replace("\n", "")


def test_a_second_call_replaces_the_key(account: Account, secrets: Secrets) -> None:
    first = reader_login.create(STAGE, ACCOUNT_ID, secrets, silent)
    second = reader_login.create(STAGE, ACCOUNT_ID, secrets, silent)
    assert second.private_key_pem != first.private_key_pem
    assert secrets.logins[STAGE.reader_secret_name] == second


def test_a_stored_login_is_used_as_it_is(secrets: Secrets) -> None:
    first = reader_login.ensure(STAGE, ACCOUNT_ID, secrets, silent)
    del secrets.logins[STAGE.admin_secret_name]
    assert reader_login.ensure(STAGE, ACCOUNT_ID, secrets, silent) == first


def test_without_an_administrator_the_next_step_is_named(account: Account) -> None:
    with pytest.raises(warehouse_setup.SetUpError, match=r"python -m deploy.reader_login --stage dev"):
        reader_login.ensure(STAGE, ACCOUNT_ID, Secrets(admin=False), silent)


def test_before_the_setup_the_missing_role_is_named(account: Account) -> None:
    with pytest.raises(warehouse_setup.SetUpError, match="deploy the stage before its dashboards"):
        reader_login.create(STAGE, ACCOUNT_ID, Secrets(admin=True), silent)


def test_a_teardown_drops_the_user(account: Account, secrets: Secrets) -> None:
    reader_login.create(STAGE, ACCOUNT_ID, secrets, silent)
    assert warehouse_setup.tear_down(STAGE, ACCOUNT_ID, secrets, silent)
    assert Thing("USER", USER) not in account.objects


def test_the_statements_render_completely() -> None:
    values = warehouse_setup.setup_parameters(STAGE, ACCOUNT_ID, PIPELINE)
    assert "{{" not in render(reader_login.READER_FILE.read_text(), values)
