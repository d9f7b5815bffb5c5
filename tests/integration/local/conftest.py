"""One AWS process for all contract tests of local/aws; its state lies in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from local_aws import Aws

from local.environment import Stack
from local.testing import free_port_base, running_stack


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    state: Path = tmp_path_factory.mktemp("local-aws")
    base = free_port_base()
    with running_stack(state, base, warehouse=False) as environment:
        yield Aws(environment, Stack(base, state))
