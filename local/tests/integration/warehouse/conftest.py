"""One local stack for the contract tests of local/warehouse, and connections to its Snowflake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import snowflake.connector

from local import snowflake_login
from local.clients import aws_client
from local.environment import Stack
from local.ports import free_port_base
from local.testing import running_stack

DATABASE = "CONTRACT"
SET_UP = (
    f"create database if not exists {DATABASE}",
    *(f"create schema if not exists {DATABASE}.{schema}" for schema in ("RAW", "EXPORTED", "QA")),
    "create warehouse if not exists COMPUTE warehouse_size = 'XSMALL' auto_suspend = 60",
    "create storage integration if not exists S3 type = external_stage storage_provider = 'S3' enabled = true "
    "storage_aws_role_arn = 'arn:aws:iam::123456789012:role/r' storage_allowed_locations = ('s3://events/', 's3://exports/')",
    f"create file format if not exists {DATABASE}.RAW.JSON_LINES type = json comment = 'Gzipped JSON lines'",
    f"create stage if not exists {DATABASE}.RAW.FILES url = 's3://events/raw/' storage_integration = S3",
    f"create stage if not exists {DATABASE}.EXPORTED.FILES url = 's3://exports/out/' storage_integration = S3",
)


@dataclass(frozen=True)
class Snowflake:
    """A running local Snowflake and the S3 that its stages refer to."""

    stack: Stack
    s3: Any

    @contextmanager
    def connect(self, database: str = DATABASE) -> Iterator[Any]:
        """Open a session of the administrator and close it at the end."""
        login = snowflake_login.admin_login(self.stack)
        with snowflake.connector.connect(
            account=login["account"],
            user=login["user"],
            private_key_file=str(self.stack.state / "warehouse" / "ADMINISTRATOR.pem"),
            role=login["role"],
            warehouse="COMPUTE",
            database=database,
            host=login["host"],
            port=login["port"],
            protocol=login["protocol"],
            session_parameters={"TIMEZONE": "UTC"},
        ) as connection:
            yield connection

    def set_up(self) -> None:
        """Create the database, its schemas, stages and file format, and the AWS role that trusts Snowflake."""
        with self.connect() as connection:
            for statement in SET_UP:
                rows(connection, statement)
            described = {row[0]: row[2] for row in rows(connection, "desc integration S3")}
        iam = aws_client("iam", self.stack.aws_url)
        iam.create_role(
            RoleName="r",
            AssumeRolePolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"AWS": described["STORAGE_AWS_IAM_USER_ARN"]},
                            "Action": "sts:AssumeRole",
                            "Condition": {
                                "StringEquals": {"sts:ExternalId": described["STORAGE_AWS_EXTERNAL_ID"]}
                            },
                        }
                    ],
                }
            ),
        )
        allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        iam.put_role_policy(
            RoleName="r",
            PolicyName="own",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
        )


def rows(connection: Any, statement: str) -> list[tuple[Any, ...]]:
    """Execute a statement; return its rows."""
    with connection.cursor() as cursor:
        found: list[tuple[Any, ...]] = cursor.execute(statement).fetchall()
        return found


@pytest.fixture(scope="session")
def snowflake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snowflake]:
    """Run a local stack with the database CONTRACT."""
    state: Path = tmp_path_factory.mktemp("local-snowflake")
    stack = Stack(free_port_base(), state)
    with running_stack(stack.state, stack.port_base):
        server = Snowflake(stack, aws_client("s3", stack.aws_url))
        for bucket in ("events", "exports"):
            server.s3.create_bucket(Bucket=bucket)
        server.set_up()
        yield server
