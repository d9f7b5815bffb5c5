"""Render and run the .sql files beside this module, in order. `python -m deploy.warehouse_setup` is their command."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from functions.platform.settings import SHARED
from functions.platform.warehouse import Credentials

SETUP = Path(__file__).parent
WITH_PIPE, WITHOUT_PIPE = "6_pipe.sql", "6_no_pipe.sql"
PIPE = "EVENT_PIPE"
PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")
# A parameter of a statement is a plain identifier, a whole number, or the address of a bucket or role.
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
NUMBER = re.compile(r"\d{1,6}")
ADDRESS = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|arn:aws:iam::\d{12}:role/[\w+=,.@/-]+")


class UnsafeParameter(ValueError):
    """A value that could end its identifier or string and start a statement of its own."""


def parameters(
    credentials: Credentials,
    stage: str,
    account: str,
    storage_role_arn: str,
    *,
    warehouse_size: str,
    step_warehouse_sizes: Mapping[str, str],
    statement_timeout_seconds: int,
    credits_per_month: int,
    reader_credits_per_month: int,
    snowpipe: bool,
) -> dict[str, str]:
    """Return every name and number that the .sql files use.

    A step whose size is `shared` uses the stage's warehouse, so its names are those of that warehouse.
    """
    of_steps = {"pipe": PIPE} if snowpipe else {}
    for step, size in step_warehouse_sizes.items():
        shared = size == SHARED
        of_steps[f"{step}_warehouse"] = credentials.warehouse if shared else credentials.step_warehouse(step)
        of_steps[f"{step}_warehouse_size"] = warehouse_size if shared else size
    return of_steps | {
        "database": credentials.database,
        "warehouse": credentials.warehouse,
        "reader_warehouse": f"{credentials.warehouse}_READERS",
        "warehouse_size": warehouse_size,
        "statement_timeout_seconds": str(statement_timeout_seconds),
        "credits_per_month": str(credits_per_month),
        "reader_credits_per_month": str(reader_credits_per_month),
        "role": credentials.role,
        "user": credentials.user,
        "reader_user": reader_user(stage),
        "prefix": role_prefix(stage),
        "integration": integration(stage),
        "events_bucket": f"tugboat-{stage}-events-{account}",
        "models_bucket": f"tugboat-{stage}-models-{account}",
        "storage_role_arn": storage_role_arn,
    }


def role_prefix(stage: str) -> str:
    """Return the start of the names of a stage's roles."""
    return "TUGBOAT" if stage == "local" else f"TUGBOAT_{stage.upper()}"


def reader_user(stage: str) -> str:
    """Return the name of the user that reads a stage's marts for dashboards."""
    return f"{role_prefix(stage)}_DASHBOARDS"


def integration(stage: str) -> str:
    """Return the name of a stage's storage integration."""
    return "TUGBOAT_S3" if stage == "local" else f"TUGBOAT_{stage.upper()}_S3"


def render(sql: str, values: Mapping[str, str]) -> str:
    """Fill in `{{ name }}`.

    Raises:
        UnsafeParameter: a value is no identifier, number, bucket name or role ARN.
    """
    for name, value in values.items():
        if not _allowed(name).fullmatch(value):
            raise UnsafeParameter(
                f"{name}={value!r} cannot be part of a statement: correct it in the stage's secret"
            )
    return PLACEHOLDER.sub(lambda match: values[match[1]], sql)


def rendered(values: Mapping[str, str]) -> dict[str, str]:
    """Return the statements of every file by the file's name, in order.

    Of the last two files one is left out: a stage either has a pipe or drops it.
    """
    skipped = WITHOUT_PIPE if "pipe" in values else WITH_PIPE
    files = sorted(file for file in SETUP.glob("*.sql") if file.name != skipped)
    return {file.name: render(file.read_text(), values) for file in files}


def apply(connection: Any, values: Mapping[str, str]) -> list[str]:
    """Run every file; return their names. The files switch to the roles that they need."""
    files = rendered(values)
    for sql in files.values():
        connection.execute_string(sql, remove_comments=True)
    return list(files)


def _allowed(name: str) -> re.Pattern[str]:
    if name.endswith(("_bucket", "_arn")):
        return ADDRESS
    return NUMBER if name.endswith(("_per_month", "_seconds")) else IDENTIFIER
