"""What two test processes at once share is made before they start; and the browser that a process's tests share."""

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
    """Builds the layers and the Lambda runtime, where they are missing, in the process that starts the others."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        lambda_venv.ensure(lambda_venv.location())
        for name in build_layers.NAMES:
            if build_layers.built(name) is None:
                build_layers.build(name)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running Chromium: one a process, as Playwright's synchronous API allows."""
    if not CHROMIUM.exists():
        missing(str(CHROMIUM), "apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()
