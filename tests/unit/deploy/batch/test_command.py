"""The command line of a batch: what it refuses, and how it reports an execution that ended without lists."""

import json
from typing import Any

import pytest

from deploy.batch import __main__ as command
from deploy.batch import segment
from deploy.stages import read_stage


class States:
    """Step Functions with one execution that has ended."""

    def __init__(self, **described: Any) -> None:
        self.described = described

    def start_execution(self, **_: Any) -> dict[str, Any]:
        return {"executionArn": "arn:batch:1"}

    def describe_execution(self, **_: Any) -> dict[str, Any]:
        return self.described

    def get_paginator(self, _: str) -> "States":
        return self

    def paginate(self, **_: Any) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--days", "0"], "--days: use 1 to 365"),
        (["--days", "-3"], "--days: use 1 to 365"),
        (["--items", "101"], "--items: use 1 to 100"),
        (["--users-only"], "use it with --export FILE"),
    ],
)
def test_an_option_that_would_be_ignored_or_misread_is_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--stage", "local", *arguments])
    assert reason in capsys.readouterr().err


def test_a_segment_for_no_item_is_refused_before_the_warehouse_is_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        segment.main(["--stage", "local", "--item", ""])
    assert "the id is empty: name one by ITEM=id" in capsys.readouterr().err


def test_a_failure_is_the_sentence_of_the_step_and_not_its_json() -> None:
    cause = json.dumps({"errorMessage": "the record is gone: make run", "errorType": "ModelLost"})
    states = States(status="FAILED", error="ModelLost", cause=f"Histories: {cause}")
    with pytest.raises(
        command.BatchFailed, match=r"^ModelLost: Histories: the record is gone: make run\nThe lists"
    ):
        command.follow("arn:batch:1", read_stage("local"), states, lambda _: None, poll_s=0)


def test_a_shop_without_a_model_yet_is_told_to_train_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {"skipped": "Shop demo has no model yet: the first run that publishes one makes lists possible."}

    class Session:
        def __init__(self, **_: Any) -> None:
            pass

        def client(self, _: str) -> States:
            return States(status="SUCCEEDED", output=json.dumps(made))

    monkeypatch.setattr(command.boto3, "Session", Session)
    monkeypatch.setattr(command, "account_of", lambda *_: "123456789012")
    assert command.main(["--stage", "local", "--shop", "demo"]) == 1
    assert "make run STAGE=local SHOP=demo trains one" in capsys.readouterr().err
