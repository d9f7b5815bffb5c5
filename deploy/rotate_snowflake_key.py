"""Replace the key pair of the pipeline's Snowflake user.

Snowflake accepts two keys per user. The command stores a new key in the free place, and opens a session with it.
It then writes the key to the stage's secret, and removes the old one. After a failure the command can be repeated.
Lambdas read the secret at every invocation; a run that still logs in with the old key is retried by the state machine.
"""

import base64
import hashlib
import json
import sys
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from deploy import warehouse_setup
from deploy.command import Progress, Say, exit_status, stage_parser
from deploy.stages import Stage, read_stage
from deploy.warehouse_setup import SetUpError
from functions.platform import warehouse

PLACES = ("RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2")


def rotate(stage: Stage, secrets: Any, say: Say) -> None:
    """Give the pipeline's user a new key.

    Raises:
        SetUpError: there is no administrator's login, or Snowflake refuses a statement.
    """
    from snowflake.connector.errors import Error

    login = warehouse.read_credentials(secrets, stage.secret_name)
    admin = warehouse_setup.admin_login(stage, secrets)
    if admin is None:
        raise SetUpError(
            f"only an administrator can change the key of user {login.user}, and there is no secret "
            f"{stage.admin_secret_name}. Create it with the fields of {stage.secret_name} for a user with the role "
            "ACCOUNTADMIN, run this command again, then delete it"
        )
    private_key, public_key = new_pair()
    try:
        with warehouse_setup.connection(admin) as connection:
            old, free = _places(connection, login)
            user = _identifier(login.user)
            connection.cursor().execute(f"alter user {user} set {free} = '{public_key}'")
            say(f"user {login.user}: a new key is in {free}")
            _prove(replace(login, private_key_pem=private_key))
            fields = json.loads(secrets.get_secret_value(SecretId=stage.secret_name)["SecretString"])
            secrets.put_secret_value(
                SecretId=stage.secret_name, SecretString=json.dumps(fields | {"private_key_pem": private_key})
            )
            say(f"secret {stage.secret_name}: holds the new key")
            connection.cursor().execute(f"alter user {user} unset {old}")
            say(f"user {login.user}: the old key is removed from {old}")
    except Error as error:
        raise SetUpError(
            f"user {admin.user} cannot rotate the key of user {login.user}: {error.msg}\n"
            "Correct the role in the administrator's secret, then run the same command again: the key in the stage's "
            "secret stays valid"
        ) from error


def _places(connection: Any, login: warehouse.Credentials) -> tuple[str, str]:
    """Return the place of the key that the secret holds, and the other one.

    Raises:
        SetUpError: Snowflake does not know the key of the secret.
    """
    rows = connection.cursor().execute(f"desc user {_identifier(login.user)}").fetchall()
    fingerprints = {str(row[0]): row[1] for row in rows}
    key = serialization.load_pem_private_key(login.private_key_pem.encode(), password=None)
    used = "SHA256:" + base64.b64encode(hashlib.sha256(_public_der(key)).digest()).decode()
    for place in PLACES:
        if fingerprints.get(f"{place}_FP") == used:
            return place, PLACES[1 - PLACES.index(place)]
    raise SetUpError(
        f"the key in the stage's secret is not a key of user {login.user}: store the right key in the secret, or set "
        "its public half by alter user ... set rsa_public_key, then run this command again"
    )


def _prove(login: warehouse.Credentials) -> None:
    """Open a session with the new key, before anything depends on it."""
    with warehouse_setup.connection(login) as connection:
        connection.cursor().execute("select 1")


def new_pair() -> tuple[str, str]:
    """Return a private key as PEM, and its public half as Snowflake stores it: base64 without header."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), base64.b64encode(_public_der(key)).decode()


def _public_der(key: Any) -> bytes:
    der: bytes = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return der


def _identifier(name: str) -> str:
    """Return a name that is safe in a statement, which cannot bind names of users."""
    from sql.setup.apply import render

    return render("{{ user }}", {"user": name})


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    import boto3

    parser = stage_parser("deploy.rotate_snowflake_key", __doc__, "--stage dev")
    args = parser.parse_args(arguments)

    def run() -> int:
        stage = read_stage(args.stage)
        rotate(stage, boto3.Session(region_name=stage.region).client("secretsmanager"), Progress())
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
