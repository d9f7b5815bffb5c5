"""The command line: columns, JSON, the page, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.bill.__main__ import main, quantity


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["--stage", "dev", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    status, out, _ = run(capsys, "--json", *arguments)
    assert status == 0
    return dict(json.loads(out))


def test_three_sizes_and_the_idle_stage_are_shown_with_formulas(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, out, _ = run(capsys, "--page", str(tmp_path))
    assert status == 0
    assert "idle   1M events   100M events   1B events" in out
    assert "API Gateway, requests: $4.57 = (500,000 with events + " in out
    assert "Not counted: free tiers" in out
    page = (tmp_path / "dev.html").read_text()
    assert "(500,000 with events + " in page
    assert "<th>All</th>" in page


def test_no_line_of_the_text_is_wider_than_a_terminal_of_120(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, out, _ = run(capsys, "--page", str(tmp_path))
    assert max(map(len, out.splitlines()[:-1])) <= 120


def test_the_shops_own_figures_make_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, "--shop-figures", "events=3M", "sessions=400k", "items=20k", "runs=4")
    assert [month["workload"]["name"] for month in found["months"]] == ["idle", "the shop"]
    workload = found["months"][1]["workload"]
    assert (workload["events"], workload["sessions"], workload["runs"]) == (3e6, 4e5, 4)
    assert found["free_tiers_counted"] is False


def test_an_assumption_can_be_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    few = as_json(capsys, "--events", "1M", "--assume", "events_per_request=1")
    many = as_json(capsys, "--events", "1M", "--assume", "events_per_request=10")
    assert few["months"][1]["usd"] > many["months"][1]["usd"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--shop-figures", "sessions=5"), "has no events"),
        (("--shop-figures", "events=5", "visits=3"), "has visits: use events, sessions"),
        (("--assume", "speed=3"), "no assumption 'speed'"),
        (("--prices", "mars-north-1"), "copy the list of us-east-1"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_is_allowed(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], problem: str
) -> None:
    status, _, err = run(capsys, *arguments)
    assert status == 1
    assert problem in err


def test_a_size_that_is_no_number_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--stage", "dev", "--events", "many"])
    assert "'many' is not a number such as 1M" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "value"), [("1M", 1e6), ("2.5k", 2500), ("1b", 1e9), ("400000", 4e5)])
def test_quantities_have_units(text: str, value: float) -> None:
    assert quantity(text) == value


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "example: python -m deploy.bill --stage prod" in capsys.readouterr().out
