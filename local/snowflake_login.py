"""The local Snowflake's login where the product looks for it: a key pair of its own, stored in the local Secrets Manager."""

from __future__ import annotations

import json

from local.environment import HOST, Stack, client_environment

SECRET_NAME = "tugboat/local/snowflake"
DATABASE = "TUGBOAT"


def ensure(stack: Stack) -> None:
    """Stores the secret, which the AWS process keeps in memory only."""
    import boto3

    environment = client_environment(stack)
    secrets = boto3.client(
        "secretsmanager",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    login = {
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
    try:
        secrets.create_secret(Name=SECRET_NAME, SecretString=json.dumps(login))
    except secrets.exceptions.ResourceExistsException:
        secrets.put_secret_value(SecretId=SECRET_NAME, SecretString=json.dumps(login))


def _private_key(stack: Stack) -> str:
    """An RSA key in PEM, made once per state folder: the connector signs with it as it does for a real account."""
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
