"""Checks of Snowflake: the login of the pipeline, its role, the account's region, and the login that sets the account up."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from botocore.exceptions import ClientError

from deploy.preflight.finding import Finding
from deploy.stages import Stage
from functions.platform import warehouse
from functions.platform.errors import WarehouseUnavailable

Connect = Callable[[warehouse.Credentials], AbstractContextManager[Any]]


def check_snowflake(stage: Stage, secrets: Any, connect: Connect = warehouse.connect) -> Iterator[Finding]:
    """Log in with the stage's secrets. Only `select current_...` statements run, which need no warehouse."""
    login, finding = _login(stage.secret_name, "Snowflake login", secrets, connect)
    yield finding
    if login is None:
        return
    region = finding.found.split()[0]
    wanted = f"AWS_{stage.region.replace('-', '_').upper()}"
    if region != wanted:
        yield Finding(
            "Snowflake region",
            "warning",
            f"the account is in {region}, the buckets are in {wanted}",
            "use an account of the same region: otherwise every load pays for the transfer between regions",
        )
    yield _admin(stage, secrets, connect)


def _admin(stage: Stage, secrets: Any, connect: Connect) -> Finding:
    """Check the login that sets up the account. Only a first deployment, and a change of sql/setup, need it."""
    subject = "Snowflake administrator"
    login, finding = _login(f"{stage.secret_name}-admin", subject, secrets, connect)
    if login is None and finding.found == "there is no such secret":
        return finding._replace(
            outcome="warning",
            fix=f"{finding.fix}. Only the first deployment and a change of sql/setup need it; delete it afterwards",
        )
    if login is not None and login.role.upper() != "ACCOUNTADMIN":
        return Finding(
            subject,
            "failed",
            f"the secret's role is {login.role}",
            f'write "role": "ACCOUNTADMIN" in the secret {stage.secret_name}-admin',
        )
    return finding


def _login(
    secret: str, subject: str, secrets: Any, connect: Connect
) -> tuple[warehouse.Credentials | None, Finding]:
    """Log in with a secret. The finding starts with the account's region if that succeeds."""
    from snowflake.connector.errors import Error

    try:
        login = warehouse.read_credentials(secrets, secret)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            return None, Finding(
                subject, "unchecked", str(error), f"allow secretsmanager:GetSecretValue on {secret}"
            )
        return None, Finding(
            subject,
            "failed",
            "there is no such secret",
            f"store the login as the secret {secret}: docs/deploy.md says how",
        )
    except (warehouse.SecretIncomplete, ValueError) as error:
        return None, Finding(
            subject, "failed", str(error), f"correct the secret {secret}: docs/deploy.md lists its fields"
        )
    try:
        with connect(login) as connection:
            region, user, role = warehouse.one(
                connection, "select current_region(), current_user(), current_role()"
            )
    except (Error, WarehouseUnavailable, ValueError) as error:
        return None, Finding(
            subject,
            "failed",
            f"user {login.user} cannot log in to {login.account}: {getattr(error, 'msg', error)}",
            f"check account, user, private_key_pem and role in the secret {secret}; "
            "the public half of the key must be the user's RSA_PUBLIC_KEY",
        )
    # An organisation with several groups of regions answers GROUP.REGION.
    plain = str(region).rpartition(".")[2].upper()
    if role is None:
        return None, Finding(
            subject,
            "failed",
            f"user {user} has no role {login.role}",
            f"grant role {login.role} to user {user}",
        )
    return login, Finding(subject, "passed", f"{plain} as {user}, role {role}")
