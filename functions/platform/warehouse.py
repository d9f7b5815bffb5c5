"""Access to Snowflake: the stage's secret, and a connection made from it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from functions.platform.errors import WarehouseUnavailable

# Snowflake connector: 250001..250003 could not connect, 390144 token not accepted yet (clock), 604 cancelled.
UNREACHABLE_ERRNOS = frozenset({250001, 250002, 250003, 251011, 390144, 604})
LOGIN_TIMEOUT_S = 30


class SecretIncomplete(Exception):
    """The stage's Snowflake secret lacks a field. The message names it."""


@dataclass(frozen=True)
class Credentials:
    """The content of the stage's secret. Host, port and protocol replace Snowflake's own address where given."""

    account: str
    user: str
    private_key_pem: str
    role: str
    warehouse: str
    database: str
    host: str | None = None
    port: int = 443
    protocol: str = "https"

    def step_warehouse(self, step: str) -> str:
        """Return the name of a step's own warehouse, which sql/setup creates if the stage sets its size."""
        return f"{self.warehouse}_{step.upper()}"

    def __repr__(self) -> str:
        """Return a text without the private key, fit for logs."""
        return f"Credentials(account={self.account!r}, user={self.user!r}, role={self.role!r})"


def read_credentials(secrets: Any, secret_id: str) -> Credentials:
    """Read a secret, JSON with the field names of Credentials, through a Secrets Manager client.

    Raises:
        SecretIncomplete: a required field is missing.
    """
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
    """Open a connection of the Snowflake connector, and close it at the end.

    Raises:
        WarehouseUnavailable: Snowflake did not answer, at the login or later.
    """
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
            # Validate's connection idles while dbt tests. Without a heartbeat, Snowflake ends it after four hours.
            client_session_keep_alive=True,
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
    """Return True if the connector's error means that the service, not the statement, failed."""
    return getattr(error, "errno", None) in UNREACHABLE_ERRNOS


def rows(connection: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return all rows of a statement."""
    with connection.cursor() as cursor:
        return list(cursor.execute(sql, parameters or None).fetchall())


def stream(connection: Any, sql: str, parameters: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a statement, without all of them in memory."""
    with connection.cursor() as cursor:
        yield from cursor.execute(sql, parameters or None)


def one(connection: Any, sql: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """Return the only row of a statement that always returns one."""
    return rows(connection, sql, parameters)[0]


@lru_cache(maxsize=1)
def _der(private_key_pem: str) -> bytes:
    """Return the key in DER. Reading it takes 30 ms, because its primes are verified, and a step connects several times."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(private_key_pem.encode(), password=None)
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
