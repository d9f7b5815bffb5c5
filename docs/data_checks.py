"""Write docs/data_checks.md: every check of the validate step, from its rules and from the tests of the dbt project.

Run it after a change of a check, a threshold or a test in sql/models/.
With --check it writes nothing, and exits with 1 if docs/data_checks.md is out of date.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from functions.validate.data_checks import EXPECTATION
from functions.validate.measures import SHARING_CLIENTS
from functions.validate.rules import RULES, Rule, resolved
from functions.validate.senders import FEWEST_CASES_A_GROUP, FEWEST_GROUPS
from functions.validate.thresholds import Thresholds, thresholds

Test = str | dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "data_checks.md"
MODELS = ROOT / "sql" / "models"
QUERIES = ROOT / "sql" / "tests"
HEAD = """# The checks of the data

`python -m docs.data_checks` writes this page from `functions/validate/rules.py`, `thresholds.json` there, and `sql/models/`.
Change those files, not this page.

The validate step runs these checks before training, and a failed one stops the pipeline.
Its report and `QA.CHECK_RESULTS` have the columns of the [model's gate](gate.md), such as slice, bound and verdict.
With fewer cases than the minimum, a required check fails and any other is skipped.
A run judges the rows of its own shop only.
The shop is compared with its own days before, and needs {fewest} full days of them.
A shop without a load in {judged} days is skipped.

Strangers can send events, because a shop's key stands in its pages.
So the senders are divided into groups by the hash of their network (`functions/validate/senders.py`).
The value of a check is the middle value of the groups, so it fails only if more than half of the groups fail.
A network is in one group, whatever it sends and however much.
A shop with one or two networks is divided by client, and so are a trusted back end and an import.
A group needs {cases} cases, and a check needs {groups} groups.
The first day, the newest event and the newest load are those that {clients} clients share.
The report names the networks that sent much, and who sent refused events.

A shop can have limits of its own, which hold from the next run on: `make limit` ([operations.md](operations.md#data-quality)).
The names in brackets are those of the limits.
A failed check can be accepted for one run: `make override`.
A check that only warns stops nothing.

| check | slice | meaning | value must be | against | minimum cases | required | by groups | a breach |
|---|---|---|---|---|---|---|---|---|
"""
EXPECTATIONS_HEAD = """
## Expectations of columns

The files below `sql/models/` declare them as dbt tests, with the names and arguments of Great Expectations.
`sql/tests/generic/expectations.sql` contains their SQL.
An expectation about what senders write only warns, because one sender can break it.
An expectation about what SQL computes fails the run.
`mostly` is the least share of rows that must keep to it, 1 by default.
It is the limit that a shop can change by the expectation's name, and an expectation can be overridden like a check of the data.

| name | model | column | expectation | arguments | a breach |
|---|---|---|---|---|---|
"""
DBT_HEAD = """
## Tests of the tables

dbt runs these tests in the same step.
Nobody can override them, and they have no limits.
The value is the number of rows that break the test, and it must be 0.
Only rows of the run's shop are tested.
A test is an invariant of the tables that no sender can break, so it is exact.

| model | column | test |
|---|---|---|
"""


def page() -> str:
    """Return docs/data_checks.md."""
    limits = thresholds()
    history = limits.history
    text = HEAD.format(
        judged=history.judged_days,
        fewest=history.fewest_days,
        cases=FEWEST_CASES_A_GROUP,
        groups=FEWEST_GROUPS,
        clients=SHARING_CLIENTS,
    )
    text += "".join(_row(limits, name, rule) for name, rule in RULES.items())
    tests = [test for file in MODELS.rglob("*.yml") for test in dbt_tests(file)]
    rows = sorted(_expectation(*test) for test in tests if _name(test[2]).startswith(EXPECTATION))
    text += EXPECTATIONS_HEAD + "".join(rows)
    invariants = sorted(
        (model, column, _name(test))
        for model, column, test in tests
        if not _name(test).startswith(EXPECTATION)
    )
    invariants += [("", "", f"`sql/tests/{file.name}`") for file in sorted(QUERIES.glob("*.sql"))]
    return (
        text + DBT_HEAD + "".join(f"| {model} | {column} | {test} |\n" for model, column, test in invariants)
    )


def _row(limits: Thresholds, name: str, rule: Rule) -> str:
    bound = f"{rule.comparator} {_shown(limits, rule.bound)}"
    if rule.upper_bound:
        bound += f", <= {_shown(limits, rule.upper_bound)}"
    cells = (
        name,
        rule.slice,
        rule.meaning,
        bound,
        rule.against,
        f"{_shown(limits, rule.minimum_n)} {rule.cases}",
        "yes" if rule.required else "no",
        "yes" if rule.by_groups else "no",
        "warns" if rule.warns else "fails",
    )
    return f"| {' | '.join(cells)} |\n"


def _shown(limits: Thresholds, value: str | float) -> str:
    number = f"{resolved(limits, value):.10g}"
    return f"{number} (`{value}`)" if isinstance(value, str) else number


def _expectation(model: str, column: str, test: Test) -> str:
    assert isinstance(test, dict)
    kind, settings = next(iter(test.items()))
    arguments = ", ".join(f"{name}: {value}" for name, value in settings.get("arguments", {}).items())
    severity = settings.get("config", {}).get("severity", "error")
    breach = "warns" if severity == "warn" else "fails"
    return f"| {settings['name']} | {model} | {column} | {kind} | {arguments} | {breach} |\n"


def dbt_tests(file: Path) -> Iterator[tuple[str, str, Test]]:
    """Yield model, column and test of each data test in a properties file; the column is empty for a whole table."""
    for model in yaml.safe_load(file.read_text("utf-8")).get("models", ()):
        yield from ((model["name"], "", test) for test in model.get("data_tests", ()))
        for column in model.get("columns", ()):
            for test in column.get("data_tests", ()):
                yield model["name"], column["name"], test


def _name(test: Test) -> str:
    return test if isinstance(test, str) else str(next(iter(test)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.data_checks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m docs.data_checks --check",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page is out of date"
    )
    if not parser.parse_args(arguments).check:
        PAGE.write_text(page(), "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page():
        print(f"{PAGE.name} is out of date: run python -m docs.data_checks", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
