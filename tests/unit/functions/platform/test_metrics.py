"""Metrics in the embedded metric format: valid documents, the contract's names, and a bounded number of metrics."""

import io
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest

import contracts
from functions.collect.origin import Origin
from functions.collect.routes import answer_batch, answer_pixel
from functions.platform import metrics
from functions.platform.contract import METRICS, METRICS_NAMESPACE
from functions.platform.errors import Reason
from functions.platform.events.intake import Intake
from functions.platform.http import ApiRequest
from functions.platform.log import JsonFormatter, get_logger
from functions.platform.receipt import issue
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.s3_keys import current_key, fallback_key
from functions.platform.settings import CollectSettings
from functions.platform.time_box import Deadline
from functions.recommend.fallback import stored_fallback
from functions.recommend.recommend import (
    FALLBACK_REASONS,
    FallbackReason,
    Recommender,
    fallback_reason,
    recommend,
)
from functions.recommend.request import RecommendRequest
from functions.recommend.served import served_release
from local.aws.cloudwatch.embedded import read
from testing.api import Context
from testing.fakes import FakeEndpoint, FakeFirehose, FakeS3, FakeSecrets, client_error
from tests.unit.functions.recommend.test_recommend import SETTINGS, good_answer

KEY = "key-of-demo"
ORIGIN = Origin(None, "other", False)
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
UNITS = {"Count", "Milliseconds", "None"}


@pytest.fixture
def printed() -> Iterator[io.StringIO]:
    """The output of the functions' loggers."""
    get_logger("functions.test")
    [handler] = [
        one
        for one in logging.getLogger("functions").handlers
        if isinstance(one, logging.StreamHandler) and isinstance(one.formatter, JsonFormatter)
    ]
    printed = io.StringIO()
    before = handler.setStream(printed)
    yield printed
    handler.setStream(before)


def written(printed: io.StringIO) -> dict[tuple[str, str], list[float]]:
    """Return the values by metric and reason or release, as CloudWatch reads them."""
    found: dict[tuple[str, str], list[float]] = {}
    for line in printed.getvalue().splitlines():
        if "_aws" not in json.loads(line):
            continue
        for datum in read(line):
            dimensions = dict(datum.metric.dimensions)
            assert dimensions.pop("Stage") == "test"
            # Of a shop only what no other set counts: the figures of a canary.
            shop, release = dimensions.pop("Shop", ""), dimensions.pop("Release", "")
            assert shop in ("", "demo")
            if shop and not release:
                continue
            reason = dimensions.pop("Reason", "") or release
            assert not dimensions
            assert datum.metric.namespace == METRICS_NAMESPACE
            found.setdefault((datum.metric.name, reason), []).extend(datum.values)
    printed.truncate(0)
    printed.seek(0)
    return found


def sums(printed: io.StringIO) -> dict[tuple[str, str], float]:
    return {key: sum(values) for key, values in written(printed).items()}


def intake() -> Intake:
    settings = CollectSettings(
        "test", {KEY: "demo"}, "events", "rejected", "bucket", "receipts", "secret-keys"
    )
    keys = ReceiptKeys("receipts", FakeSecrets)
    return Intake(settings, FakeFirehose(), FakeS3(), keys, Context().get_remaining_time_in_millis)


def send(body: Any, key: str = KEY) -> None:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = ApiRequest("r1", "POST", {"key": key}, payload)
    answer_batch(request, ORIGIN, intake(), None, None)  # type: ignore[arg-type]  # without a secret key, none is read


def event(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "event_id": f"e{number}",
        "event_name": "page_view",
        "shop_id": "demo",
        "client_id": "c",
        "session_id": "s",
        "client_time_ms": time.time_ns() // 1_000_000,
        **changes,
    }


def test_the_contract_names_each_metric_with_its_unit_dimensions_and_meaning() -> None:
    contract = contracts.read("metrics")
    assert contract["metrics"].keys() == METRICS.keys()
    for name, one in contract["metrics"].items():
        assert one["unit"] in UNITS, name
        # A metric of a canary is of one release, and a metric without releases has its sum.
        assert ["Stage"] in one["dimensions"] or one["dimensions"] == [["Stage", "Shop", "Release"]], name
        known = {"Stage", "Shop", "Reason", "Release"}
        assert {dimension for names in one["dimensions"] for dimension in names} <= known
        assert one["meaning"].endswith(".")
        assert one["writer"] in ("collect", "recommend", "validate")


def test_accepted_and_refused_events_count_and_each_reason_by_itself(printed: io.StringIO) -> None:
    events = [
        event(0),
        event(1, event_name="drill"),
        event(2, event_name="other"),
        event(3, shop_id="stranger"),
        7,
    ]
    send({"events": events})
    found = sums(printed)
    by_reason = {
        reason: count for (name, reason), count in found.items() if name == "EventsRefused" and reason
    }
    assert found["EventsRefused", ""] == sum(by_reason.values())
    assert (found["EventsAccepted", ""], found["EventsRefused", ""]) == (1, 4)
    assert by_reason["unknown_event_name"] == 2
    assert by_reason["event_not_an_object"] == 1


def test_a_request_without_refusals_writes_one_line_with_both_parts_of_the_share(
    printed: io.StringIO,
) -> None:
    send({"events": [event(0)]})
    lines = [line for line in printed.getvalue().splitlines() if "_aws" in json.loads(line)]
    assert len(lines) == 1
    assert written(printed) == {("EventsAccepted", ""): [1], ("EventsRefused", ""): [0]}


def test_a_refused_body_counts_as_one_refused_event(printed: io.StringIO) -> None:
    send(b"{")
    assert sums(printed) == {
        ("EventsAccepted", ""): 0,
        ("EventsRefused", ""): 1,
        ("EventsRefused", "body_not_json"): 1,
    }
    send({"events": [event(0)]}, key="stranger")
    assert sums(printed)["EventsRefused", "wrong_key"] == 1
    answer_pixel(ApiRequest("r2", "GET", {"key": "stranger"}, b""), ORIGIN, intake())
    assert sums(printed)["EventsRefused", "wrong_key"] == 1


def test_no_text_of_a_caller_becomes_a_dimension(printed: io.StringIO) -> None:
    strange = [event(n, event_name=f"name-{n}", shop_id=f"shop-{n}", extra={f"k{n}": n}) for n in range(300)]
    send({"events": [*strange, *range(100), *[{}] * 50]})
    reasons = {reason for _, reason in written(printed)}
    assert reasons - {""} <= {reason.value for reason in Reason}
    assert len(reasons) < 6


def answered(endpoint: Any, s3: FakeS3) -> None:
    settings = SETTINGS.__class__(
        **{f: getattr(SETTINGS, f) for f in SETTINGS.__struct_fields__} | {"stage": "test"}
    )
    served, fallback = served_release(s3, "models", "demo"), stored_fallback(s3, "models", "demo")
    recommender = Recommender(settings, "demo", endpoint, served, fallback)
    recommend(RecommendRequest(["a"], 3, []), recommender, Deadline.after(20))


def with_fallback(popular: list[str]) -> FakeS3:
    s3 = FakeS3()
    stored = {"popular": popular, "related": {}, "model_version": "m1"}
    s3.objects["models", fallback_key("demo")] = json.dumps(stored).encode()
    return s3


def test_a_carousel_of_the_model_counts_with_the_age_of_its_release(printed: io.StringIO) -> None:
    s3 = with_fallback(["p"])
    release = {"endpoint": "tugboat-test", "published_at": "2026-01-01T00:00:00+00:00"}
    s3.objects["models", current_key("demo")] = json.dumps({"release": release}).encode()
    answered(FakeEndpoint(good_answer), s3)
    found = sums(printed)
    assert found["ModelAgeHours", ""] > 24
    assert (found["Recommendations", ""], found["Fallbacks", ""], found["EmptyAnswers", ""]) == (1, 0, 0)


@pytest.mark.parametrize("published_at", [None, "yesterday", 5])
def test_a_release_without_a_readable_time_is_served_and_has_no_age(
    published_at: Any, printed: io.StringIO
) -> None:
    s3 = with_fallback(["p"])
    release = {"endpoint": "other", "published_at": published_at}
    s3.objects["models", current_key("demo")] = json.dumps({"release": release}).encode()
    endpoint = FakeEndpoint(good_answer)
    answered(endpoint, s3)
    assert endpoint.asked == ["other"]
    assert ("ModelAgeHours", "") not in written(printed)


def test_a_fallback_counts_by_its_reason_and_an_empty_one_as_empty(printed: io.StringIO) -> None:
    def fail(_: Any) -> Any:
        raise client_error("ThrottlingException", "slow down")

    answered(FakeEndpoint(fail), with_fallback([]))
    found = sums(printed)
    assert (found["Fallbacks", ""], found["Fallbacks", "throttled"]) == (1, 1)
    assert found["EmptyAnswers", ""] == 1


def test_both_releases_count_while_a_canary_runs_and_none_without(printed: io.StringIO) -> None:
    answered(FakeEndpoint(good_answer), with_fallback(["p"]))
    assert not {name for name, _ in written(printed)} & {"ModelRequests", "ModelErrors", "ModelMilliseconds"}
    s3 = with_fallback(["p"])
    release = {"shop_id": "demo", "endpoint": "candidate", "endpoint_config": "c2", "model_version": "m1"}
    stored = {"release": {"endpoint": "current"}, "canary": {"release": release, "share": 100}}
    s3.objects["models", current_key("demo")] = json.dumps(stored).encode()
    answered(FakeEndpoint(good_answer), s3)
    found = sums(printed)
    assert (found["ModelRequests", "candidate"], found["ModelErrors", "candidate"]) == (1, 0)
    assert found["ShortAnswers", "candidate"] == 0
    assert found["ModelMilliseconds", "candidate"] >= 0

    def fail(_: Any) -> Any:
        raise client_error("ModelError")

    answered(FakeEndpoint(fail), s3)
    found = sums(printed)
    assert (found["ModelErrors", "candidate"], found["ModelTimeouts", "candidate"]) == (1, 0)
    assert ("ModelMilliseconds", "candidate") not in found
    assert found["Fallbacks", ""] == 1, "the current release failed too"


def click(number: int, receipt: str) -> dict[str, Any]:
    items = [{"item_id": "a", "receipt": receipt}]
    return event(number, event_name="recommendation_click", items=items)


def test_clicks_count_by_the_release_of_their_receipt(printed: io.StringIO) -> None:
    def receipt(variant: str, session: str = "s") -> str:
        return issue("r", "demo", session, "m", variant, ["a"], int(time.time()), b"key-1")

    tokens = [*(receipt(one) for one in ("candidate", "current", "candidate", "all-traffic")), "forged"]
    send(
        {
            "events": [
                click(number, token) for number, token in enumerate([*tokens, receipt("candidate", "t")])
            ]
        }
    )
    found = sums(printed)
    assert found["EventsAccepted", ""] == 6
    assert {key: count for key, count in found.items() if key[0] == "Clicks"} == {
        ("Clicks", "candidate"): 2,
        ("Clicks", "current"): 1,
    }


@pytest.mark.parametrize("cause", [*FALLBACK_REASONS, "unreadable answer: KeyError", "SomethingNew"])
def test_every_cause_of_a_fallback_has_a_kind(cause: str) -> None:
    assert isinstance(fallback_reason(cause), FallbackReason)
    assert (fallback_reason(cause) is FallbackReason.OTHER) == (cause == "SomethingNew")


def test_the_largest_line_is_far_below_the_limits_of_the_format(printed: io.StringIO) -> None:
    class Longest(StrEnum):
        ONE = max((one.value for one in Reason), key=len)

    values = metrics.MetricValues(**{name: 123_456.789 for name in METRICS})  # type: ignore[typeddict-item]
    candidate = metrics.ComparedRelease.CANDIDATE
    document = metrics.document(
        "longest-stage-na", values, Longest.ONE, 1_790_000_000_000, candidate, "s" * 64
    )
    assert len(json.dumps(document)) < 2_500
    directives = document["_aws"]["CloudWatchMetrics"]
    assert len(directives) <= 5
    named = Counter(metric["Name"] for directive in directives for metric in directive["Metrics"])
    assert named == Counter(METRICS.keys())
