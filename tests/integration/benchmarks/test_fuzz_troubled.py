"""A part of the troubled fuzz in every run of the tests, and proof that it finds defects."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import fuzz_troubled
from benchmarks.fuzz import fuzz_in_process
from benchmarks.fuzz_checks import Findings
from benchmarks.fuzz_requests import Maker
from benchmarks.fuzz_troubled import Plan, TroubledDoor, plan_of, troubled_door
from functions.platform.events import delivery
from functions.recommend import recommend
from functions.recommend.fallback import Fallback
from testing.lambda_services import TROUBLES
from testing.troubled_service import Trouble

SEED, SHARE = 7, 0.5
# Requests that meet hanging and dripping services too, alone and together.
SLICE = 14


@pytest.fixture(scope="module")
def door() -> Iterator[TroubledDoor]:
    with troubled_door(SEED, SHARE) as door:
        yield door


def fuzzed(door: Any, endpoint: str, requests: int = SLICE) -> Findings:
    findings = Findings()
    fuzz_in_process(door, Maker(endpoint, SEED), 0, requests, findings)
    return findings


@pytest.mark.parametrize("endpoint", fuzz_troubled.NEEDED)
def test_requests_are_answered_in_time_and_stored_once_while_services_are_in_trouble(
    door: TroubledDoor, endpoint: str
) -> None:
    findings = fuzzed(door, endpoint)
    assert findings.examples == []
    assert findings.statuses.total() == SLICE
    assert sum(map(len, findings.waits.values())) > SLICE / 4


def test_the_troubles_of_a_request_depend_on_its_number_alone() -> None:
    plans = [plan_of(1, "POST /events", number, 0.5) for number in range(400)]
    assert plans == [plan_of(1, "POST /events", number, 0.5) for number in range(400)]
    troubled = [plan for plan in plans if plan.troubles]
    assert 150 < len(troubled) < 250
    assert {trouble for plan in troubled for trouble in plan.troubles.values()} == set(TROUBLES)
    assert {plan.cold for plan in troubled} == {True, False}
    assert any(plan.away("firehose", "s3") for plan in troubled)
    assert not any(plan_of(1, "POST /events", number, 0.0).troubles for number in range(50))


def one_plan(monkeypatch: pytest.MonkeyPatch, cold: bool = False, **troubles: Trouble) -> None:
    plan = Plan({name.replace("_", "-"): trouble for name, trouble in troubles.items()}, cold)
    monkeypatch.setattr(fuzz_troubled, "plan_of", lambda *_: plan)


def test_a_collector_that_does_not_park_is_found(door: TroubledDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    one_plan(monkeypatch, firehose=Trouble.FAIL)
    monkeypatch.setattr(delivery, "_park", lambda *_: None)
    assert "the answer says" in fuzzed(door, "GET /pixel.gif", 3).examples[0]["why"]


def test_a_record_that_is_stored_twice_is_found(door: TroubledDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    one_plan(monkeypatch, secretsmanager=Trouble.FAIL)
    monkeypatch.setattr(delivery, "_refused", lambda records, _: records)
    monkeypatch.setattr(delivery, "ATTEMPTS", 1)
    monkeypatch.setattr(fuzz_troubled, "TIMEOUT_S", 60.0)
    assert "in Firehose and in S3" in fuzzed(door, "GET /pixel.gif", 1).examples[0]["why"]


def test_an_answer_that_comes_late_is_found(door: TroubledDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    one_plan(monkeypatch, sagemaker_runtime=Trouble.HANG)
    monkeypatch.setattr(fuzz_troubled, "SLACK_S", 0.0)
    monkeypatch.setattr(fuzz_troubled, "RECOMMEND_BOX_S", 0.2)
    monkeypatch.setattr(recommend, "call_until", lambda _, call: call())
    findings = fuzzed(door, "GET /recommend", 4)
    assert any("longer than" in one["why"] for one in findings.examples)


def test_a_recommender_that_gives_up_is_found(door: TroubledDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    one_plan(monkeypatch, sagemaker_runtime=Trouble.REFUSE)
    monkeypatch.setattr(Fallback, "pick", lambda *_: ([], "popular"))
    began_s = time.monotonic()
    assert "no items" in fuzzed(door, "GET /recommend", 4).examples[0]["why"]
    assert time.monotonic() - began_s < 60
