"""What two test processes at once share is made before they start."""

import pytest

from local import lambda_venv
from statemachine import layers


def pytest_configure(config: pytest.Config) -> None:
    """Builds the layers and the Lambda runtime, where they are missing, in the process that starts the others."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        lambda_venv.ensure(lambda_venv.location())
        for name in layers.NAMES:
            if layers.built(name) is None:
                layers.build(name)
