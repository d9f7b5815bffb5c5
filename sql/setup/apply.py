"""Run the .sql files of this folder in order, with the stage's names filled in.

The login is the stage's secret in Secrets Manager (tugboat/<stage>/snowflake), on a laptop, in CI and on the local stack.

    python -m sql.setup.apply --stage dev --admin-secret tugboat/dev/snowflake-admin
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from functions.platform import warehouse

SETUP = Path(__file__).parent
PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")
# A parameter of a statement is a plain identifier, or the address of a bucket or role.
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
ADDRESS = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|arn:aws:iam::\d{12}:role/[\w+=,.@/-]+")


class UnsafeParameter(ValueError):
    """A value that could end its identifier or string and start a statement of its own."""


def parameters(
    credentials: warehouse.Credentials, stage: str, account: str, storage_role_arn: str
) -> dict[str, str]:
    """Every name the .sql files use."""
    suffix = "" if stage == "local" else f"_{stage.upper()}"
    return {
        "database": credentials.database,
        "warehouse": credentials.warehouse,
        "role": credentials.role,
        "user": credentials.user,
        "prefix": f"TUGBOAT{suffix}",
        "integration": f"TUGBOAT{suffix}_S3",
        "events_bucket": f"tugboat-{stage}-events-{account}",
        "models_bucket": f"tugboat-{stage}-models-{account}",
        "storage_role_arn": storage_role_arn,
    }


def render(sql: str, values: Mapping[str, str]) -> str:
    """Fill `{{ name }}` in; only identifiers, bucket names and role ARNs are let through."""
    for name, value in values.items():
        allowed = ADDRESS if name.endswith(("_bucket", "_arn")) else IDENTIFIER
        if not allowed.fullmatch(value):
            raise UnsafeParameter(
                f"{name}={value!r} cannot be part of a statement: correct it in the stage's secret"
            )
    return PLACEHOLDER.sub(lambda match: values[match[1]], sql)


def apply(connection: Any, values: Mapping[str, str]) -> list[str]:
    """Run every file; returns their names."""
    files = sorted(SETUP.glob("*.sql"))
    for file in files:
        connection.execute_string(render(file.read_text(), values), remove_comments=True)
    return [file.name for file in files]


def set_up(
    stage: str,
    account: str,
    secrets: Any,
    admin_secret: str | None = None,
    storage_role_arn: str | None = None,
) -> list[str]:
    """Set a stage's Snowflake up, with the login of `admin_secret` or else the pipeline's own."""
    values = _stage_parameters(stage, account, secrets, storage_role_arn)
    login = warehouse.read_credentials(secrets, admin_secret or _secret(stage))
    with warehouse.connect(login) as connection:
        return apply(connection, values)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    import boto3

    parser = argparse.ArgumentParser(
        prog="python -m sql.setup.apply",
        description=(__doc__ or "").split("\n")[0],
        epilog="example: python -m sql.setup.apply --stage dev --account 123456789012",
    )
    parser.add_argument("--stage", required=True, help="local, dev or prod")
    parser.add_argument(
        "--account", required=True, help="the AWS account's id, which the bucket names end with"
    )
    parser.add_argument(
        "--admin-secret", help="secret of a user with ACCOUNTADMIN (default: the pipeline's own)"
    )
    parser.add_argument(
        "--storage-role-arn", help="IAM role Snowflake assumes on S3 (default: tugboat-<stage>-snowflake)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the statements, run nothing")
    given = parser.parse_args(arguments)
    secrets = boto3.client("secretsmanager")
    if given.dry_run:
        values = _stage_parameters(given.stage, given.account, secrets, given.storage_role_arn)
        for file in sorted(SETUP.glob("*.sql")):
            sys.stdout.write(render(file.read_text(), values) + "\n")
        return
    for name in set_up(given.stage, given.account, secrets, given.admin_secret, given.storage_role_arn):
        sys.stdout.write(f"applied {name}\n")


def _stage_parameters(stage: str, account: str, secrets: Any, storage_role_arn: str | None) -> dict[str, str]:
    role_arn = storage_role_arn or f"arn:aws:iam::{account}:role/tugboat-{stage}-snowflake"
    return parameters(warehouse.read_credentials(secrets, _secret(stage)), stage, account, role_arn)


def _secret(stage: str) -> str:
    return f"tugboat/{stage}/snowflake"


if __name__ == "__main__":
    main()
