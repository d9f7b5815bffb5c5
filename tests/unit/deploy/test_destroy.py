"""Destroying a stage is refused where it could hit the wrong account, a protected stage, or data by mistake."""

import dataclasses
import io
import sys
from pathlib import Path

import pytest

from deploy import destroy, stages
from deploy.destroy import NotDestroyed
from deploy.stages import read_stage

DEV = dataclasses.replace(read_stage("dev"), account_id="123456789012")
BUCKET = "tugboat-dev-events-123456789012"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_stage_without_an_account_is_refused() -> None:
    with pytest.raises(NotDestroyed, match=r"Write it under \[dev\]"):
        destroy.require_unprotected(dataclasses.replace(DEV, account_id=""))


def test_a_protected_stage_is_refused_with_the_way_out() -> None:
    with pytest.raises(NotDestroyed, match="make deploy STAGE=dev"):
        destroy.require_unprotected(dataclasses.replace(DEV, termination_protection=True))


def test_prod_is_protected() -> None:
    assert read_stage("prod").termination_protection


def test_data_is_deleted_only_after_the_buckets_name_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal(f"{BUCKET}\n"))
    destroy.require_confirmation(BUCKET, None)
    for typed in ("yes\n", "\n", ""):
        monkeypatch.setattr(sys, "stdin", _Terminal(typed))
        with pytest.raises(NotDestroyed, match="nothing was removed"):
            destroy.require_confirmation(BUCKET, None)


def test_without_a_terminal_the_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    destroy.require_confirmation(BUCKET, BUCKET)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{BUCKET}\n"))
    with pytest.raises(NotDestroyed, match=f"--confirm {BUCKET}"):
        destroy.require_confirmation(BUCKET, None)
    with pytest.raises(NotDestroyed, match="nothing was removed"):
        destroy.require_confirmation(BUCKET, "tugboat-prod-events-123456789012")


def test_the_command_asks_before_it_calls_aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(destroy.boto3, "Session", lambda **_: pytest.fail("AWS was asked"))
    for stage, arguments, says in (
        ("dev", [], "has no account_id"),
        ("local", ["--delete-data", "--confirm", "other"], "nothing was removed"),
    ):
        assert destroy.main(["--stage", stage, *arguments]) == 1
        assert says in capsys.readouterr().err
    assert not stages.read_stage("dev").account_id
