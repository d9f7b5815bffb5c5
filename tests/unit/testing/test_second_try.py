"""The second try of `make test`, with pytest itself in a project of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testing.second_try import MOST, last_failed, refusal

ONCE = """
from pathlib import Path

def test_it():
    seen = Path("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""
NEVER = "def test_it():\n    assert False\n"


def tried_twice(project: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on one integration test and then the second try, as `make test` does."""
    folder = project / "tests" / "integration"
    folder.mkdir(parents=True)
    (folder / "test_own.py").write_text(source)
    (project / "pytest.ini").write_text("[pytest]\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)

    assert python("pytest").returncode == 1
    return python("testing.second_try")


def test_a_test_that_fails_once_passes_alone_and_is_named_flaky(tmp_path: Path) -> None:
    second = tried_twice(tmp_path, ONCE)
    assert second.returncode == 0
    assert "FLAKY: tests/integration/test_own.py::test_it failed, and passed alone" in second.stdout


def test_a_test_that_fails_twice_has_failed(tmp_path: Path) -> None:
    second = tried_twice(tmp_path, NEVER)
    assert second.returncode == 1
    assert "FLAKY" not in second.stdout
    assert last_failed(tmp_path / ".pytest_cache") == ["tests/integration/test_own.py::test_it"]


@pytest.mark.parametrize(
    ("failed", "why"),
    [
        ([], "pytest recorded no failed test"),
        ([f"tests/e2e/test_journey.py::test_{n}" for n in range(MOST + 1)], "5 tests failed"),
        (
            ["tests/e2e/test_journey.py::test_a", "tests/unit/test_b.py::test_b"],
            "tests/unit/test_b.py::test_b",
        ),
        (["local/tests/unit/test_b.py::test_b"], "a unit test gets no second try"),
    ],
)
def test_many_failures_and_those_of_unit_tests_get_no_second_try(failed: list[str], why: str) -> None:
    assert why in str(refusal(failed))


def test_a_few_failures_of_tests_with_processes_get_one() -> None:
    assert refusal(["tests/browser/test_a.py::test_a", "local/tests/integration/test_b.py::test_b"]) is None
