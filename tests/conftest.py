"""Preparation that parallel test processes share, and one browser and one trained model per test process."""

import functools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import hypothesis
import pytest
from _pytest.unraisableexception import gc_collect_iterations_key
from botocore.loaders import JSONFileLoader

from deploy import build_layers
from local import lambda_venv
from tests.missing import missing

# Threads of torch, here and in every job that a test starts, would wait in busy loops that take the core from other processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if shutil.which("python3") and (shutil.which("cc") or shutil.which("gcc")):
    os.environ["PATH"] = os.pathsep.join([str(Path(__file__).with_name("compiler")), os.environ["PATH"]])
# Every session of botocore parses the descriptions of its services again, and most tests have a session of their own.
_parsed = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
JSONFileLoader.load_file = lambda self, file_path: _parsed(file_path)
# A busy machine takes any time for an example.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def pytest_configure(config: pytest.Config) -> None:
    """Build missing layers and the environment of Lambda workers once, before test processes start.

    Unit tests need neither.
    """
    # At its end, each process collects garbage five times otherwise, in seconds.
    config.stash[gc_collect_iterations_key] = 1
    only_unit = all("unit" in Path(argument).parts for argument in config.args)
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput") and not only_unit:
        lambda_venv.ensure(lambda_venv.location())
        for name in build_layers.NAMES:
            if build_layers.built(name) is None:
                build_layers.build(name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Forget the session of boto3, which would give the keys of an earlier test of this process to this one."""
    boto3.DEFAULT_SESSION = None


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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Train one model on a small shop, which the tests of the archive, the gate and the endpoint share."""
    from tests.unit.training_jobs.conftest import train_small_shop

    return train_small_shop(tmp_path_factory.mktemp("shop"))
