"""Secret keys: a back end is trusted, a stranger is refused, and nobody is taken for the other in silence."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.collect.collect import collect_batch, collect_pixel
from functions.collect.routes import answer_batch
from functions.platform.errors import Reason, RequestRefused, StorageUnavailable
from functions.platform.events.intake import Intake
from functions.platform.http import RETRY_AFTER_S, WRONG_SECRET_KEY_RETRY_AFTER_S, ApiRequest
from functions.platform.secret_keys import RECHECK_S, REFRESH_S, SecretKeys, digest
from testing.fakes import FakeFirehose, FakeS3, FakeSecrets
from testing.threads import at_once
from tests.unit.functions.collect.test_collect import (
    KEY,
    NOW_MS,
    ORIGIN,
    RECEIPT_KEYS,
    REMAINING_MS,
    SETTINGS,
    event,
    post,
)
from tests.unit.functions.platform.test_receipt_keys import Clock

SECRET = "tugboat-secret-of-demo"
OTHER = "tugboat-secret-of-other"
DAY_MS = 86_400_000


def value(**shops: list[str]) -> str:
    """The secret's value with these keys."""
    return json.dumps(
        {
            shop: [{"sha256": digest(key), "issued_on": "2026-11-29"} for key in keys]
            for shop, keys in shops.items()
        }
    )


def environment(secrets: FakeSecrets) -> tuple[SecretKeys, Clock]:
    """The keys and the clock of a new execution environment."""
    clock = Clock()
    return SecretKeys("secret-keys", lambda: secrets, clock, at_once), clock


def demo_keys() -> SecretKeys:
    return environment(FakeSecrets(value(demo=[SECRET], other=[OTHER])))[0]


class Collector:
    """POST /events with a header, and what it stored."""

    def __init__(self, keys: SecretKeys | None = None) -> None:
        self.firehose, self.keys = FakeFirehose(), keys or demo_keys()

    def post(self, *events: Any, authorization: str | None = f"Bearer {SECRET}", **query: str) -> Any:
        body = json.dumps({"events": events}).encode()
        intake = Intake(SETTINGS, self.firehose, FakeS3(), RECEIPT_KEYS, REMAINING_MS)
        return answer_batch(ApiRequest("r", "POST", query, body), ORIGIN, intake, authorization, self.keys)

    @property
    def stored(self) -> list[dict[str, Any]]:
        return self.firehose.lines("events")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.collect.collect._now_ms", lambda: NOW_MS)


@pytest.mark.usefixtures("now")
def test_the_secret_key_makes_each_event_of_a_request_trusted() -> None:
    collector = Collector()
    assert collector.post(event(), event(event_id="e2")).status_code == 200
    assert [line["server"]["trusted"] for line in collector.stored] == [True, True]


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("authorization", [f"bearer {SECRET}", f"BEARER   {SECRET} ", f" Bearer {SECRET}"])
def test_the_scheme_ignores_case_and_spaces(authorization: str) -> None:
    collector = Collector()
    assert collector.post(event(), authorization=authorization).status_code == 200
    assert collector.stored[0]["server"]["trusted"] is True


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {SECRET}x",
        f"Bearer {SECRET[:-1]}",
        f"Bearer {SECRET.upper()}",
        f"Bearer {KEY}",
        f"Bearer {digest(SECRET)}",
        f"Bearer {SECRET}, Bearer {SECRET}",
        f"Bearer {SECRET} {SECRET}",
        SECRET,
        f"Basic {SECRET}",
        f"Token {SECRET}",
        "Bearer \ud800",
        "Bearer schlüssel",
    ],
)
@pytest.mark.parametrize("query", [{}, {"key": KEY}], ids=["without a key", "with the page's key"])
def test_an_unknown_key_is_refused_and_never_untrusted_in_silence(
    authorization: str, query: dict[str, str]
) -> None:
    collector = Collector()
    answer = collector.post(event(), authorization=authorization, **query)
    assert (answer.status_code, answer.body["error"]["reason"]) == (401, "wrong_secret_key")
    assert "Authorization: Bearer <secret key>" in answer.body["error"]["message"]
    assert SECRET not in str(answer.body)
    assert answer.headers["Retry-After"] == str(WRONG_SECRET_KEY_RETRY_AFTER_S) == f"{RECHECK_S:.0f}"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert collector.firehose.streams == {}


@given(st.text())
def test_no_text_but_the_key_is_taken(text: str) -> None:
    if text.strip() == SECRET:
        return
    with pytest.raises(RequestRefused) as refused:
        demo_keys().shop_of(f"Bearer {text}")
    assert refused.value.reason is Reason.WRONG_SECRET_KEY


@pytest.mark.usefixtures("now")
def test_a_page_s_key_never_makes_an_event_trusted() -> None:
    collector = Collector()
    assert collector.post(event(), authorization=None, key=KEY).status_code == 200
    assert "trusted" not in collector.stored[0]["server"]


FORGERIES: list[dict[str, Any]] = [
    {"server": {"trusted": True}},
    {"server": "trusted"},
    {"server": {"trusted": True, "received_at_ms": 1, "event_time_ms": 1}, "trusted": True},
    {"server.trusted": True, "payload": {"server": {"trusted": True}}},
    {"items": [{"item_id": "a", "server": {"trusted": True}}]},
    {"search_term": '","server":{"trusted":true},"x":"'},
    {"event_id": '"},"server":{"trusted":true}}\\'},
]


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("forgery", FORGERIES, ids=str)
def test_a_field_of_the_sender_s_makes_no_event_trusted(forgery: dict[str, Any]) -> None:
    collector = Collector()
    assert collector.post({**event(), **forgery}, authorization=None, key=KEY).status_code == 200
    [line] = collector.stored
    assert "trusted" not in line["server"]
    assert line["server"]["received_at_ms"] == NOW_MS


def test_a_field_of_the_pixel_s_query_makes_no_event_trusted() -> None:
    firehose = FakeFirehose()
    query = {"shop_id": "demo", "client_id": "c", "event_name": "page_view", "key": KEY}
    forged = {"server": '{"trusted": true}', "server.trusted": "true", "trusted": "true"}
    intake = Intake(SETTINGS, firehose, FakeS3(), RECEIPT_KEYS, REMAINING_MS)
    assert (
        collect_pixel(ApiRequest("r", "GET", {**query, **forged}, b""), ORIGIN, intake, NOW_MS).accepted == 1
    )
    assert "trusted" not in firehose.lines("events")[0]["server"]


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("query", [{}, {"key": KEY}], ids=["alone", "beside the shop's own key"])
def test_a_secret_key_identifies_its_shop(query: dict[str, str]) -> None:
    collector = Collector()
    answer = collector.post(event(), event(event_id="e2", shop_id="other"), **query)
    assert [one["reason"] for one in answer.body["refused"]] == ["unknown_shop"]
    assert [line["shop_id"] for line in collector.stored] == ["demo"]


@pytest.mark.parametrize("key", ["key-of-other", "unknown", ""])
def test_a_secret_key_beside_another_shop_s_key_is_refused(key: str) -> None:
    collector = Collector()
    answer = collector.post(event(), key=key)
    assert (answer.status_code, answer.body["error"]["reason"]) == (403, "wrong_key")
    assert collector.firehose.streams == {}


def test_the_key_of_a_shop_that_the_stage_no_longer_lists_is_refused() -> None:
    collector = Collector(environment(FakeSecrets(value(gone=[SECRET])))[0])
    answer = collector.post(event(shop_id="gone"))
    assert (answer.status_code, answer.body["error"]["reason"]) == (401, "wrong_secret_key")
    assert "'gone'" in answer.body["error"]["message"]


def test_refused_events_keep_the_trust_of_their_request() -> None:
    firehose = FakeFirehose()
    intake = Intake(SETTINGS, firehose, FakeS3(), RECEIPT_KEYS, REMAINING_MS)
    dance = json.dumps({"events": [event(event_name="dance")]}).encode()
    for shop in ("demo", None):
        collect_batch(post(dance), ORIGIN, intake, NOW_MS, trusted_shop=shop)
        with pytest.raises(RequestRefused):
            collect_batch(post(b"{"), ORIGIN, intake, NOW_MS, trusted_shop=shop)
    assert [line.get("trusted") for line in firehose.lines("rejected")] == [True, True, None, None]


def test_two_keys_of_a_shop_are_valid_at_once() -> None:
    keys, _ = environment(FakeSecrets(value(demo=[SECRET, "the-next-one"])))
    assert [keys.shop_of(f"Bearer {key}") for key in (SECRET, "the-next-one")] == ["demo", "demo"]


def test_the_keys_are_read_once_and_only_if_a_header_is_there() -> None:
    secrets = FakeSecrets(value(demo=[SECRET]))
    collector = Collector(environment(secrets)[0])
    collector.post(event(), authorization=None, key=KEY)
    assert secrets.calls == 0
    for _ in range(10):
        collector.post(event())
    assert secrets.calls == 1


def test_a_new_key_is_known_after_the_time_that_the_refusal_names() -> None:
    secrets = FakeSecrets(value(demo=[SECRET]))
    keys, clock = environment(secrets)
    keys.shop_of(f"Bearer {SECRET}")
    secrets.rotate(value(demo=[SECRET, "new"]))
    with pytest.raises(RequestRefused):
        keys.shop_of("Bearer new")
    clock.now_s += WRONG_SECRET_KEY_RETRY_AFTER_S
    assert keys.shop_of("Bearer new") == "demo"


@pytest.mark.parametrize("idle_s", [REFRESH_S, 10 * REFRESH_S])
def test_a_revoked_key_is_refused_by_an_environment_that_knew_it(idle_s: float) -> None:
    secrets = FakeSecrets(value(demo=[SECRET]))
    keys, clock = environment(secrets)
    assert keys.shop_of(f"Bearer {SECRET}") == "demo"
    secrets.rotate("{}")
    clock.now_s += idle_s
    with pytest.raises(RequestRefused, match="revoked"):
        keys.shop_of(f"Bearer {SECRET}")


def test_guesses_do_not_flood_secrets_manager() -> None:
    secrets = FakeSecrets(value(demo=[SECRET]))
    keys, clock = environment(secrets)
    for number in range(1000):
        with pytest.raises(RequestRefused):
            keys.shop_of(f"Bearer guess-{number}")
        clock.now_s += RECHECK_S / 100
    assert secrets.calls <= 12


def test_before_the_first_key_is_issued_every_key_is_wrong() -> None:
    secrets = FakeSecrets()
    secrets.versions = {}
    with pytest.raises(RequestRefused) as refused:
        environment(secrets)[0].shop_of(f"Bearer {SECRET}")
    assert refused.value.reason is Reason.WRONG_SECRET_KEY


def test_while_the_keys_cannot_be_read_a_back_end_is_told_to_send_again() -> None:
    secrets = FakeSecrets(value(demo=[SECRET]))
    secrets.down = True
    keys, clock = environment(secrets)
    collector = Collector(keys)
    answer = collector.post(event(), key=KEY)
    assert (answer.status_code, answer.body["error"]["reason"]) == (503, "secret_keys_unavailable")
    assert answer.headers["Retry-After"] == str(RETRY_AFTER_S)
    assert collector.firehose.streams == {}
    secrets.down = False
    clock.now_s += RECHECK_S
    assert collector.post(event(client_time_ms=NOW_MS)).status_code == 200


@pytest.mark.parametrize(
    "broken", ["", "[]", "no json", '{"demo": [1]}', '{"demo": [{}]}', '{"demo": 1}', "null"]
)
def test_a_value_that_is_none_of_ours_is_no_wrong_key(broken: str) -> None:
    collector = Collector(environment(FakeSecrets(broken))[0])
    assert collector.post(event()).body["error"]["reason"] == "secret_keys_unavailable"


def test_a_digest_that_somebody_edited_spoils_no_other_key() -> None:
    keys = {**json.loads(value(demo=[SECRET])), "other": [{"sha256": "é"}]}
    assert environment(FakeSecrets(json.dumps(keys)))[0].shop_of(f"Bearer {SECRET}") == "demo"


def test_known_keys_stay_valid_while_secrets_manager_is_down() -> None:
    secrets = FakeSecrets(value(demo=[SECRET]))
    keys, clock = environment(secrets)
    keys.shop_of(f"Bearer {SECRET}")
    secrets.down = True
    clock.now_s += REFRESH_S
    assert keys.shop_of(f"Bearer {SECRET}") == "demo"
    with pytest.raises(RequestRefused) as refused:
        keys.shop_of("Bearer new")
    assert refused.value.reason is Reason.SECRET_KEYS_UNAVAILABLE


def test_storage_that_is_away_is_no_matter_of_trust() -> None:
    down = FakeS3()
    down.down = True
    intake = Intake(SETTINGS, FakeFirehose(break_next=99), down, RECEIPT_KEYS, REMAINING_MS)
    with pytest.raises(StorageUnavailable):
        collect_batch(post(json.dumps(event()).encode()), ORIGIN, intake, NOW_MS, trusted_shop="demo")


# The age of events.
def refused_of(age_ms: int, trusted_shop: str | None = None, **envelope: int) -> list[str]:
    firehose = FakeFirehose()
    intake = Intake(SETTINGS, firehose, FakeS3(), RECEIPT_KEYS, REMAINING_MS)
    body = json.dumps({"events": [event(client_time_ms=NOW_MS - age_ms)], **envelope}).encode()
    collected = collect_batch(post(body), ORIGIN, intake, NOW_MS, trusted_shop=trusted_shop)
    return [one.reason for one in collected.refused]


@pytest.mark.parametrize("age_ms", [0, 3 * DAY_MS, 3 * DAY_MS + 3_600_000])
def test_an_event_that_the_sdk_s_queue_kept_is_accepted_from_a_page(age_ms: int) -> None:
    assert refused_of(age_ms) == []


@pytest.mark.parametrize("age_ms", [3 * DAY_MS + 3_600_001, 30 * DAY_MS, 20 * 365 * DAY_MS])
def test_an_older_event_is_refused_from_a_page_and_accepted_from_a_back_end(age_ms: int) -> None:
    assert refused_of(age_ms) == ["event_too_old"]
    assert refused_of(age_ms, trusted_shop="demo") == []


def test_an_event_of_1927_is_refused_from_a_page() -> None:
    year_2000 = NOW_MS - 946_684_800_000
    assert refused_of(year_2000, sent_at_ms=4_102_444_799_999) == ["event_too_old"]


def test_the_refusal_of_an_old_event_names_both_ways_to_send_it() -> None:
    firehose = FakeFirehose()
    intake = Intake(SETTINGS, firehose, FakeS3(), RECEIPT_KEYS, REMAINING_MS)
    body = json.dumps(event(client_time_ms=NOW_MS - 200 * DAY_MS)).encode()
    [refusal] = collect_batch(post(body), ORIGIN, intake, NOW_MS).refused
    assert refusal.message == (
        "the event is 200 days old, a page keeps events for 3: send it from a back end with the shop's secret key, "
        "or load history with make import"
    )


def test_the_time_of_a_back_end_s_event_is_bounded_as_before() -> None:
    assert refused_of(-3_600_001, trusted_shop="demo") == ["client_time_in_future"]
    assert refused_of(NOW_MS - 946_684_799_999, trusted_shop="demo") == ["field_invalid"]
