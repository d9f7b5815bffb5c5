"""Imports between the top-level packages: the product stands alone, and tests are imported by tests only. No link leaves."""

import ast
import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
    check=True,
).stdout.split()
PRODUCT = (
    "app",
    "contracts",
    "deploy",
    "functions",
    "imports",
    "sql",
    "statemachine",
    "storefront",
    "training_jobs",
)
TOOLS = {"benchmarks", "dashboards", "demo", "local", "testing", "tests"}


def package_of(path: str) -> str:
    """Return the top-level package of a file; a module at the top level is its own."""
    return Path(path).parts[0].removesuffix(".py")


def imported(source: str) -> set[str]:
    """Return the top-level packages that a module imports, also inside its functions."""
    packages = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            packages.add(node.module.split(".")[0])
    return packages


def offenders(importers: set[str], forbidden: set[str]) -> dict[str, set[str]]:
    """Return the files of `importers` that import a package of `forbidden`, with these packages."""
    found = {
        path: imported((REPOSITORY / path).read_text()) & forbidden
        for path in TRACKED
        if package_of(path) in importers and (REPOSITORY / path).exists()
    }
    return {path: packages for path, packages in found.items() if packages}


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b\nfrom c.d import e\nfrom . import f\ndef g():\n    import h as i, j\n"
    assert imported(source) == {"a", "c", "h", "j"}


@pytest.mark.parametrize("package", PRODUCT)
def test_the_product_imports_neither_the_emulator_nor_the_demo_nor_test_support(package: str) -> None:
    assert offenders({package}, TOOLS) == {}


def test_the_guarded_packages_exist() -> None:
    assert set(PRODUCT) - {package_of(path) for path in TRACKED} <= {"statemachine"}


def test_nothing_outside_tests_imports_tests() -> None:
    others = {package_of(path) for path in TRACKED} - {"tests"}
    assert len(others) > 8
    assert offenders(others, {"tests"}) == {}


def test_the_emulator_imports_nothing_of_this_repository() -> None:
    everything = {package_of(path) for path in TRACKED}
    assert offenders({"local"}, everything - {"local"}) == {}


def test_the_python_sdk_and_this_repository_s_product_do_not_import_each_other() -> None:
    everything = {package_of(path) for path in TRACKED}
    assert offenders({"clients"}, everything - {"clients"}) == {}
    assert offenders(set(PRODUCT), {"tugboat_events"}) == {}


def test_no_lambda_imports_the_import_of_files() -> None:
    assert offenders({"functions", "app", "training_jobs"}, {"imports"}) == {}


def test_lambdas_and_training_jobs_do_not_import_each_other() -> None:
    assert offenders({"functions", "app"}, {"training_jobs"}) == {}
    assert offenders({"training_jobs"}, {"functions", "app"}) == {}


def test_every_link_in_the_repository_stays_in_it() -> None:
    """A link to a build or an environment of one machine would take their place in every clone."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    found = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    paths = found.rstrip("\0").split("\0")
    links = {path: (REPOSITORY / path).readlink() for path in paths if (REPOSITORY / path).is_symlink()}
    assert len(links) > 2
    assert [
        path for path, to in links.items() if os.path.normpath(Path(path).parent / to).startswith(("..", "/"))
    ] == []
