"""One AWS process for all contract tests of local/aws, with its state in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.tests.integration.aws.clients import Aws, running_aws


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """Run the AWS process."""
    with running_aws(tmp_path_factory.mktemp("local-aws")) as aws:
        yield aws
