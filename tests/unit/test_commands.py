"""Every command line of the project shows an example of itself."""

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(
    ["git", "ls-files", "*.py"], cwd=REPOSITORY, capture_output=True, text=True, check=True
).stdout.split()
COMMANDS = [
    path for path in TRACKED if "tests/" not in path and "ArgumentParser(" in (REPOSITORY / path).read_text()
]


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_of_a_command_ends_with_an_example(path: str) -> None:
    assert re.search(r"epilog=f?['\"]example: ", (REPOSITORY / path).read_text())


def test_make_help_has_a_line_for_every_target() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE)
    described = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)
    assert len(described) > 20
    assert sorted(described) == sorted(targets)
