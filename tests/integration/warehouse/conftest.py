"""A local stack for tests of the warehouse steps, and databases of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from functions.platform import warehouse
from functions.platform.settings import WarehouseSettings
from local import environment, snowflake_login
from local.clients import aws_client
from local.ports import free_port_base
from local.testing import running_stack
from sql.setup.apply import apply, parameters

ACCOUNT = "123456789012"


@dataclass(frozen=True)
class Stack:
    """One database, its buckets and its settings."""

    s3: Any
    settings: WarehouseSettings
    credentials: warehouse.Credentials


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[environment.Stack]:
    """Run a local AWS and a local Snowflake."""
    stack = environment.Stack(free_port_base(), tmp_path_factory.mktemp("warehouse"))
    with running_stack(stack.state, stack.port_base):
        yield stack


@pytest.fixture(scope="session")
def new_stack(local_stack: environment.Stack) -> Callable[[str], Stack]:
    """Return a function that creates a database and buckets: `new_stack("late")`."""
    return stack_maker(local_stack)


def stack_maker(local_stack: environment.Stack) -> Callable[[str], Stack]:
    """Return a function that creates a database and buckets on this stack."""
    s3 = aws_client("s3", local_stack.aws_url)
    secrets = aws_client("secretsmanager", local_stack.aws_url)
    credentials = warehouse.read_credentials(secrets, snowflake_login.SECRET_NAME)

    def make(name: str) -> Stack:
        own = replace(credentials, database=f"TUGBOAT_{name.upper()}")
        settings = WarehouseSettings(
            stage=name,
            events_bucket=f"tugboat-{name}-events-{ACCOUNT}",
            models_bucket=f"tugboat-{name}-models-{ACCOUNT}",
            snowflake_secret=f"tugboat/{name}/snowflake",
            shop="demo",
            training_days=3650,
        )
        s3.create_bucket(Bucket=settings.events_bucket)
        s3.create_bucket(Bucket=settings.models_bucket)
        with warehouse.connect(own) as connection:
            apply(connection, parameters(own, name, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/tugboat"))
        return Stack(s3, settings, own)

    return make


@contextmanager
def connected(stack: Stack) -> Iterator[Any]:
    """Open a connection to the database of a stack."""
    with warehouse.connect(stack.credentials) as connection:
        yield connection
