"""Every path that documentation, configuration and docstrings name exists."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
# Records of the past: they name files as they were.
RECORDS = re.compile(r"docs/decisions/\d{4}-|benchmarks/results/|CHANGELOG\.md|vendor/")
FILES = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=REPOSITORY,
    check=True,
    capture_output=True,
    text=True,
).stdout.split()
TOP = {file.split("/")[0] for file in FILES if "/" in file}
_FOLDERS = "|".join(map(re.escape, sorted(TOP)))
# A placeholder, as in policy-<name>.json, ends the match: nothing of that name exists.
PATH = re.compile(rf"(?<![\w./<>{{}}$:-])((?:{_FOLDERS})/[\w./*-]*\w[\w*]*)(?!-?[\w<{{])")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
# What commands write, by the rules of .gitignore.
WRITTEN = re.compile(r"\.chalice/(deployed|deployments|venv)|sql/(target|logs)|local/lambda")


def _docstrings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _missing(file: str) -> list[str]:
    """Return the paths that a file names and that do not exist."""
    source = (REPOSITORY / file).read_text()
    texts = list(_docstrings(source)) if file.endswith(".py") else [source]
    # A decision may be named by its number alone.
    named = {
        re.sub(r"^(docs/decisions/\d{4})$", r"\1-*", name.rstrip("./"))
        for text in texts
        for name in PATH.findall(text)
    }
    # local/ is a distribution of its own: its texts name paths from its own root, too.
    roots = [REPOSITORY, REPOSITORY / "local"] if file.startswith("local/") else [REPOSITORY]
    missing = [
        name
        for name in sorted(named)
        if not WRITTEN.match(name) and "NAME" not in name and not any([*root.glob(name)] for root in roots)
    ]
    if file.endswith(".md"):
        folder = (REPOSITORY / file).parent
        missing += [link for link in LINK.findall(source) if not (folder / link).exists()]
    return missing


def test_every_named_path_exists() -> None:
    files = [file for file in FILES if file.endswith((".md", ".toml", ".py")) and not RECORDS.match(file)]
    assert len(files) > 200
    missing = {file: _missing(file) for file in files if (REPOSITORY / file).exists()}
    assert {file: names for file, names in missing.items() if names} == {}


def test_a_path_that_does_not_exist_is_found() -> None:
    assert PATH.findall("see `functions/none/none.py` and docs/x.md.") == [
        "functions/none/none.py",
        "docs/x.md",
    ]


def test_no_text_names_an_issue_or_a_folder_outside_the_repository() -> None:
    stale = re.compile(r"\(issue \d+\)|\.\./shared/")
    files = [
        file
        for file in FILES
        if file.endswith((".md", ".toml", ".py", ".sql", ".yml", ".js")) or file == "Makefile"
    ]
    found = [
        file
        for file in files
        if (REPOSITORY / file).exists()
        and not RECORDS.match(file)
        and file != "tests/unit/docs/test_paths.py"
        and stale.search((REPOSITORY / file).read_text())
    ]
    assert found == []
