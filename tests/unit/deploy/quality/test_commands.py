"""make limit, make override and make quality: what they refuse, what they write, and what they say."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.quality import limit as limit_command
from deploy.quality import override as override_command
from deploy.quality.__main__ import copy_pages, export
from deploy.quality.limit import change, expectations, limit_name, limit_value, listing
from deploy.quality.override import override
from deploy.quality.steward import QualityError, Steward, _name, make_stage, required_reason
from deploy.stages import read_stage
from functions.validate.summary import encode, latest_key, run_key
from testing.fakes import FakeS3
from testing.warehouse_fakes import FakeConnection
from tests.unit.deploy.quality.summaries import summary

STAGE = replace(read_stage("local"), name="prod")
AT = datetime(2026, 11, 29)
FAILED = [
    ("demo", "volume", "data", "Few events.", "failed"),
    ("demo", "silence", "data", "Late.", "failed"),
    ("demo", "unique", "dbt", "Two rows.", "failed"),
    ("demo", "freshness", "data", "Fine.", "passed"),
]


def steward(*answers: tuple[str, list[tuple[Any, ...]]]) -> Steward:
    return Steward(STAGE, FakeConnection(*answers, ("insert into", [])), "ann", "arn:aws:iam::1:user/ann")


def statements(by: Steward) -> list[Any]:
    found: list[Any] = by.connection.statements
    return found


@pytest.mark.parametrize(
    ("check", "name"),
    [
        ("volume.lowest_ratio", "volume.lowest_ratio"),
        ("freshness", "freshness.largest_hours_since_load"),
        ("missing items", "missing.largest_share.items"),
        ("device_is_known", "device_is_known"),
    ],
)
def test_a_limit_is_named_by_itself_or_by_its_check(check: str, name: str) -> None:
    assert limit_name(check) == name


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            "volume",
            'has several limits. Name one: CHECK="volume.lowest_ratio" or CHECK="volume.highest_ratio"',
        ),
        ("volume.lowest_rato", "Did you mean volume.lowest_ratio"),
        ("xyz", "docs/data_checks.md lists all of them"),
    ],
)
def test_an_unknown_or_ambiguous_name_is_refused_with_the_right_one(check: str, said: str) -> None:
    with pytest.raises(QualityError) as refused:
        limit_name(check)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "volume.lowest_ratio",
            "many",
            "it is a ratio to the usual, above 0 and at most 1, such as VALUE=0.5",
        ),
        ("volume.lowest_ratio", "30", "cannot be 30"),
        ("volume.lowest_ratio", "nan", "cannot be nan"),
        ("rejected.largest_share", "20%", "it is a share from 0 to 1"),
        ("device_is_known", "90", "it is a share of rows from 0 to 1"),
        ("device_is_known", "nan", "it is a share of rows from 0 to 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_unit(name: str, value: str, said: str) -> None:
    with pytest.raises(QualityError) as refused:
        limit_value(name, value, {})
    assert said in str(refused.value)


def test_a_limit_is_one_new_row_with_who_and_why() -> None:
    by = steward(("from QA.LIMITS", []))
    said = change(by, "demo", "freshness", "72", "  a small shop ")
    row = (
        "demo",
        "freshness.largest_hours_since_load",
        72.0,
        "ann",
        "arn:aws:iam::1:user/ann",
        "a small shop",
    )
    assert statements(by)[-1][1] == row
    assert said.startswith(
        "shop demo: freshness.largest_hours_since_load is 72, was 48, from the next run on."
    )
    assert "freshness, silence" in said, "both checks have this limit"


def test_the_default_returns_by_a_row_without_a_value() -> None:
    by = steward(("from QA.LIMITS", [("device_is_known", 0.5, "bob", "why", AT)]))
    assert "device_is_known is 1, was 0.5" in change(by, "demo", "device_is_known", None, "repaired")
    assert statements(by)[-1][1][2] is None


@pytest.mark.parametrize(("shop", "reason"), [("nobody", "why"), ("demo", ""), ("demo", "x" * 501)])
def test_a_refused_limit_writes_nothing(shop: str, reason: str) -> None:
    by = steward(("from QA.LIMITS", []))
    with pytest.raises(QualityError):
        change(by, shop, "freshness", "72", reason)
    assert not [sql for sql, _ in statements(by) if sql.startswith("insert")]


def test_the_list_has_every_limit_with_its_default() -> None:
    own = [("volume.lowest_ratio", 0.3, "bob", "a market", AT)]
    by = steward(
        ("order by SET_AT desc limit", [(AT, "volume.lowest_ratio", 0.3, "bob", "a market")]),
        ("from QA.LIMITS", own),
    )
    text = listing(by, "demo")
    line = next(line for line in text.splitlines() if "volume.lowest_ratio" in line)
    assert line.split()[:3] == ["volume.lowest_ratio", "0.3", "0.6"]
    assert expectations().keys() < set(text.split())
    assert "latest changes" in text


def test_an_override_is_one_new_row_and_names_the_checks_that_failed_too() -> None:
    by = steward(("from QA.CHECK_RESULTS", FAILED))
    said = override(by, "r1", "volume", "Black Friday")
    assert statements(by)[-1][1] == ("r1", "demo", "volume", "ann", "arn:aws:iam::1:user/ann", "Black Friday")
    assert "These failed too: silence, unique" in said
    assert "make rerun STAGE=prod RUN=r1" in said


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("unique", "is an invariant of the tables, and nobody can override it: Two rows."),
        ("freshness", "did not fail in run r1. Failed: silence, unique, volume"),
    ],
)
def test_an_override_of_an_invariant_or_of_a_passed_check_is_refused(check: str, said: str) -> None:
    by = steward(("from QA.CHECK_RESULTS", FAILED))
    with pytest.raises(QualityError) as refused:
        override(by, "r1", check, "why")
    assert said in str(refused.value)
    assert not [sql for sql, _ in statements(by) if sql.startswith("insert")]


def test_an_override_of_a_run_that_was_never_validated_is_refused() -> None:
    with pytest.raises(QualityError, match="no run 'r9' has been validated in stage prod"):
        override(steward(("from QA.CHECK_RESULTS", [])), "r9", "volume", "why")


def test_a_reason_is_required() -> None:
    assert required_reason(" why ") == "why"
    with pytest.raises(QualityError, match="REASON"):
        required_reason("   ")


def test_a_person_has_the_name_of_the_login_or_of_the_aws_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "root")
    assert _name("arn:aws:sts::1:assumed-role/Admin/ann@example.com") == "ann@example.com"
    assert _name("arn:aws:iam::123456789012:root") == "root"
    monkeypatch.setenv("USER", "bob")
    assert _name("arn:aws:sts::1:assumed-role/Admin/ann@example.com") == "bob"
    assert (make_stage(STAGE), make_stage(read_stage("local"))) == (" STAGE=prod", "")


def test_the_pages_of_all_shops_are_copied_and_listed(tmp_path: Path) -> None:
    s3 = FakeS3()
    for shop in ("demo", "other"):
        s3.put_object("models", f"reports/validation/index/{shop}.html", b"index")
        s3.put_object("models", latest_key(shop), encode(summary(f"run-{shop}", shop)))
        s3.put_object("models", f"reports/validation/run-{shop}.html", b"page")
    page = copy_pages(s3, "models", tmp_path, STAGE).read_text()
    assert (tmp_path / "index" / "demo.html").read_bytes() == b"index"
    assert (tmp_path / "run-other.html").read_bytes() == b"page"
    assert 'href="index/other.html"' in page
    assert "1 failed" in page


def test_a_stage_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        QualityError, match="no run of stage prod has been validated yet: make run STAGE=prod"
    ):
        copy_pages(FakeS3(), "models", tmp_path, STAGE)


def test_a_run_is_exported_as_two_files_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    s3 = FakeS3()
    s3.put_object("models", run_key("r1"), encode(summary("r1")))
    written = export(s3, "models", "r1", tmp_path, STAGE)
    assert [file.name for file in written] == ["r1.suite.json", "r1.validation.json"]
    with pytest.raises(QualityError, match="no run with this id was validated"):
        export(s3, "models", "r2", tmp_path, STAGE)
    s3.put_object("models", run_key("r3"), b'{"run_id": "r3"}')
    with pytest.raises(QualityError, match="was written by another release"):
        export(s3, "models", "r3", tmp_path, STAGE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--value", "0.5"], "name the check whose limit changes: CHECK=..."),
        (
            ["--check", "xyz", "--value", "0.5", "--reason", "x"],
            "no check, limit or expectation is named 'xyz'",
        ),
        (["--check", "freshness", "--value", "low", "--reason", "x"], "cannot be 'low': it is "),
        (["--check", "freshness", "--value", "0.5"], 'repeat the command with REASON="..."'),
        (["--shop", "dmeo"], "has no shop 'dmeo': use SHOP= one of demo, "),
    ],
)
def test_a_slip_is_named_before_snowflake_resumes_a_warehouse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.setattr(limit_command, "steward", None)
    assert limit_command.main(["--stage", "local", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_a_limit_of_a_stage_with_several_shops_is_never_set_for_a_guessed_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two = replace(STAGE, trained_shops=["demo", "own"])
    monkeypatch.setattr(limit_command, "read_stage", lambda _: two)
    monkeypatch.setattr(limit_command, "steward", None)
    arguments = ["--check", "freshness", "--value", "9", "--reason", "x"]
    assert limit_command.main(["--stage", "prod", *arguments]) == 1
    assert "several shops: add SHOP= one of demo, own" in capsys.readouterr().err


def test_an_override_without_a_reason_is_refused_before_snowflake_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(override_command, "steward", None)
    assert (
        override_command.main(["--stage", "local", "--run", "r", "--check", "volume", "--reason", " "]) == 1
    )
    assert 'repeat the command with REASON="..."' in capsys.readouterr().err
