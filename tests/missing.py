"""Skip on a developer's machine, fail in CI: for tests that need a program which can be installed."""

import os
from typing import NoReturn

import pytest


def missing(what: str, remedy: str) -> NoReturn:
    """Skip the test because `what` is missing, or fail it where the variable CI is set."""
    reason = f"{what} is missing: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI is set, so this test must not be skipped)", pytrace=False)
    pytest.skip(reason)
