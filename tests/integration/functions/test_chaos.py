"""Each service that a request needs, in each trouble: the answer comes in time, and no event is lost.

The clients are boto3's, as in a Lambda; the services are servers on 127.0.0.1.
"""

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from functions import wiring
from functions.platform import receipt_keys
from functions.platform.contract import RAW_PREFIX
from functions.platform.events import delivery
from local.aws.proxy_event import Request, build_response
from testing.api import invoke
from testing.lambda_services import (
    SECRET_KEY,
    TROUBLES,
    client_variables,
    firehose_lines,
    lambda_services,
    parked_lines,
    start_cold,
)
from testing.troubled_service import Trouble, TroubledService
from tests.browser.world import KEY, SETTINGS

# A busy machine may take this much longer. A call that is not time-boxed takes 29 s or more.
SLACK_S = 5.0
# Shorter boxes than a deployment's, for a quick test.
TIMEOUT_S, FIREHOSE_S = 0.5, 1.0
ENDPOINT_S = int(SETTINGS["TUGBOAT_ENDPOINT_TIMEOUT_MS"]) / 1000


class Answered(NamedTuple):
    """A response, and how long it took."""

    status: int
    body: dict[str, Any]
    took_s: float


class Lambda:
    """One execution environment of app.py, with its services."""

    def __init__(self, services: dict[str, TroubledService]) -> None:
        self.services = services

    def request(
        self, method: str, path: str, query: str, body: bytes = b"", authorization: str = ""
    ) -> Answered:
        began = time.monotonic()
        headers = [("Authorization", authorization)] if authorization else []
        payload = invoke(Request(method, path, query, headers, body, peer="203.0.113.77"), path)
        took_s = time.monotonic() - began
        answer = build_response(payload, None, [])
        return Answered(answer.status, json.loads(answer.body), took_s)

    def recommend(self) -> Answered:
        return self.request("GET", "/recommend", "items=a&k=3&shop=demo&session=s1")

    def send(self, *event_ids: str, forged: bool = False, authorization: str = "") -> Answered:
        """Send events in one request, each with a forged receipt of its own if `forged`."""
        events = [self._event(event_id) for event_id in event_ids]
        for event in events if forged else []:
            event |= {"items": [{"item_id": "a"}], "receipt": f"v1.{event['event_id']}.x"}
        body = json.dumps({"events": events}).encode()
        return self.request("POST", "/events", f"key={KEY}", body, authorization)

    @staticmethod
    def _event(event_id: str) -> dict[str, Any]:
        return {
            "event_id": event_id,
            "event_name": "page_view",
            "shop_id": "demo",
            "client_id": "c1",
            "session_id": "s1",
            "client_time_ms": time.time_ns() // 1_000_000,
            "schema_version": 1,
        }

    def stored(self) -> set[str]:
        """Return the ids of the events that Firehose or S3 took."""
        taken = (firehose_lines(self.services["firehose"]), parked_lines(self.services["s3"]))
        return {json.loads(line)["event_id"] for found in taken for lines in found.values() for line in lines}


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lambda]:
    with lambda_services() as services:
        for name, value in {**SETTINGS, **client_variables(services)}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(wiring, "FIREHOSE_TIMEOUT_MS", int(TIMEOUT_S * 1000))
        monkeypatch.setattr(wiring, "S3_TIMEOUT_MS", int(TIMEOUT_S * 1000))
        monkeypatch.setattr(delivery, "FIREHOSE_S", FIREHOSE_S)
        start_cold()
        yield Lambda(services)
        start_cold()


def test_without_a_trouble_every_service_is_asked(cold: Lambda) -> None:
    answered = cold.recommend()
    assert (answered.status, answered.body["source"]) == (200, "model")
    assert answered.body["receipt"]
    cold.send("e1")
    assert all(service.served for service in cold.services.values())


@pytest.mark.parametrize("trouble", TROUBLES)
def test_recommend_answers_within_its_box_whatever_the_endpoint_does(cold: Lambda, trouble: Trouble) -> None:
    assert cold.recommend().body["source"] == "model"
    cold.services["sagemaker-runtime"].trouble = trouble
    answered = cold.recommend()
    assert answered.status == 200
    assert len(answered.body["items"]) == 3
    expected = "model" if trouble is Trouble.SLOW_START else "related"
    assert answered.body["source"] == expected, answered.body["reason"]
    assert answered.took_s < ENDPOINT_S + SLACK_S


@pytest.mark.parametrize("trouble", TROUBLES)
def test_recommend_needs_neither_s3_nor_secrets_for_its_model(cold: Lambda, trouble: Trouble) -> None:
    cold.services["s3"].trouble = cold.services["secretsmanager"].trouble = trouble
    first, second = cold.recommend(), cold.recommend()
    assert (first.status, second.status) == (200, 200)
    assert (first.body["source"], second.body["source"]) == ("model", "model")
    assert first.took_s < 2 + SLACK_S
    assert second.took_s < SLACK_S, "only the first request of an environment waits"


@pytest.mark.parametrize("trouble", [trouble for trouble in TROUBLES if trouble is not Trouble.SLOW_START])
def test_a_warm_environment_answers_from_its_fallback_while_endpoint_and_s3_are_away(
    cold: Lambda, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold.recommend()
    for name in ("s3", "sagemaker-runtime", "secretsmanager"):
        cold.services[name].trouble = trouble
    recommender = wiring.recommenders().of(None)
    monkeypatch.setattr(recommender.fallback, "_due_at_s", float("-inf"))
    monkeypatch.setattr(recommender.served, "_due_at_s", float("-inf"))
    answered = cold.recommend()
    assert (answered.status, answered.body["source"]) == (200, "related")
    assert answered.took_s < ENDPOINT_S + SLACK_S


@pytest.mark.parametrize("trouble", [trouble for trouble in TROUBLES if trouble is not Trouble.SLOW_START])
def test_a_cold_environment_without_endpoint_and_s3_says_so(cold: Lambda, trouble: Trouble) -> None:
    for name in ("s3", "sagemaker-runtime"):
        cold.services[name].trouble = trouble
    answered = cold.recommend()
    assert answered.status == 503
    assert answered.body["error"]["reason"] == "model_unavailable"
    assert answered.took_s < ENDPOINT_S + 2 + SLACK_S


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_firehose_does_not_take_is_parked(cold: Lambda, trouble: Trouble) -> None:
    cold.services["firehose"].trouble = trouble
    answered = cold.send("e1")
    assert (answered.status, answered.body["accepted"]) == (200, 1)
    assert cold.stored() == {"e1"}
    assert answered.took_s < FIREHOSE_S + SLACK_S


@pytest.mark.parametrize(
    "trouble", [Trouble.REFUSE, Trouble.FAIL, Trouble.HANG, Trouble.GARBAGE, Trouble.NONSENSE, Trouble.CUT]
)
def test_an_event_that_nobody_takes_is_answered_with_503_in_time(cold: Lambda, trouble: Trouble) -> None:
    cold.services["firehose"].trouble = Trouble.REFUSE
    cold.services["s3"].trouble = trouble
    answered = cold.send("e1")
    assert answered.status == 503
    assert answered.body["error"]["reason"] == "storage_unavailable"
    assert answered.took_s < 2 * TIMEOUT_S + SLACK_S


@pytest.mark.parametrize("trouble", [Trouble.HANG, Trouble.DRIP])
def test_a_batch_of_forged_receipts_waits_once_for_keys_that_do_not_come(
    cold: Lambda, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipt_keys, "RECHECK_S", 0.0)
    assert cold.recommend().body["receipt"]
    cold.services["secretsmanager"].trouble = trouble
    ids = [f"e{number}" for number in range(12)]
    answered = cold.send(*ids, forged=True)
    assert (answered.status, answered.body["accepted"]) == (200, len(ids))
    assert cold.stored() == set(ids)
    assert answered.took_s < receipt_keys.TIMEOUT_MS / 1000 + SLACK_S


def test_the_parked_file_lies_below_raw(cold: Lambda) -> None:
    cold.services["firehose"].trouble = Trouble.HANG
    cold.send("e1")
    [put] = [one for one in cold.services["s3"].served if one.line.startswith("PUT")]
    assert put.line.startswith(f"PUT /{SETTINGS['TUGBOAT_EVENTS_BUCKET']}/{RAW_PREFIX}")


@pytest.mark.parametrize("trouble", [trouble for trouble in TROUBLES if trouble is not Trouble.SLOW_START])
def test_a_back_end_s_events_are_neither_lost_nor_untrusted_while_the_keys_cannot_be_read(
    cold: Lambda, trouble: Trouble
) -> None:
    authorization = f"Bearer {SECRET_KEY}"
    cold.services["secretsmanager"].trouble = trouble
    answered = cold.send("e1", authorization=authorization)
    assert (answered.status, answered.body["error"]["reason"]) == (503, "secret_keys_unavailable")
    assert answered.took_s < 1 + SLACK_S
    assert cold.stored() == set()
    assert cold.send("e2").status == 200, "a page needs no secret key"
    cold.services["secretsmanager"].trouble = Trouble.NONE
    start_cold()
    assert cold.send("e1", authorization=authorization).status == 200
    assert cold.stored() == {"e1", "e2"}
