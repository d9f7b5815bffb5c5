"""The commands of the pages: targets, variables and options that exist, and figures that the code agrees with."""

import importlib.util
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from deploy.bill.stack import alarm_metrics, metrics_at_most, metrics_written, of_type
from deploy.bill.standing import SECRETS_BY_HAND

REPOSITORY = Path(__file__).resolve().parents[3]
MAKEFILE = (REPOSITORY / "Makefile").read_text()
RECIPES = dict(re.findall(r"^([a-z-]+):[^\n]*## [^\n]*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE))
PAGES = [
    page
    for page in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    if not re.match(r"docs/decisions/\d|benchmarks/results/|CHANGELOG|vendor/", page)
]
VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s`;,)|"']+)"""
CALL = re.compile(rf"\bmake ([a-z-]+)((?: +[A-Z]+={VALUE})+)")
VARIABLE = re.compile(rf"([A-Z]+)=({VALUE})")
OPTION = re.compile(r"(?<!\S)--[a-z][\w-]*")
MODULE = re.compile(rf"python -m ([a-z][\w.]+)((?: {VALUE})*)")
# Every recipe passes the stage on; the shell and pytest read the others.
OF_EVERY_TARGET = {"STAGE", "PYTHON"}


@cache
def options_of(module: str) -> str:
    """Return the source that declares a command's options: its file, its package, and what it shares."""
    found = importlib.util.find_spec(module)
    assert found is not None, module
    assert found.origin is not None, module
    file = Path(found.origin)
    alone = file.name != "__init__.py" and file.parent.parent == REPOSITORY
    files = [file] if alone else [*file.parent.glob("*.py")]
    shared = [REPOSITORY / "deploy" / name for name in ("command.py", "shop_option.py")]
    shared += (REPOSITORY / "demo").glob("*.py") if module.startswith("demo") else ()
    return "".join(one.read_text() for one in {*files, *shared})


def has_option(module: str, option: str) -> bool:
    return option == "--help" or f'"{option}"' in options_of(module)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_calls_make_only_with_variables_and_options_that_the_target_reads(page: str) -> None:
    for target, given in CALL.findall((REPOSITORY / page).read_text()):
        assert target in RECIPES, f"make {target}"
        for name, value in VARIABLE.findall(given):
            assert name in OF_EVERY_TARGET or f"$({name})" in RECIPES[target], f"make {target} {name}="
            module = re.findall(r"-m ((?!local env)[\w.]+)", RECIPES[target].replace("$(ARGS)", ""))[-1]
            if name == "ARGS" and target != "test":
                for option in OPTION.findall(value.strip("\"'")):
                    assert has_option(module, option), f"make {target}: {option} of {module}"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_calls_modules_only_with_options_that_they_have(page: str) -> None:
    for module, given in MODULE.findall((REPOSITORY / page).read_text()):
        if module.split(".")[0] in ("pytest", "venv", "json"):
            continue
        assert importlib.util.find_spec(module), module
        for option in OPTION.findall(given):
            assert has_option(module, option), f"python -m {module} {option}"


def test_what_a_person_gives_to_make_is_quoted_for_the_shell() -> None:
    """Else a pattern becomes several arguments, and a path with a blank two."""
    plain = r"(?<!filter )\$\((?:FILE|EVENTS|ITEMS?|RUN|SHOP|REQUEST|CLIENT|USER|CHECK|VALUE|REASON|BY|ALARM|FROM|TO)\)"
    for line in "".join(RECIPES.values()).splitlines():
        unquoted = re.sub(rf"(?:call quoted,|if |'){plain}", "", line)
        assert re.findall(plain, unquoted) == [], line


def test_deploy_md_has_the_figures_of_the_stack() -> None:
    page = (REPOSITORY / "docs" / "deploy.md").read_text()
    alarms = len(of_type("AWS::CloudWatch::Alarm"))
    assert f"{alarms} per stage on {alarm_metrics()} metrics" in page
    assert f"{metrics_written()} per stage, and one per reason" in page
    assert f"{metrics_at_most()} at most with canaries" in page
    made = [one["Name"]["Fn::Sub"].rpartition("/")[2] for one in of_type("AWS::SecretsManager::Secret")]
    assert SECRETS_BY_HAND == 1
    assert f"three that the stack creates ({', '.join(f'`{name}`' for name in made)})" in page
