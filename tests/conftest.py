"""Preparation that parallel test processes share, and one browser per test process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import build_layers
from local import lambda_venv
from tests.missing import missing

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def pytest_configure(config: pytest.Config) -> None:
    """Build missing layers and the environment of Lambda workers once, before test processes start."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        lambda_venv.ensure(lambda_venv.location())
        for name in build_layers.NAMES:
            if build_layers.built(name) is None:
                build_layers.build(name)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Run one Chromium per test process, which is the limit of Playwright's synchronous API."""
    if not CHROMIUM.exists():
        missing(str(CHROMIUM), "apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()
