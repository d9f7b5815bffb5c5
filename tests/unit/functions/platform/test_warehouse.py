import json
from typing import Any

import pytest
from snowflake.connector.errors import OperationalError, ProgrammingError

from functions.platform import warehouse

FIELDS = {
    "account": "acme",
    "user": "TUGBOAT",
    "private_key_pem": "-----KEY-----",
    "role": "ROLE",
    "warehouse": "WH",
    "database": "DB",
}


class FakeSecrets:
    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def get_secret_value(self, SecretId: str) -> dict[str, str]:
        return {"SecretString": json.dumps(self._fields)}


def test_a_secret_of_a_snowflake_account_needs_no_host() -> None:
    credentials = warehouse.read_credentials(FakeSecrets(FIELDS), "tugboat/dev/snowflake")
    assert (credentials.host, credentials.port, credentials.protocol) == (None, 443, "https")


def test_an_incomplete_secret_is_an_error_that_names_the_missing_fields() -> None:
    with pytest.raises(warehouse.SecretIncomplete, match="tugboat/dev/snowflake lacks role"):
        warehouse.read_credentials(FakeSecrets(FIELDS | {"role": ""}), "tugboat/dev/snowflake")


def test_the_key_is_not_shown_with_the_credentials() -> None:
    assert "KEY" not in repr(warehouse.read_credentials(FakeSecrets(FIELDS), "s"))


def test_an_unreachable_service_is_distinguished_from_a_wrong_statement() -> None:
    assert warehouse.is_unreachable(OperationalError(msg="could not connect", errno=250001))
    assert not warehouse.is_unreachable(ProgrammingError(msg="no such table", errno=2003))
