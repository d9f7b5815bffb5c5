"""PUT /catalogue: who may send, what is answered, and that a repeated batch is stored once, at its first time."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from functions.catalogue.intake import Intake
from functions.catalogue.routes import answer_catalogue
from functions.platform.http import ApiRequest
from functions.platform.secret_keys import SecretKeys
from functions.platform.settings import CollectSettings, ShopKeys
from local.aws.proxy_event import Request
from testing.api import invoke
from testing.fakes import FakeS3, FakeSecrets
from tests.unit.functions.platform.test_secret_keys import value

KEY = "a-secret-key"
NOW_MS = 1_767_400_000_123
LINES = b'{"item_id": "boot", "availability": "out_of_stock"}\n{"item_id": "hat", "price": null}\n'


class Killed(BaseException):
    """The end of a Lambda that no code can catch."""


class Back:
    """A shop's back end, and the storage behind the route."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.s3 = FakeS3()
        self.now_ms = NOW_MS
        monkeypatch.setattr("functions.catalogue.routes.time.time_ns", lambda: self.now_ms * 1_000_000)
        self.keys = SecretKeys("keys", lambda: FakeSecrets(value(demo=[KEY], gone=["old"])))
        self.settings = CollectSettings("test", ShopKeys({"k": "demo"}), "e", "r", "events", "r", "s")

    def put(
        self, body: bytes = LINES, authorization: str | None = f"Bearer {KEY}", claim: str | None = None
    ) -> Any:
        request = ApiRequest("r1", "PUT", {}, body)
        intake = Intake(self.s3, "events")
        return answer_catalogue(request, authorization, claim, self.keys, self.settings, intake)

    def files(self) -> dict[str, list[dict[str, Any]]]:
        return {
            key: [json.loads(line) for line in gzip.decompress(body).splitlines()]
            for (_, key), body in self.s3.objects.items()
            if key.startswith("catalogue/")
        }


@pytest.fixture
def back(monkeypatch: pytest.MonkeyPatch) -> Back:
    return Back(monkeypatch)


def test_a_batch_is_one_file_with_the_stated_fields(back: Back) -> None:
    answer = back.put(LINES + b"{}")
    assert answer.status_code == 200
    [refused] = answer.body.pop("refused")
    assert refused["reason"] == "field_missing"
    assert answer.body == {"accepted": 2, "received_at_ms": NOW_MS, "request_id": "r1"}
    [(key, lines)] = back.files().items()
    assert key.startswith(f"catalogue/demo/2026/01/03/{NOW_MS}-2-")
    assert key.endswith(".changes.jsonl.gz")
    stamp = {
        "feed_id": f"{NOW_MS}-changes",
        "imported_at_ms": NOW_MS,
        "complete": False,
        "format": "changes",
        "deleted": False,
    }
    assert lines == [
        {
            "shop_id": "demo",
            "item_id": "boot",
            "availability": "out_of_stock",
            "feed": {**stamp, "changes": ",availability,"},
        },
        {"shop_id": "demo", "item_id": "hat", "price": None, "feed": {**stamp, "changes": ",price,"}},
    ]


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        (None, "the secret key is missing"),
        ("Bearer wrong", "not known here"),
        ("Basic a", "contains no secret key"),
        ("Bearer old", "no longer lists"),
    ],
)
def test_only_a_listed_shop_s_secret_key_may_change_its_catalogue(
    back: Back, authorization: str | None, words: str
) -> None:
    answer = back.put(authorization=authorization)
    assert (answer.status_code, answer.body["error"]["reason"]) == (401, "wrong_secret_key")
    assert words in answer.body["error"]["message"]
    assert back.s3.objects == {}


def test_a_repeated_batch_is_stored_once_at_its_first_time(back: Back) -> None:
    first = back.put(claim="c1")
    back.now_ms += 60_000
    again = back.put(claim="c1")
    assert again.body["received_at_ms"] == first.body["received_at_ms"] == NOW_MS
    assert len(back.files()) == 1


def test_a_batch_whose_lambda_was_killed_before_the_file_is_stored_by_the_retry(back: Back) -> None:
    puts = []

    def kill() -> None:
        puts.append(1)
        if len(puts) == 2:  # the claim is written, the file is not
            raise Killed

    back.s3.before_request = kill
    with pytest.raises(Killed):
        back.put(claim="c1")
    assert back.files() == {}
    back.now_ms += 60_000
    assert back.put(claim="c1").body["received_at_ms"] == NOW_MS
    [key] = back.files()
    assert f"/{NOW_MS}-" in key


def test_an_idempotency_key_with_another_batch_is_refused(back: Back) -> None:
    back.put(claim="c1")
    answer = back.put(b'{"item_id": "boot", "price": 1}', claim="c1")
    assert (answer.status_code, answer.body["error"]["reason"]) == (409, "idempotency_key_reused")
    assert len(back.files()) == 1
    assert back.put(claim="").body["error"]["reason"] == "parameter_invalid"
    assert back.put(claim="x" * 201).body["error"]["reason"] == "parameter_invalid"


def test_without_an_idempotency_key_each_batch_counts(back: Back) -> None:
    back.put()
    back.now_ms += 1
    back.put()
    assert len(back.files()) == 2


def test_a_batch_is_promised_only_if_s3_has_it(back: Back) -> None:
    back.s3.down = True
    answer = back.put(claim="c1")
    assert (answer.status_code, answer.body["error"]["reason"]) == (503, "storage_unavailable")
    assert answer.headers["Retry-After"]


def test_a_batch_without_a_valid_line_is_answered_and_not_stored(back: Back) -> None:
    answer = back.put(b"{}")
    assert (answer.status_code, answer.body["accepted"], len(answer.body["refused"])) == (200, 0, 1)
    assert back.s3.objects == {}


def test_the_example_of_the_docs_has_the_answer_that_they_show(back: Back) -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "catalogue.md").read_text()
    lines = text.split("<<'LINES'\n")[1].split("LINES\n")[0]
    shown = json.loads(text.split("```json\n")[1].split("```")[0])
    answer = back.put(lines.encode(), claim="c1").body
    assert {**answer, "received_at_ms": shown["received_at_ms"], "request_id": "..."} == shown


def test_the_route_reads_the_key_and_the_idempotency_key_of_the_headers(
    back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.platform.settings.collect_settings", lambda: back.settings)
    monkeypatch.setattr("functions.platform.secret_keys.secret_keys", lambda _: back.keys)
    monkeypatch.setattr("functions.wiring.time_boxed_client", lambda *_: back.s3)
    headers = [
        ("Authorization", f"Bearer {KEY}"),
        ("Idempotency-Key", "c1"),
        ("Content-Type", "application/jsonl"),
    ]
    for _ in range(2):
        back.now_ms += 1
        request = Request("PUT", "/catalogue", "", headers, LINES, "203.0.113.9")
        answer = json.loads(invoke(request, "/catalogue"))
        assert (answer["statusCode"], json.loads(answer["body"])["accepted"]) == (200, 2)
    assert len(back.files()) == 1
