"""The Python SDK against a collector that answers well, badly, slowly or not at all."""

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

import contracts
from testing.troubled_service import Answer, Received, Trouble, TroubledService, json_answer, troubled
from tests.unit.clients.shop_api import RECOMMENDATION, ShopApi, refusal
from tests.unit.contracts.test_document import KEY, SECRET_KEY, Shop, shop  # noqa: F401
from tugboat_events import Refused, Tugboat, client, sender, transport
from tugboat_events.contract import RECOMMEND_EXCLUDE_MAX, RECOMMEND_ITEMS_MAX

SDK = contracts.REPOSITORY / "clients" / "python"
WHO: Any = {"client_id": "c-1", "session_id": "s-1"}
TROUBLES = [trouble for trouble in Trouble if trouble is not Trouble.NONE]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "BACKOFF_FIRST_S", 0.02)
    monkeypatch.setattr(sender, "BACKOFF_MAX_S", 0.05)
    monkeypatch.setattr(sender, "REQUEST_TIMEOUT_S", 0.4)


@pytest.fixture
def api() -> ShopApi:
    return ShopApi()


@pytest.fixture
def service(api: ShopApi) -> Iterator[TroubledService]:
    with troubled(api) as service:
        yield service


def made(service: TroubledService, **more: Any) -> Tugboat:
    return Tugboat(service.address, "demo", "secret-key", **{"max_age_s": 0.01, **more})


def test_events_are_stored_in_order_with_the_shop_s_key_and_the_sdk_s_name(
    service: TroubledService, api: ShopApi
) -> None:
    with made(service, max_age_s=60.0) as tugboat:
        ids = [tugboat.track("search", search_term=f"boot {number}", **WHO) for number in range(1_200)]
    assert list(api.stored) == ids
    assert api.batches[0] == 500
    assert len(api.batches) <= 4
    first = api.requests[0]
    assert first.line == "POST /events?key=secret-key"
    assert re.fullmatch(r"tugboat-python/\d+\.\d+\.\d+", first.headers["user-agent"])
    assert tugboat.counts == (1_200, 0, 0, 0)


def test_the_secret_key_is_in_the_header_of_events_and_of_nothing_else(
    service: TroubledService, api: ShopApi
) -> None:
    with Tugboat(service.address, "demo", secret_key="tugboat-secret-1", max_age_s=0.01) as tugboat:
        tugboat.track("page_view", **WHO)
        assert tugboat.flush()
        assert tugboat.recommend(["boot-7"], timeout_s=5)
    events, question = api.requests
    assert events.line == "POST /events"
    assert events.headers["authorization"] == "Bearer tugboat-secret-1"
    assert "authorization" not in question.headers


def test_events_wait_until_a_new_secret_key_is_known(
    service: TroubledService, api: ShopApi, caplog: pytest.LogCaptureFixture
) -> None:
    api.refusals = [refusal(401, "wrong_secret_key"), refusal(503, "secret_keys_unavailable")]
    with Tugboat(service.address, "demo", secret_key="tugboat-secret-1", max_age_s=0.01) as tugboat:
        tugboat.track("page_view", **WHO)
        assert tugboat.flush()
        assert tugboat.counts == (1, 0, 0, 0)
    assert "wrong_secret_key" in caplog.text
    assert "tugboat-secret-1" not in caplog.text


@pytest.mark.parametrize("trouble", TROUBLES)
def test_events_survive_a_trouble_once_each_and_in_order(
    service: TroubledService, api: ShopApi, trouble: Trouble
) -> None:
    service.trouble = trouble
    with made(service) as tugboat:
        began = time.monotonic()
        ids = [tugboat.track("page_view", **WHO) for _ in range(20)]
        assert time.monotonic() - began < 3
        time.sleep(0.1)
        service.trouble = Trouble.NONE
        assert tugboat.flush()
        assert tugboat.counts == (20, 0, 0, 0)
    assert list(api.stored) == ids


def test_retry_after_is_honoured(service: TroubledService, api: ShopApi) -> None:
    api.refusals = [refusal(503, "storage_unavailable", **{"retry-after": "1"})]
    began = time.monotonic()
    with made(service) as tugboat:
        tugboat.track("page_view", **WHO)
        assert tugboat.flush()
    assert time.monotonic() - began >= 1
    assert len(api.stored) == 1


def test_a_wrong_key_keeps_the_events_and_says_why_without_the_key(
    service: TroubledService, api: ShopApi, caplog: pytest.LogCaptureFixture
) -> None:
    api.refusals = [refusal(403, "wrong_key"), Answer(403, b'{"message": "Forbidden"}'), Answer(302)]
    with made(service) as tugboat:
        event_id = tugboat.track("page_view", **WHO)
        assert tugboat.flush()
    assert list(api.stored) == [event_id]
    assert "HTTP 403, wrong_key" in caplog.text
    service.trouble = Trouble.REFUSE
    with made(service) as tugboat:
        tugboat.track("page_view", **WHO)
        assert not tugboat.flush(0.1)
        service.trouble = Trouble.NONE
    assert "secret-key" not in caplog.text


def test_a_refused_event_is_reported_with_its_reason_and_its_neighbours_are_stored(
    service: TroubledService, api: ShopApi
) -> None:
    api.refuses = lambda event: event.get("search_term") == "bad"
    refused: list[Refused] = []
    with made(service, on_refused=refused.append) as tugboat:
        ids = [tugboat.track("search", search_term=term, **WHO) for term in ("good", "bad", "fine")]
        assert tugboat.flush()
    assert [(one.event_id, one.event_name, one.reason) for one in refused] == [
        (ids[1], "search", "field_invalid")
    ]
    assert list(api.stored) == [ids[0], ids[2]]
    assert tugboat.counts == (2, 1, 0, 0)


def test_events_that_a_privacy_signal_kept_out_are_reported_and_not_sent_again(
    service: TroubledService, api: ShopApi
) -> None:
    answer = {"accepted": 0, "refused": [], "not_stored": "global_privacy_control", "request_id": "r"}
    api.refusals = [json_answer(answer)]
    refused: list[Refused] = []
    with made(service, on_refused=refused.append) as tugboat:
        tugboat.track("page_view", **WHO)
        assert tugboat.flush()
    assert [one.reason for one in refused] == ["global_privacy_control"]
    assert (tugboat.counts, api.stored) == ((0, 1, 0, 0), {})


def test_without_a_callback_the_log_has_the_reason_and_no_value(
    service: TroubledService, api: ShopApi, caplog: pytest.LogCaptureFixture
) -> None:
    api.refuses = lambda event: True
    with made(service) as tugboat:
        tugboat.track("page_view", **WHO)
    assert "field_invalid" in caplog.text
    assert "alice" not in caplog.text


def test_a_callback_that_raises_does_not_end_the_sending(service: TroubledService, api: ShopApi) -> None:
    api.refuses = lambda event: event["event_name"] == "search"

    def broken(refused: Refused) -> None:
        raise ValueError(refused)

    with made(service, on_refused=broken) as tugboat:
        tugboat.track("search", **WHO)
        assert tugboat.flush()
        tugboat.track("page_view", **WHO)
    assert tugboat.counts == (1, 1, 0, 0)


def test_the_one_event_that_spoils_a_body_is_found_and_the_others_are_stored(
    service: TroubledService, api: ShopApi
) -> None:
    api.spoils = lambda event: event.get("search_term") == "bad"
    refused: list[Refused] = []
    with made(service, max_age_s=60.0, on_refused=refused.append) as tugboat:
        ids = [tugboat.track("search", search_term="bad" if n == 70 else "good", **WHO) for n in range(100)]
    assert [one.event_id for one in refused] == [ids[70]]
    assert list(api.stored) == ids[:70] + ids[71:]


def test_a_full_queue_drops_new_events_at_once_and_says_how_many(
    service: TroubledService, caplog: pytest.LogCaptureFixture
) -> None:
    service.trouble = Trouble.HANG
    tugboat = made(service, max_waiting=10)
    began = time.monotonic()
    ids = [tugboat.track("page_view", **WHO) for _ in range(50)]
    assert time.monotonic() - began < 3
    assert [event_id is None for event_id in ids] == [False] * 10 + [True] * 40
    assert tugboat.counts == (0, 0, 40, 10)
    assert caplog.text.count("the queue is full") == 1
    began = time.monotonic()
    assert not tugboat.close(0.2)
    assert time.monotonic() - began < 5
    assert tugboat.counts == (0, 0, 50, 0)
    assert "10 events dropped: the client closed" in caplog.text
    assert tugboat.track("page_view", **WHO) is None


def test_an_event_larger_than_a_request_is_refused_without_sending(
    service: TroubledService, api: ShopApi
) -> None:
    refused: list[Refused] = []
    with made(service, on_refused=refused.append) as tugboat:
        items: Any = [{"item_id": str(number), "receipt": "r" * 10_000} for number in range(150)]
        assert tugboat.track("purchase", items=items, **WHO) is None
    assert [one.reason for one in refused] == ["event_too_large"]
    assert api.requests == []


def test_recommend_asks_within_the_contract_and_answers_with_the_document_s_fields(
    service: TroubledService, api: ShopApi
) -> None:
    with made(service) as tugboat:
        items = [str(number) for number in range(RECOMMEND_ITEMS_MAX + 1)]
        answer = tugboat.recommend(items, 1_000, exclude=items * 20, session_id="s-1", timeout_s=5)
        assert answer == RECOMMENDATION
        assert tugboat.recommend([], timeout_s=5) == RECOMMENDATION
    asked = json.loads(api.requests[0].body)
    assert asked["items"] == items[1:]
    assert (asked["k"], asked["shop"], asked["session"]) == (100, "demo", "s-1")
    assert len(asked["exclude"]) == RECOMMEND_EXCLUDE_MAX
    assert json.loads(api.requests[1].body) == {"items": []}


@pytest.mark.parametrize("trouble", [one for one in TROUBLES if one is not Trouble.SLOW_START])
def test_recommend_returns_none_within_its_time_whatever_happens(
    service: TroubledService, trouble: Trouble
) -> None:
    service.trouble = trouble
    with made(service) as tugboat:
        began = time.monotonic()
        assert tugboat.recommend(["a"], timeout_s=0.2) is None
        assert time.monotonic() - began < 3


def test_recommend_makes_no_further_requests_while_many_hang(
    service: TroubledService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "HANGING_MAX", 2)
    # A byte every 0.1 s keeps a request alive, whose time limit is for each byte.
    service.trouble = Trouble.DRIP
    with made(service) as tugboat:
        for _ in range(2):
            assert tugboat.recommend(["a"], timeout_s=0.25) is None
        began = time.monotonic()
        assert tugboat.recommend(["a"], timeout_s=5) is None
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("api_url", "shop_id", "key"), [("shop.example", "demo", "k"), ("https://a", "", "k"), ("https://a", "demo", "")]
)  # fmt: skip
def test_a_wrong_setting_is_an_error_at_the_start(api_url: str, shop_id: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"address|operator"):
        Tugboat(api_url, shop_id, key)


@pytest.mark.parametrize("keys", [{}, {"secret_key": ""}, {"key": "k", "secret_key": "s"}], ids=str)
def test_a_client_has_one_key_that_is_not_empty(keys: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either key or secret_key, none of them empty"):
        Tugboat("https://a", "demo", **keys)


FORKED = """
import os, sys
from tugboat_events import Tugboat
tugboat = Tugboat(sys.argv[1], "demo", "k", max_age_s=0.2)
who = dict(client_id="c", session_id="s")
tugboat.track("page_view", event_id="before", **who)
child = os.fork()
tugboat.track("page_view", event_id="parent" if child else "child", **who)
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tugboat.flush()
    assert tugboat.counts == (2, 0, 0, 0), tugboat.counts
else:
    # As a worker of gunicorn ends: without a close, which the end of the process makes up for.
    sys.exit(0)
"""


def test_a_worker_after_a_fork_sends_its_own_events_and_the_parent_those_from_before(
    service: TroubledService, api: ShopApi
) -> None:
    command = [sys.executable, "-c", FORKED, service.address]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(SDK / "src")}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert sorted(api.stored) == ["before", "child", "parent"]
    sent = [event["event_id"] for one in api.requests for event in json.loads(one.body)["events"]]
    assert sorted(sent) == ["before", "child", "parent"]


def test_the_example_of_the_readme_runs(
    service: TroubledService,
    api: ShopApi,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUGBOAT_SECRET_KEY", "tugboat-secret-1")
    caplog.set_level(logging.INFO)
    (example,) = re.findall(r"```python\n(.*?)```", (SDK / "README.md").read_text(), re.DOTALL)
    exec(example.replace("https://abc123.execute-api.us-east-1.amazonaws.com/api", service.address), {})
    client._close_all()
    assert [event["event_name"] for event in api.stored.values()] == ["view_item", "purchase"]
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("key", "trusted"), [({"key": KEY}, None), ({"secret_key": SECRET_KEY}, True)], ids=["a page's", "secret"]
)
def test_the_collector_accepts_what_the_sdk_sends(
    shop: Shop,  # noqa: F811
    key: dict[str, str],
    trusted: bool | None,
) -> None:
    def lambda_function(received: Received) -> Answer:
        method, path = received.line.split(" ")
        answer = shop.request(method, path, received.headers, received.body)
        return Answer(answer.status, answer.body)

    refused: list[Refused] = []
    with (
        troubled(lambda_function) as service,
        Tugboat(service.address, "demo", on_refused=refused.append, **key) as tugboat,
    ):
        tugboat.track("page_view", page_location="https://shop.example/?q=1", **WHO)
        bad = tugboat.track("purchase", transaction_id="1", currency="Euro", **WHO)
        tugboat.track("purchase", transaction_id="2", value=1.5, items=[{"item_id": "a"}], **WHO)
        assert tugboat.flush(30)
    assert [(one.event_id, one.reason) for one in refused] == [(bad, "field_invalid")]
    assert [line["server"].get("trusted") for line in shop.firehose.lines("events")] == [trusted] * 2
    assert tugboat.counts == (2, 1, 0, 0)
