"""A canary: the shares of a candidate, and its figures against the current release."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from functions.canary.canary import CanaryEvent, canary
from functions.canary.compare import wilson, worse_figures
from functions.canary.figures import Figures, read_figures
from functions.platform.contract import CanaryResult
from functions.platform.errors import CanaryWithdrawn, CanaryWorse, StorageUnavailable
from functions.platform.releases import (
    Canary,
    Release,
    ReleaseRecord,
    read_record,
    write_canary,
)
from functions.platform.s3_keys import current_key
from functions.platform.settings import CanarySettings
from testing.fakes import FakeCloudWatch, FakeS3

SETTINGS = CanarySettings("test", "models", 1800)
CURRENT = Release(
    "tugboat-test-demo", "c1", "c1", "v1", "s3://models/c1", "s1", "r1", "2026-11-29T00:00:00+00:00", "demo"
)
CANDIDATE = replace(
    CURRENT, endpoint="tugboat-test-demo-candidate", endpoint_config="c2", model_version="v2", run_id="r2"
)
BEGAN_MS = 1_790_000_030_000
GOOD = Figures(requests=1000, timeouts=5, errors=2, short=10, milliseconds=30_000, clicks=60)


def recorded(canary: Canary | None = None, current: Release | None = CURRENT) -> FakeS3:
    s3 = FakeS3()
    stored: dict[str, Any] = {"release": asdict(current) if current else None, "previous": None}
    if canary:
        stored["canary"] = asdict(canary)
    s3.objects["models", current_key("demo")] = json.dumps(stored).encode()
    return s3


def running(share: int) -> FakeS3:
    return recorded(Canary(CANDIDATE, share, BEGAN_MS))


def event(share: int = 0, seconds: int = -1) -> CanaryEvent:
    return {
        "run_id": "r2",
        "shop_id": "demo",
        "snapshot_id": "s2",
        "model_data_uri": "s3://models/c2",
        "endpoint_config_name": "c2",
        "endpoint_name": "tugboat-test-demo-candidate",
        "model_name": "c2",
        "model_version": "v2",
        "share": share,
        "seconds": seconds,
    }


def call(s3: FakeS3, share: int = 0, seconds: int = -1, cloudwatch: Any = None) -> CanaryResult:
    cloudwatch = cloudwatch or FakeCloudWatch()
    return canary(event(share, seconds), SETTINGS, s3, cloudwatch, BEGAN_MS + 1_800_000)


def figures(current: Figures, candidate: Figures) -> FakeCloudWatch:
    names = {
        "ModelRequests": "requests",
        "ModelTimeouts": "timeouts",
        "ModelErrors": "errors",
        "ShortAnswers": "short",
        "ModelMilliseconds": "milliseconds",
        "Clicks": "clicks",
    }
    of = {"current": current, "candidate": candidate}
    sums = {(metric, side): getattr(of[side], field) for metric, field in names.items() for side in of}
    sums["ModelSetupTime", "tugboat-test-demo"] = current.cold_starts
    sums["ModelSetupTime", "tugboat-test-demo-candidate"] = candidate.cold_starts
    return FakeCloudWatch(sums)


def share_on_record(s3: FakeS3) -> int | None:
    running = read_record(s3, "models", "demo").canary
    return running.share if running else None


def test_a_candidate_begins_with_a_small_share_and_its_time() -> None:
    s3 = recorded()
    assert call(s3) == {"share": 5, "over": False, "wait_s": 1800, "verdict": ""}
    stored = read_record(s3, "models", "demo")
    assert stored.current == CURRENT
    assert stored.canary is not None
    assert (stored.canary.release.endpoint, stored.canary.release.model_version) == (
        "tugboat-test-demo-candidate",
        "v2",
    )
    assert stored.canary.share == 5


def test_the_first_release_has_nothing_to_be_compared_with() -> None:
    for s3 in (FakeS3(), recorded(current=None)):
        over = call(s3)
        assert (over["share"], over["over"]) == (0, True)
        assert "first release" in over["verdict"]


@pytest.mark.parametrize("settings", [structs.replace(SETTINGS, canary_seconds=0), SETTINGS])
def test_a_canary_is_switched_off_by_the_stage_or_by_the_run(settings: CanarySettings) -> None:
    s3 = recorded()
    seconds = 0 if settings is SETTINGS else -1
    over = canary(event(0, seconds), settings, s3, FakeCloudWatch())
    assert (over["share"], over["over"]) == (0, True)
    assert "switched off" in over["verdict"]
    assert share_on_record(s3) is None


def test_a_run_can_have_its_own_time_at_each_share() -> None:
    assert call(recorded(), seconds=7)["wait_s"] == 7


def test_a_candidate_that_is_not_worse_gets_more_and_then_everything() -> None:
    s3, cloudwatch = running(5), figures(GOOD, GOOD)
    larger = call(s3, 5, cloudwatch=cloudwatch)
    assert (larger["share"], larger["over"], larger["wait_s"]) == (25, False, 1800)
    over = call(s3, 25, cloudwatch=cloudwatch)
    assert (over["share"], over["over"]) == (25, True)
    assert over["verdict"] == (
        "Canary at 25%: no figure is worse (1,000 requests of the candidate, 1,000 of the current release). "
        "Clicks per 100 requests: 6.0 against 6.0."
    )
    assert share_on_record(s3) == 25, "until the stage's endpoint serves the model"
    # The figures are those since the canary began, from the start of its minute.
    assert cloudwatch.asked[0]["StartTime"].timestamp() == BEGAN_MS / 1000 // 60 * 60


def test_a_repeated_call_finds_the_next_share_and_judges_nothing() -> None:
    s3 = running(25)
    assert call(s3, 5, cloudwatch=figures(GOOD, GOOD._replace(errors=900))) == {
        "share": 25,
        "over": False,
        "wait_s": 1800,
        "verdict": "",
    }


@pytest.mark.parametrize("requests", [0, 1, 9])
def test_with_too_little_traffic_the_proof_alone_decides_and_the_verdict_says_so(requests: int) -> None:
    broken = Figures(requests=requests, errors=requests)
    for of_current, of_candidate in ((GOOD, broken), (broken, GOOD)):
        verdict = call(running(5), 5, cloudwatch=figures(of_current, of_candidate))["verdict"]
        assert "too little traffic to compare" in verdict
        assert "The golden sessions alone proved the release." in verdict


BAD = {
    "errors or empty answers 9.0% instead of 0.2% of the requests": GOOD._replace(errors=90),
    "timeouts 20.0% instead of 0.5% of the requests": GOOD._replace(timeouts=200),
    "answers with too few items 30.0% instead of 1.0% of the requests": GOOD._replace(short=300),
    "mean time of an answer 81 ms instead of 30 ms": GOOD._replace(milliseconds=80_000),
    "clicks per 100 requests 1.0 instead of 6.0": GOOD._replace(clicks=10),
}


@pytest.mark.parametrize("phrase", BAD)
def test_a_worse_figure_stops_the_run_and_the_message_has_both_values_and_what_to_do(phrase: str) -> None:
    s3 = running(5)
    with pytest.raises(CanaryWorse) as stopped:
        call(s3, 5, cloudwatch=figures(GOOD, BAD[phrase]))
    said = str(stopped.value)
    assert f"v2 is worse than v1 at 5% of the sessions: {phrase} (" in said
    assert "It is taken back, and v1 serves all sessions." in said
    assert "/aws/sagemaker/Endpoints/tugboat-test-demo-candidate" in said
    assert share_on_record(s3) == 5, "the rollback of the run withdraws it"


def test_several_worse_figures_are_all_named() -> None:
    with pytest.raises(CanaryWorse, match=r"errors .*; timeouts .* of the requests \("):
        call(running(5), 5, cloudwatch=figures(GOOD, GOOD._replace(errors=90, timeouts=200)))


def test_timeouts_that_cold_starts_explain_are_not_the_model_s() -> None:
    cold = GOOD._replace(timeouts=200, cold_starts=195)
    assert not worse_figures(GOOD, cold)
    assert worse_figures(GOOD, cold._replace(cold_starts=20))


def test_cold_starts_are_read_of_serverless_endpoints_only() -> None:
    sums = {
        ("ModelSetupTime", name): 7.0 for name in ("e", "e-candidate", "e-realtime", "e-realtime-candidate")
    }
    cloudwatch = FakeCloudWatch(sums)
    found = read_figures(cloudwatch, "test", "demo", "e", "e-candidate", 0, 60)
    assert [one.cold_starts for one in found] == [7, 7]
    found = read_figures(cloudwatch, "test", "demo", "e-realtime", "e-realtime-candidate", 0, 60)
    assert [one.cold_starts for one in found] == [0, 0]


def test_a_few_failures_of_few_requests_are_chance() -> None:
    current = Figures(requests=200, milliseconds=6_000)
    assert not worse_figures(current, Figures(requests=10, errors=1))
    assert worse_figures(current, Figures(requests=10, errors=4))


def test_few_clicks_are_not_compared() -> None:
    assert not worse_figures(GOOD._replace(clicks=49), GOOD._replace(clicks=0))


@given(st.integers(10, 10_000), st.integers(10, 10_000), st.data())
def test_a_candidate_is_never_worse_than_itself_and_more_errors_never_help(
    current: int, candidate: int, data: st.DataObject
) -> None:
    errors = data.draw(st.integers(0, candidate))
    of_current, of_candidate = Figures(requests=current), Figures(requests=candidate, errors=errors)
    assert not worse_figures(of_candidate, of_candidate)
    if errors < candidate and worse_figures(of_current, of_candidate):
        assert worse_figures(of_current, of_candidate._replace(errors=errors + 1))


@given(st.integers(1, 10_000), st.data())
def test_the_bounds_of_a_share_hold_it_and_are_shares(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    low, high = wilson(count, total)
    assert -1e-9 <= low <= count / total + 1e-9
    assert count / total - 1e-9 <= high <= 1 + 1e-9


def test_a_canary_that_a_rollback_withdrew_stops_the_run() -> None:
    for s3 in (recorded(), recorded(Canary(replace(CANDIDATE, endpoint_config="c3"), 5, BEGAN_MS))):
        with pytest.raises(CanaryWithdrawn, match="make rollback"):
            call(s3, 5, cloudwatch=figures(GOOD, GOOD))


def test_a_record_that_changed_meanwhile_is_not_overwritten() -> None:
    s3 = running(5)
    read = read_record(s3, "models", "demo")
    write_canary(read, None, s3, "models")
    with pytest.raises(StorageUnavailable):
        write_canary(read, Canary(CANDIDATE, 25, BEGAN_MS), s3, "models")
    assert read_record(s3, "models", "demo") == ReleaseRecord(CURRENT, None)
