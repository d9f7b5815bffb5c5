"""docs/architecture.md and its picture: they name what is there."""

import ast
import json
import re
from pathlib import Path
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "architecture.md").read_text()
OURS = (
    "functions",
    "training_jobs",
    "statemachine",
    "deploy",
    "sql",
    "local",
    "storefront",
    "demo",
    ".chalice",
)
PRODUCT = ("app.py", "functions", "training_jobs", "statemachine", "deploy", "sql", "storefront")
NOT_PRODUCT = {"demo", "local", "benchmarks", "tests", "testing"}


def test_every_file_and_folder_of_ours_that_is_named_exists() -> None:
    named = {
        name for name in re.findall(r"`([\w./*-]+)`", TEXT) if name.split("/")[0] in OURS and "/" in name
    }
    assert len(named) > 20
    assert [name for name in sorted(named) if not list(REPOSITORY.glob(name.rstrip("/")))] == []


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    assert [link for link in links if not (REPOSITORY / "docs" / link).exists()] == []


def test_every_step_of_the_pipeline_is_named_in_the_text_and_in_the_picture() -> None:
    states = json.loads((REPOSITORY / "statemachine" / "pipeline.asl.json").read_text())["States"]
    picture = (REPOSITORY / "docs" / "architecture.svg").read_text()
    helpers = {
        "Lock",
        "ReadEvaluation",
        "DescribeEndpoint",
        "Rollback",
        "Unlock",
        "StartLists",
        "NotifySuccess",
        "UnlockAfterFailure",
        "StartListsAfterFailure",
        "NotifyFailure",
        "Failed",
    }
    steps = {name for name, state in states.items() if state["Type"] == "Task"} - helpers
    assert {step for step in steps if step not in TEXT or step not in picture} == set()
    assert {
        name for name, state in states.items() if state["Type"] == "Choice" and f"`{name}`" not in TEXT
    } == {"OnlyRun?"}


def test_the_picture_is_well_formed_and_says_what_it_shows() -> None:
    root = ElementTree.parse(REPOSITORY / "docs" / "architecture.svg").getroot()
    assert root.find("{*}title") is not None
    assert root.find("{*}desc") is not None


def _imports(file: Path) -> set[str]:
    """Return the top-level packages that a Python file imports anywhere in its text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_the_product_imports_neither_the_demo_nor_the_emulator_nor_tests() -> None:
    files = [
        file
        for name in PRODUCT
        for file in ([REPOSITORY / name] if name.endswith(".py") else (REPOSITORY / name).rglob("*.py"))
    ]
    assert len(files) > 80
    imported = {str(file.relative_to(REPOSITORY)): _imports(file) & NOT_PRODUCT for file in files}
    assert {file: names for file, names in imported.items() if names} == {}
