"""One AWS process for all contract tests of local/aws, with its state in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.environment import Stack
from local.ports import free_port_base
from local.testing import running_stack
from local.tests.integration.aws.clients import EVERYTHING, ROLE, Aws


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """Run the AWS process."""
    state: Path = tmp_path_factory.mktemp("local-aws")
    base = free_port_base()
    with running_stack(state, base, warehouse=False) as environment:
        aws = Aws(environment, Stack(base, state))
        aws.make_role(ROLE.rpartition("/")[2], EVERYTHING)
        yield aws
