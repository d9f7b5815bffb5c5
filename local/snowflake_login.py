"""The login of the local Snowflake: a key pair per stack, stored in the local Secrets Manager where the product reads it."""

from __future__ import annotations

import json
from typing import Any

from local.clients import aws_client
from local.environment import HOST, Stack

SECRET_NAME = "tugboat/local/snowflake"
DATABASE = "TUGBOAT"


def ensure(stack: Stack) -> None:
    """Store the login as a secret. The AWS process keeps secrets in memory only, so every start stores it again."""
    secrets = aws_client("secretsmanager", stack.aws_url)
    value = json.dumps(login(stack))
    try:
        secrets.create_secret(Name=SECRET_NAME, SecretString=value)
    except secrets.exceptions.ResourceExistsException:
        secrets.put_secret_value(SecretId=SECRET_NAME, SecretString=value)


def login(stack: Stack) -> dict[str, Any]:
    """Return the content of the secret."""
    return {
        "account": "local",
        "user": "TUGBOAT",
        "private_key_pem": _private_key(stack),
        "role": "TUGBOAT_PIPELINE",
        "warehouse": "TUGBOAT",
        "database": DATABASE,
        "host": HOST,
        "port": stack.warehouse_port,
        "protocol": "http",
    }


def _private_key(stack: Stack) -> str:
    """Return an RSA key in PEM, created once per state folder. The connector signs with it as for a real account."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    file = stack.state / "snowflake.pem"
    if not file.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return file.read_text()
