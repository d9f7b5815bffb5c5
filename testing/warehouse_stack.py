"""Databases of their own on one local stack, with buckets, roles and settings, for the warehouse steps."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from deploy.stages import read_stage
from deploy.warehouse_setup import setup_parameters, trust_parameters
from functions.platform import warehouse
from functions.platform.settings import EraseSettings, WarehouseSettings
from local import environment, snowflake_login
from local.clients import aws_client
from sql.setup.apply import apply, role_prefix

ACCOUNT = "123456789012"


@dataclass(frozen=True)
class Stack:
    """One database, its buckets and its settings."""

    s3: Any
    settings: WarehouseSettings
    credentials: warehouse.Credentials
    admin: warehouse.Credentials


def stack_maker(local_stack: environment.Stack) -> Callable[..., Stack]:
    """Return a function that creates a database and buckets on this stack."""
    s3 = aws_client("s3", local_stack.aws_url)
    secrets = aws_client("secretsmanager", local_stack.aws_url)
    iam = aws_client("iam", local_stack.aws_url)
    credentials = warehouse.read_credentials(secrets, snowflake_login.SECRET_NAME)
    administrator = warehouse.read_credentials(secrets, snowflake_login.ADMIN_SECRET_NAME)

    def make(name: str, **changed: Any) -> Stack:
        known_as = f"TUGBOAT_{name.upper()}"
        own = replace(credentials, role=known_as, database=known_as, warehouse=known_as)
        admin = replace(administrator, database=known_as, warehouse=known_as)
        settings = WarehouseSettings(
            stage=name,
            events_bucket=f"tugboat-{name}-events-{ACCOUNT}",
            models_bucket=f"tugboat-{name}-models-{ACCOUNT}",
            snowflake_secret=f"tugboat/{name}/snowflake",
            shop="demo",
            training_days=3650,
            load_by=changed.get("load_by", "copy"),
        )
        s3.create_bucket(Bucket=settings.events_bucket)
        s3.create_bucket(Bucket=settings.models_bucket)
        stage = replace(read_stage("local"), name=name, **changed)
        with warehouse.connect(admin) as connection:
            apply(connection, setup_parameters(stage, ACCOUNT, own))
        for secret, login in ((stage.secret_name, own), (stage.admin_secret_name, admin)):
            secrets.create_secret(Name=secret, SecretString=json.dumps(asdict(login)))
        trusted = trust_parameters(stage, secrets)
        iam.create_role(
            RoleName=f"{stage.prefix}-snowflake",
            AssumeRolePolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"AWS": trusted["SnowflakeUserArn"]},
                            "Action": "sts:AssumeRole",
                            "Condition": {"StringEquals": {"sts:ExternalId": trusted["SnowflakeExternalId"]}},
                        }
                    ],
                }
            ),
        )
        allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        iam.put_role_policy(
            RoleName=f"{stage.prefix}-snowflake",
            PolicyName="own",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
        )
        return Stack(s3, settings, own, admin)

    return make


def erase_settings(stack: Stack) -> EraseSettings:
    """Return the settings of an erasure on a stack."""
    given = stack.settings
    return EraseSettings(
        stage=given.stage,
        events_bucket=given.events_bucket,
        models_bucket=given.models_bucket,
        snowflake_secret=given.snowflake_secret,
        eraser_role=f"{role_prefix(given.stage)}_ERASER",
        erasures_secret=f"tugboat/{given.stage}/erasures",
        exports_expire_days=30,
        training_days=given.training_days,
    )


@contextmanager
def connected(stack: Stack) -> Iterator[Any]:
    """Open a connection to the database of a stack, under the pipeline's role."""
    with warehouse.connect(stack.credentials) as connection:
        yield connection


@contextmanager
def connected_as_sysadmin(stack: Stack) -> Iterator[Any]:
    """Open a connection that sees all tables, also those that the pipeline only writes."""
    with warehouse.connect(stack.admin) as connection:
        connection.cursor().execute("use role SYSADMIN")
        yield connection


def tables_as_text(stack: Stack, tables: Mapping[str, str]) -> dict[str, list[list[str]]]:
    """Return the rows of each query by its name; NULL is an empty text."""
    with connected(stack) as connection:
        return {
            name: [
                ["" if value is None else str(value) for value in row]
                for row in warehouse.rows(connection, sql)
            ]
            for name, sql in tables.items()
        }
