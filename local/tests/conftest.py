"""Preparation that parallel test processes share."""

import pytest

from local import lambda_venv


def pytest_configure(config: pytest.Config) -> None:
    """Create the environment of Lambda workers once, before test processes start."""
    if not hasattr(config, "workerinput"):
        lambda_venv.ensure(lambda_venv.location())
