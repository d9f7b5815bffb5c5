"""The list of patches in local/README.md against the modules and the reproductions."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
README = (PACKAGE / "README.md").read_text()


def test_every_reproduction_is_listed_and_every_listed_one_exists() -> None:
    written = {
        node.name
        for path in (PACKAGE / "tests" / "upstream").glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    listed = set(re.findall(r"\| `(test_\w+)` \|", README))
    assert len(written) > 20
    assert listed == written


def test_every_listed_module_exists() -> None:
    rows = re.findall(r"^\| (`(?:aws|warehouse)/[^|]+) \|", README, re.MULTILINE)
    modules = [re.findall(r"`([^`]+)`", row) for row in rows]
    paths = [Path(first).parent / Path(name).name for first, *rest in modules for name in (first, *rest)]
    assert len(paths) > 40
    assert [str(path) for path in paths if not (PACKAGE / path).exists()] == []
