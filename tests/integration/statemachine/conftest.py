"""One AWS process for all tests of the state machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.tests.integration.aws.clients import Aws, running_aws


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with running_aws(tmp_path_factory.mktemp("local-aws")) as aws:
        yield aws
