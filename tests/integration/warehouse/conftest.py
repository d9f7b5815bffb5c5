"""One local stack for all tests of the warehouse steps."""

from collections.abc import Callable, Iterator

import pytest

from local import environment
from local.ports import free_port_base
from local.testing import running_stack
from testing.warehouse_stack import Stack, stack_maker


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
