"""One local stack for all tests of the warehouse steps."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from snowflake.connector.auth import keypair

from local import environment
from local.ports import free_port_base
from local.testing import running_stack
from testing import parsed_once
from testing.warehouse_stack import Stack, stack_maker

# Every connection reads and verifies the same private key again, which takes 30 ms.
_logins: Any = keypair
_logins.load_der_private_key = functools.cache(load_der_private_key)
parsed_once.install()


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[environment.Stack]:
    """Run a local AWS and a local Snowflake."""
    stack = environment.Stack(free_port_base(), tmp_path_factory.mktemp("warehouse"))
    with running_stack(stack.state, stack.port_base):
        yield stack


@pytest.fixture(scope="session")
def new_stack(local_stack: environment.Stack) -> Callable[..., Stack]:
    """Return a function that creates a database and buckets: `new_stack("late", load_by="snowpipe")`."""
    return stack_maker(local_stack)
