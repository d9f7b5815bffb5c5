"""Every process that shares a test run must collect the same tests."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The processes of pytest-xdist collect at different moments, in interpreters with different hash seeds.
CHANGING = re.compile(
    r"\b(time\.(time|time_ns|monotonic|monotonic_ns|perf_counter)|(datetime|date)\.(now|utcnow|today)"
    r"|uuid\.?uuid[14]|uuid[14]|token_(hex|bytes|urlsafe)|random\.(random|randint|choices?|sample)|getpid|urandom"
    r"|set|frozenset|formatdate)\("
)


def _parameters(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "parametrize" or (
            node.func.attr == "fixture" and any(keyword.arg == "params" for keyword in node.keywords)
        ):
            yield ast.unparse(node)


@pytest.mark.parametrize("folder", ["tests", "local/tests", "clients"])
def test_parameters_are_the_same_in_every_process(folder: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}..."
        for path in (ROOT / folder).rglob("test_*.py")
        for parameters in _parameters(path)
        for match in CHANGING.finditer(parameters)
    }
    assert not found, "Move what changes from run to run from the parameters into the test:\n" + "\n".join(
        sorted(found)
    )


@pytest.mark.parametrize("call", ["time.time", "uuid4", "datetime.now", "set"])
def test_a_value_that_changes_is_seen(call: str, tmp_path: Path) -> None:
    path = tmp_path / "test_example.py"
    path.write_text(f"@pytest.mark.parametrize('value', [str({call}())])\ndef test_it(value): ...\n")
    assert any(CHANGING.search(parameters) for parameters in _parameters(path))
