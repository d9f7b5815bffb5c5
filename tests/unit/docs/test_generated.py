"""The page of settings is up to date, and every decision is in the index."""

import re
from pathlib import Path

from docs import data_checks, settings

REPOSITORY = Path(__file__).resolve().parents[3]
DECISIONS = REPOSITORY / "docs" / "decisions"


def test_the_page_of_settings_is_up_to_date() -> None:
    assert settings.PAGE.read_text() == settings.page()


def test_the_page_of_data_checks_is_up_to_date_and_lists_the_tests_of_every_model() -> None:
    page = data_checks.page()
    assert data_checks.PAGE.read_text() == page
    properties = "".join(file.read_text() for file in data_checks.MODELS.rglob("*.yml"))
    for test in ("not_null", "unique", "relationships", "accepted_values"):
        assert page.count(f"| {test} |") == len(re.findall(rf"[-\[,] ?{test}\b", properties)) > 0
    for file in data_checks.QUERIES.glob("*.sql"):
        assert file.name in page


def test_the_page_lists_every_setting_of_a_stage() -> None:
    page = settings.page()
    assert {key for key in settings.SETTINGS if f"`{key}`" not in page} == {"shops"}


def test_every_decision_is_in_the_index_with_a_status() -> None:
    rows = re.findall(
        r"^\| \[.*\]\((\d{4}-[\w-]+\.md)\) \| \d{4}-\d\d-\d\d \| .+ \|$",
        (DECISIONS / "README.md").read_text(),
        re.M,
    )
    assert sorted(rows) == sorted(file.name for file in DECISIONS.glob("0*.md"))
