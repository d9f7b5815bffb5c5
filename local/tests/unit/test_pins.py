"""Pins of local/pyproject.toml against the installed packages."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["clients"]]
EXACT = re.compile(r"(?P<package>[\w-]+)(?:\[[\w,]+\])?==(?P<version>[\w.]+)")
PINS = {
    match["package"]: match["version"] for match in map(EXACT.fullmatch, REQUIREMENTS) if match is not None
}


def test_every_patched_package_is_pinned() -> None:
    patched = {"duckdb", "fakesnow", "jsonata-python", "moto", "sqlglot"}
    assert patched <= set(PINS)


@pytest.mark.parametrize(("package", "pin"), PINS.items())
def test_the_installed_version_is_the_pinned_one(package: str, pin: str) -> None:
    assert version(package) == pin, (
        f"{package} {version(package)} is installed. Read the comments on its patches in local/, "
        f"run local/tests/integration, then change the pin in local/pyproject.toml."
    )
