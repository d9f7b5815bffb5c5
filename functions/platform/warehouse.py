"""The way into Snowflake: the stage's secret, and a connection made from it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from functions.platform.errors import WarehouseUnavailable

# Snowflake connector: 250001..250003 could not connect, 390144 token not accepted yet (clock), 604 cancelled.
UNREACHABLE_ERRNOS = frozenset({250001, 250002, 250003, 251011, 390144, 604})
LOGIN_TIMEOUT_S = 30


class SecretIncomplete(Exception):
    """The stage's Snowflake secret lacks a field; the message says which."""


@dataclass(frozen=True)
class Credentials:
    """What the stage's secret holds. Host, port and protocol are for an account that is not at snowflakecomputing.com."""

    account: str
    user: str
    private_key_pem: str
    role: str
    warehouse: str
    database: str
    host: str | None = None
    port: int = 443
    protocol: str = "https"

    def __repr__(self) -> str:
        return f"Credentials(account={self.account!r}, user={self.user!r}, role={self.role!r})"


def read_credentials(secrets: Any, secret_id: str) -> Credentials:
    """Read a secret, JSON with Credentials' field names, through a Secrets Manager client."""
    fields = json.loads(secrets.get_secret_value(SecretId=secret_id)["SecretString"])
    required = ("account", "user", "private_key_pem", "role", "warehouse", "database")
    missing = [name for name in required if not fields.get(name)]
    if missing:
        raise SecretIncomplete(f"secret {secret_id} lacks {', '.join(missing)}: add them in Secrets Manager")
    return Credentials(
        **{name: str(fields[name]) for name in required},
        host=fields.get("host") or None,
        port=int(fields.get("port") or 443),
        protocol=fields.get("protocol") or "https",
    )


@contextmanager
def connect(credentials: Credentials) -> Iterator[Any]:
    """A session of the Snowflake connector, closed at the end; WarehouseUnavailable when none can be had."""
    from snowflake.connector import connect as open_connection
    from snowflake.connector.errors import Error

    address = {"host": credentials.host} if credentials.host else {}
    try:
        connection = open_connection(
            account=credentials.account,
            user=credentials.user,
            private_key=_der(credentials.private_key_pem),
            role=credentials.role,
            warehouse=credentials.warehouse,
            database=credentials.database,
            port=credentials.port,
            protocol=credentials.protocol,
            login_timeout=LOGIN_TIMEOUT_S,
            application="Tugboat",
            session_parameters={"TIMEZONE": "UTC", "QUERY_TAG": "tugboat"},
            **address,
        )
    except Error as error:
        if is_unreachable(error):
            raise WarehouseUnavailable(
                f"Snowflake does not answer: {error.msg}. Run the step again later."
            ) from error
        raise
    try:
        yield connection
    except Error as error:
        if is_unreachable(error):
            raise WarehouseUnavailable(f"Snowflake went away: {error.msg}. Run the step again.") from error
        raise
    finally:
        connection.close()


def is_unreachable(error: Any) -> bool:
    """Whether an error of the connector says that the service, not the statement, is at fault."""
    return getattr(error, "errno", None) in UNREACHABLE_ERRNOS


def rows(connection: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    with connection.cursor() as cursor:
        return list(cursor.execute(sql, parameters or None).fetchall())


def one(connection: Any, sql: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """The only row of a statement that always gives one."""
    return rows(connection, sql, parameters)[0]


def _der(private_key_pem: str) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(private_key_pem.encode(), password=None)
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
