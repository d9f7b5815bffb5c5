"""Preparation that parallel test processes share."""

from pathlib import Path

import pytest

from local import lambda_venv


def pytest_configure(config: pytest.Config) -> None:
    """Create the environment of Lambda workers once, before test processes start. Unit tests do not need it."""
    only_unit = all("unit" in Path(argument).parts for argument in config.args)
    if not hasattr(config, "workerinput") and not only_unit:
        lambda_venv.ensure(lambda_venv.location())
