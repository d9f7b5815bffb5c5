"""The rooms of functions/: steps import platform/ and never each other; app.py is a table of contents."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
FUNCTIONS = REPOSITORY / "functions"
FILES = sorted(FUNCTIONS.rglob("*.py"))
STEPS = {path.name for path in FUNCTIONS.iterdir() if (path / "__init__.py").exists()} - {"platform"}
# They import the steps: the handlers of the Lambdas and of the jobs.
ENTRY_POINTS = ("job.py", "wiring.py")
APP = ast.parse((REPOSITORY / "app.py").read_text())
HANDLERS = [node for node in APP.body if isinstance(node, ast.FunctionDef)]


def imported_rooms(file: Path) -> Iterator[str]:
    """Yield the folder or module below functions/ of every import in the file, lazy ones included."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("functions."))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FUNCTIONS)))
def test_a_step_imports_itself_and_platform_and_platform_imports_no_step(file: Path) -> None:
    room = file.relative_to(FUNCTIONS).parts[0]
    if room not in ENTRY_POINTS:
        assert set(imported_rooms(file)) <= {room, "platform"}


def test_every_step_has_an_entry_point_of_its_own_name() -> None:
    entries = {step: (FUNCTIONS / step / f"{step}.py").read_text() for step in STEPS}
    plain = STEPS - {"collect", "scripts"}  # several routes each
    assert [step for step in sorted(plain) if f"\ndef {step}(" not in entries[step]] == []


def test_packages_forward_nothing() -> None:
    inits = [file for file in FILES if file.name == "__init__.py"]
    assert [file for file in inits if list(imported_rooms(file))] == []


def test_app_py_is_a_table_of_contents() -> None:
    assert HANDLERS
    assert len((REPOSITORY / "app.py").read_text().splitlines()) <= 80
    assert [handler.name for handler in HANDLERS if len(handler.body) > 3] == []
