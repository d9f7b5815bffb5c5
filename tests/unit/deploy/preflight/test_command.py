"""The table of preflight, its exit status, and its order of checks."""

import dataclasses
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from deploy.preflight import __main__ as command
from deploy.preflight.finding import Finding, table, verdict
from deploy.stages import read_stage

DEV = dataclasses.replace(read_stage("dev"), shops={"demo": ["a-key-of-demo"]})


def test_the_table_has_a_line_per_finding_and_the_fix_below() -> None:
    rows = [
        Finding("account", "passed", "123"),
        Finding("quota for Train", "failed", "0, needed: 1", "ask for 1"),
    ]
    assert table(rows).splitlines() == [
        "ok         account          123",
        "FAILED     quota for Train  0, needed: 1",
        "           fix: ask for 1",
    ]


def test_a_fix_that_is_a_line_to_write_keeps_its_lines() -> None:
    fix = 'write into stages.toml\n\n    [dev.shops]\n    demo = ["key"]\n'
    assert table([Finding("shop keys", "failed", "none", fix)]).splitlines()[1:] == [
        "           fix: write into stages.toml",
        "                [dev.shops]",
        '                demo = ["key"]',
    ]


def test_the_verdict_counts_and_only_a_failure_stops() -> None:
    warned = [
        Finding("a", "passed", ""),
        Finding("b", "warning", "", "x"),
        Finding("c", "unchecked", "", "x"),
    ]
    assert verdict(warned) == "ready to deploy: 1 passed, 1 warning, 1 unchecked"
    assert verdict([*warned, Finding("d", "failed", "", "x")]).startswith(
        "not ready to deploy: 1 passed, 1 failed"
    )


class _SignedOut:
    """A session without credentials. It refuses to make any other client than STS."""

    def client(self, service: str) -> Any:
        assert service == "sts"
        return self

    def get_caller_identity(self) -> Any:
        raise NoCredentialsError


def test_without_credentials_the_settings_are_checked_and_nothing_else_is_asked() -> None:
    found = list(command.check(DEV, _SignedOut(), None))
    assert found[-1].subject == "credentials"
    assert found[-1].outcome == "failed"
    assert [one.subject for one in found[:-1]] == ["shop keys", "notifications", "region"]


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert "python -m deploy.preflight --stage dev" in capsys.readouterr().out
