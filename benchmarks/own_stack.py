"""A separate local stack for a drill: on free ports, in a temporary folder, deployed as by `make up`."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from local.environment import Stack
from local.ports import free_port_base
from local.testing import running_stack
from testing import deployment
from testing.stage import Stage


@contextmanager
def deployed_stack() -> Iterator[Stage]:
    """Deploy the local stage on a new stack and delete the stack afterwards; clients find it in the environment."""
    with tempfile.TemporaryDirectory(prefix="tugboat-drill-") as name:
        folder = Path(name)
        (folder / "repository").mkdir()
        copy = deployment.copy_repository(folder / "repository")
        stack = Stack(free_port_base(), (folder / "state").resolve())
        with (
            running_stack(stack.state, stack.port_base) as environment,
            mock.patch.dict(os.environ, {**environment, "TUGBOAT_STAGE": "local"}),
        ):
            stage = Stage(copy, stack, environment)
            stage.deploy()
            yield stage
