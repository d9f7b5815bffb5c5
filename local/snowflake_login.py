"""The logins of the local Snowflake, stored in the local Secrets Manager where the product reads them."""

from __future__ import annotations

import json
from typing import Any

from local.clients import aws_client
from local.environment import HOST, Stack

SECRET_NAME = "tugboat/local/snowflake"
ADMIN_SECRET_NAME = f"{SECRET_NAME}-admin"
DATABASE = "TUGBOAT"
USER = "TUGBOAT"
ROLE = "TUGBOAT_PIPELINE"


def ensure(stack: Stack) -> None:
    """Store both logins as secrets. The AWS process keeps secrets in memory only, so every start stores them again."""
    secrets = aws_client("secretsmanager", stack.aws_url)
    for name, fields in ((SECRET_NAME, login(stack)), (ADMIN_SECRET_NAME, admin_login(stack))):
        value = json.dumps(fields)
        try:
            secrets.create_secret(Name=name, SecretString=value)
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=name, SecretString=value)


def login(stack: Stack) -> dict[str, Any]:
    """Return the pipeline's login, the content of its secret."""
    return {
        "account": "local",
        "user": USER,
        # The warehouse process creates its first users with their keys.
        "private_key_pem": (stack.state / "warehouse" / f"{USER}.pem").read_text(),
        "role": ROLE,
        "warehouse": "TUGBOAT",
        "database": DATABASE,
        "host": HOST,
        "port": stack.warehouse_port,
        "protocol": "http",
    }


def admin_login(stack: Stack) -> dict[str, Any]:
    """Return the login of the account's administrator."""
    key = (stack.state / "warehouse" / "ADMINISTRATOR.pem").read_text()
    return {**login(stack), "user": "ADMINISTRATOR", "private_key_pem": key, "role": "ACCOUNTADMIN"}
