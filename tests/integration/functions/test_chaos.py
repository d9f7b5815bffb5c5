"""Each service that a request needs, in each trouble: the answer comes in time, and no event is lost.

The clients are boto3's, as in a Lambda; the services are servers on 127.0.0.1.
"""

import base64
import gzip
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from botocore.compat import unquote

from functions import wiring
from functions.collect import secret_keys
from functions.collect.secret_keys import digest
from functions.platform import clients, receipt_keys, settings, time_box
from functions.platform.contract import CURRENT_KEY, FALLBACK_KEY, RAW_PREFIX
from functions.platform.events import delivery
from local.aws.proxy_event import Request, build_response
from testing.api import invoke
from testing.troubled_service import Answer, Received, Trouble, TroubledService, json_answer, troubled
from tests.browser.world import KEY, SETTINGS

SECRET_KEY = "tugboat-secret-1"

# Each service, and the name of its endpoint's variable: boto3's service id, which is another name than the client's.
VARIABLES = {
    "firehose": "FIREHOSE",
    "s3": "S3",
    "sagemaker-runtime": "SAGEMAKER_RUNTIME",
    "secretsmanager": "SECRETS_MANAGER",
}
SERVICES = tuple(VARIABLES)
TROUBLES = [trouble for trouble in Trouble if trouble is not Trouble.NONE]
# A busy machine may take this much longer. A call that is not time-boxed takes 29 s or more.
SLACK_S = 5.0
# Shorter boxes than a deployment's, for a quick test.
TIMEOUT_S, FIREHOSE_S = 0.5, 1.0
ENDPOINT_S = int(SETTINGS["TUGBOAT_ENDPOINT_TIMEOUT_MS"]) / 1000


def put_records(received: Received) -> Answer:
    records = json.loads(received.body)["Records"]
    return json_answer({"FailedPutCount": 0, "RequestResponses": [{"RecordId": "r"} for _ in records]})


def object_of(received: Received) -> Answer:
    method, _, path = received.line.partition(" ")
    if method == "PUT":
        return Answer(200, b"", {"etag": '"e"'})
    stored = {
        CURRENT_KEY: {"release": {"endpoint": "tugboat-test"}},
        FALLBACK_KEY: {
            "popular": [f"p{number}" for number in range(20)],
            "related": {"a": ["r1", "r2"]},
            "model_version": "m1",
        },
    }
    return json_answer(stored[unquote(path.partition("?")[0]).split("/", 2)[2]])


def recommended(received: Received) -> Answer:
    items = [{"item_id": f"m{number}", "score": 1.0} for number in range(json.loads(received.body)["k"])]
    return json_answer({"items": items, "reason": "as asked", "model_version": "m1"})


def secret(received: Received) -> Answer:
    asked = json.loads(received.body)
    if asked["SecretId"] == SETTINGS["TUGBOAT_SECRET_KEYS_SECRET"]:
        return json_answer({"SecretString": json.dumps({"demo": [{"sha256": digest(SECRET_KEY)}]})})
    return json_answer({"SecretString": asked["VersionStage"]})


GOOD = dict(zip(SERVICES, (put_records, object_of, recommended, secret), strict=True))


class Answered(NamedTuple):
    """A response, and how long it took."""

    status: int
    body: dict[str, Any]
    took_s: float


class Lambda:
    """One execution environment of app.py, with its services."""

    def __init__(self, services: dict[str, TroubledService]) -> None:
        self.services = services

    def start_cold(self) -> None:
        """Forget everything, as a new execution environment has."""
        for cached in (
            *(settings.collect_settings, settings.recommend_settings),
            *(clients.time_boxed_client, receipt_keys.receipt_keys, wiring.recommender),
            secret_keys.secret_keys,
            time_box.executor,
        ):
            cached.cache_clear()

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

    def send(self, event_id: str, authorization: str = "") -> Answered:
        event = {
            "event_id": event_id,
            "event_name": "page_view",
            "shop_id": "demo",
            "client_id": "c1",
            "session_id": "s1",
            "client_time_ms": time.time_ns() // 1_000_000,
            "schema_version": 1,
        }
        body = json.dumps({"events": [event]}).encode()
        return self.request("POST", "/events", f"key={KEY}", body, authorization)

    def stored(self) -> set[str]:
        """Return the ids of the events that Firehose or S3 took."""
        records = b"".join(
            received.body for received in self.services["firehose"].served if b"Records" in received.body
        )
        lines = [
            line
            for received in self.services["s3"].served
            if received.line.startswith("PUT")
            for line in gzip.decompress(_unframed(received)).splitlines()
        ]
        return {json.loads(line)["event_id"] for line in lines} | _ids_in_records(records)


def _ids_in_records(bodies: bytes) -> set[str]:
    found: set[str] = set()
    decoder = json.JSONDecoder()
    text = bodies.decode()
    while text:
        body, end = decoder.raw_decode(text)
        text = text[end:]
        for record in body["Records"]:
            lines = base64.b64decode(record["Data"]).splitlines()
            found |= {json.loads(line)["event_id"] for line in lines}
    return found


def _unframed(received: Received) -> bytes:
    """Return an object's bytes without the frames of aws-chunked, in which the SDK sends its checksum."""
    if "aws-chunked" not in received.headers.get("content-encoding", ""):
        return received.body
    body, found = received.body, b""
    while size := int(body.split(b"\r\n", 1)[0].split(b";")[0], 16):
        start = body.index(b"\r\n") + 2
        found, body = found + body[start : start + size], body[start + size + 2 :]
    return found


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lambda]:
    with ExitStack() as stack:
        services = {name: stack.enter_context(troubled(GOOD[name])) for name in SERVICES}
        for name, service in services.items():
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{VARIABLES[name]}", service.address)
        for name, value in {
            **SETTINGS,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(wiring, "FIREHOSE_TIMEOUT_MS", int(TIMEOUT_S * 1000))
        monkeypatch.setattr(wiring, "S3_TIMEOUT_MS", int(TIMEOUT_S * 1000))
        monkeypatch.setattr(delivery, "FIREHOSE_S", FIREHOSE_S)
        environment = Lambda(services)
        environment.start_cold()
        yield environment
        environment.start_cold()


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
    recommender = wiring.recommender()
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
    "trouble", [Trouble.REFUSE, Trouble.FAIL, Trouble.HANG, Trouble.GARBAGE, Trouble.NONSENSE]
)
def test_an_event_that_nobody_takes_is_answered_with_503_in_time(cold: Lambda, trouble: Trouble) -> None:
    cold.services["firehose"].trouble = Trouble.REFUSE
    cold.services["s3"].trouble = trouble
    answered = cold.send("e1")
    assert answered.status == 503
    assert answered.body["error"]["reason"] == "storage_unavailable"
    assert answered.took_s < 2 * TIMEOUT_S + SLACK_S


def test_the_parked_file_lies_below_raw(cold: Lambda) -> None:
    cold.services["firehose"].trouble = Trouble.HANG
    cold.send("e1")
    [put] = [one for one in cold.services["s3"].served if one.line.startswith("PUT")]
    assert put.line.startswith(f"PUT /{SETTINGS['TUGBOAT_EVENTS_BUCKET']}/{RAW_PREFIX}")


@pytest.mark.parametrize("trouble", [trouble for trouble in TROUBLES if trouble is not Trouble.SLOW_START])
def test_a_back_end_s_events_are_neither_lost_nor_untrusted_while_the_keys_cannot_be_read(
    cold: Lambda, trouble: Trouble
) -> None:
    cold.services["secretsmanager"].trouble = trouble
    answered = cold.send("e1", f"Bearer {SECRET_KEY}")
    assert (answered.status, answered.body["error"]["reason"]) == (503, "secret_keys_unavailable")
    assert answered.took_s < 1 + SLACK_S
    assert cold.stored() == set()
    assert cold.send("e2").status == 200, "a page needs no secret key"
    cold.services["secretsmanager"].trouble = Trouble.NONE
    cold.start_cold()
    assert cold.send("e1", f"Bearer {SECRET_KEY}").status == 200
    assert cold.stored() == {"e1", "e2"}
