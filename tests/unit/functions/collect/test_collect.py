"""Collect: a request's events are stored, or refused with a reason."""

import gzip
import json
from typing import Any

import pytest

from functions.collect.collect import OTHERS_KEPT, collect_batch, collect_pixel
from functions.collect.origin import Origin
from functions.collect.routes import GIF
from functions.platform.errors import Reason, RequestRefused, StorageUnavailable
from functions.platform.events.intake import Intake
from functions.platform.http import ApiRequest
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.settings import CollectSettings
from testing.api import Context
from testing.fakes import FakeFirehose, FakeS3, FakeSecrets

NOW_MS = 1_700_000_000_000
KEY = "key-of-demo"
SETTINGS = CollectSettings(
    "test", {KEY: "demo", "key-of-other": "other"}, "events", "rejected", "bucket", "receipts", "secret-keys"
)
ORIGIN = Origin("203.0.113.0/24", "mobile", False)
RECEIPT_KEYS = ReceiptKeys("receipts", FakeSecrets)
REMAINING_MS = Context().get_remaining_time_in_millis


def event(**changes: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "event_id": "e1",
        "event_name": "view_item",
        "shop_id": "demo",
        "client_id": "c1",
        "session_id": "s1",
        "client_time_ms": NOW_MS - 1000,
        "items": [{"item_id": "i1"}],
        **changes,
    }


def send(
    events: Any,
    firehose: FakeFirehose,
    s3: FakeS3 | None = None,
    receipt_keys: ReceiptKeys = RECEIPT_KEYS,
    trusted_shop: str | None = None,
    **envelope: Any,
) -> Any:
    body = json.dumps({"events": events, **envelope}).encode()
    intake = Intake(SETTINGS, firehose, s3 or FakeS3(), receipt_keys, REMAINING_MS)
    return collect_batch(post(body), ORIGIN, intake, NOW_MS, trusted_shop)


def post(body: bytes) -> ApiRequest:
    return ApiRequest("request-1", "POST", {"key": KEY}, body)


def send_pixel(query: dict[str, str], firehose: FakeFirehose) -> Any:
    request = ApiRequest("request-2", "GET", {**query, "key": KEY}, b"")
    return collect_pixel(
        request, ORIGIN, Intake(SETTINGS, firehose, FakeS3(), RECEIPT_KEYS, REMAINING_MS), NOW_MS
    )


def test_an_accepted_event_is_stored_with_its_server_field() -> None:
    firehose = FakeFirehose()
    assert send([event()], firehose).accepted == 1
    [stored] = firehose.lines("events")
    assert stored == event() | {
        "server": {
            "received_at_ms": NOW_MS,
            "event_time_ms": NOW_MS - 1000,
            "source": "events",
            "ip_prefix": "203.0.113.0/24",
            "device": "mobile",
            "is_bot": False,
            "request_id": "request-1",
        }
    }


def test_the_server_fields_of_a_request_differ_only_by_the_event_time() -> None:
    firehose = FakeFirehose()
    sent_at_ms = NOW_MS + 500_000
    send([event(), event(event_id="e2", client_time_ms=NOW_MS - 5)], firehose, sent_at_ms=sent_at_ms)
    servers = [stored["server"] for stored in firehose.lines("events")]
    assert [server.pop("event_time_ms") for server in servers] == [NOW_MS - 501_000, NOW_MS - 500_005]
    assert servers[0] == servers[1]


def test_a_request_that_took_long_does_not_move_its_events_behind_later_ones() -> None:
    """The first of two requests stalls for fifteen seconds, and the event of the next page arrives before."""
    firehose = FakeFirehose()
    for event_id, client_ms, sent_ms, received_ms in (("a", 0, 1_000, 16_000), ("b", 4_000, 5_000, 5_100)):
        body = json.dumps(
            {
                "events": [event(event_id=event_id, client_time_ms=NOW_MS + client_ms)],
                "sent_at_ms": NOW_MS + sent_ms,
            }
        ).encode()
        intake = Intake(SETTINGS, firehose, FakeS3(), RECEIPT_KEYS, REMAINING_MS)
        collect_batch(post(body), ORIGIN, intake, NOW_MS + received_ms)
    times = {line["event_id"]: line["server"]["event_time_ms"] for line in firehose.lines("events")}
    assert times == {"a": NOW_MS, "b": NOW_MS + 4_000}


@pytest.mark.parametrize("clock_error_ms", [-86_400_000, -120_000, 120_000, 86_400_000])
def test_a_clock_that_is_wrong_by_minutes_is_corrected(clock_error_ms: int) -> None:
    firehose = FakeFirehose()
    send([event(client_time_ms=NOW_MS - 50 + clock_error_ms)], firehose, sent_at_ms=NOW_MS + clock_error_ms)
    assert firehose.lines("events")[0]["server"]["event_time_ms"] == NOW_MS - 50


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("error_ms", "measured_ms", "held_ms", "moved_ms"),
    [
        (0, 0, 2 * HOUR_MS, 0),
        (0, -900, 15_000, 0),
        (-HOUR_MS, -HOUR_MS, 50, HOUR_MS),
        (-HOUR_MS, -HOUR_MS, 2 * HOUR_MS, HOUR_MS),
        (86_400_000, 86_400_000, 2 * HOUR_MS, -86_400_000),
        # The clock was wrong when it was measured, and was set right since.
        (0, HOUR_MS, 50, 0),
        (0, -HOUR_MS, 50, 0),
        # It was right then, and was set ahead since: by the measurement, the request arrived before it was sent.
        (HOUR_MS, 0, 50, -HOUR_MS + 50),
        # Unmeasured: a clock that is behind and a request that was held look the same.
        (0, None, 2 * HOUR_MS, 2 * HOUR_MS),
        (-2 * HOUR_MS, None, 0, 2 * HOUR_MS),
        # A stalled request of a clock that is wrong by a little more than what is corrected.
        (180_000, 180_000, 100_000, -180_000),
    ],
)
def test_a_measured_clock_tells_its_error_from_a_request_that_was_held(
    error_ms: int, measured_ms: int | None, held_ms: int, moved_ms: int
) -> None:
    firehose = FakeFirehose()
    sent_at_ms = NOW_MS - held_ms + error_ms
    one = event(client_time_ms=sent_at_ms - 700)
    send([one], firehose, sent_at_ms=sent_at_ms, clock_error_ms=measured_ms)
    assert firehose.lines("events")[0]["server"]["event_time_ms"] == one["client_time_ms"] + moved_ms


def test_events_that_wait_while_the_clock_is_set_back_are_neither_refused_nor_in_the_future() -> None:
    """The clock is three hours ahead, and is set right between the second and the third event."""
    firehose = FakeFirehose()
    ahead_ms = 3 * HOUR_MS
    times = [NOW_MS - 60_000 + ahead_ms, NOW_MS - 30_000 + ahead_ms, NOW_MS - 20_000]
    sequences = [times[0], times[1], times[1] + 1]
    events = [
        event(event_id=f"e{number}", client_time_ms=time_ms, sequence=sequence)
        for number, (time_ms, sequence) in enumerate(zip(times, sequences, strict=True))
    ]
    assert send([events[2], *events[:2]], firehose, sent_at_ms=NOW_MS - 40).refused == []
    stored = {line["event_id"]: line["server"]["event_time_ms"] - NOW_MS for line in firehose.lines("events")}
    # Nothing shows the ten seconds between the second and the third event apart from the clock's step.
    assert stored == {"e0": -50_000, "e1": -20_000, "e2": -20_000}


def test_numbers_of_other_clients_and_sessions_show_nothing_about_a_clock() -> None:
    firehose = FakeFirehose()
    events = [
        event(event_id=f"e{number}", client_time_ms=NOW_MS - 1_000 * number, sequence=number, **other)
        for number, other in enumerate([{"client_id": "c2"}, {"session_id": "s2"}, {}])
    ]
    unnumbered = [
        event(event_id="e3", client_time_ms=NOW_MS - 9),
        event(event_id="e4", client_time_ms=NOW_MS - 99),
    ]
    send([*events, *unnumbered], firehose, sent_at_ms=NOW_MS)
    assert all(line["server"]["event_time_ms"] == line["client_time_ms"] for line in firehose.lines("events"))


@pytest.mark.parametrize(
    "numbered",
    [
        {"sequence": "1"},
        {"sequence": True},
        {"sequence": -1},
        {"sequence": 1.5},
        {"client_id": []},
        {"client_time_ms": None},
    ],
)
def test_what_is_no_number_is_refused_and_stops_no_other_event(numbered: dict[str, Any]) -> None:
    firehose = FakeFirehose()
    collected = send(
        [event(sequence=1), event(**{"sequence": 2, **numbered}), 7], firehose, sent_at_ms=NOW_MS
    )
    assert collected.accepted == 1
    assert [refusal.reason for refusal in collected.refused] == ["field_invalid", "event_not_an_object"]


def test_the_answer_has_the_time_of_receipt_by_which_a_client_measures_its_clock() -> None:
    assert send([event()], FakeFirehose()).as_json()["received_at_ms"] == NOW_MS


def test_a_partly_bad_batch_keeps_its_good_events_and_stores_the_bad_ones_with_the_reason() -> None:
    firehose = FakeFirehose()
    collected = send([event(), event(event_id="e2", event_name="dance"), "text"], firehose)
    assert collected.accepted == 1
    assert [(refusal.index, refusal.reason) for refusal in collected.refused] == [
        (1, "unknown_event_name"),
        (2, "event_not_an_object"),
    ]
    kept = firehose.lines("rejected")
    assert [line["reason"] for line in kept] == ["unknown_event_name", "event_not_an_object"]
    assert json.loads(kept[0]["payload"])["event_name"] == "dance"


def test_refused_values_that_are_no_events_do_not_fill_the_archive() -> None:
    firehose = FakeFirehose()
    collected = send([*[None] * 400, event(event_name="dance")], firehose)
    assert len(collected.refused) == 401, "the answer names each of them"
    assert [line["reason"] for line in firehose.lines("rejected")].count("event_not_an_object") == OTHERS_KEPT
    assert firehose.lines("rejected")[-1]["reason"] == "unknown_event_name"
    assert sum(map(len, firehose.streams["rejected"])) < 5_000


@pytest.mark.parametrize("term", ["Schuhe", "\u9774" * 60, "\U0001f45f" * 60, "\ud800"])
def test_a_refused_event_is_stored_about_as_long_as_it_was_sent(term: str) -> None:
    firehose = FakeFirehose()
    refused = event(event_name="dance", search_term=term)
    send([refused], firehose)
    [stored] = firehose.lines("rejected")
    assert json.loads(stored["payload"]) == refused
    sent = len(json.dumps(refused, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    assert len(firehose.streams["rejected"][0]) < 1.2 * sent + 400


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shop_id": "other"}, Reason.UNKNOWN_SHOP),
        ({"schema_version": 2}, Reason.UNKNOWN_SCHEMA_VERSION),
        ({"event_id": ""}, Reason.FIELD_INVALID),
        ({"event_id": "x" * 65}, Reason.FIELD_INVALID),
        ({"client_id": "a\nb"}, Reason.FIELD_INVALID),
        ({"client_time_ms": "now"}, Reason.FIELD_INVALID),
        ({"client_time_ms": NOW_MS + 86_400_000}, Reason.CLIENT_TIME_IN_FUTURE),
        ({"items": [{}]}, Reason.FIELD_MISSING),
        ({"items": [{"item_id": "i"}] * 201}, Reason.FIELD_INVALID),
        ({"search_term": "\ud800"}, Reason.TEXT_INVALID),
        ({"items": [{"item_id": "i", "item_name": "n" * 400}] * 50}, Reason.EVENT_TOO_LARGE),
    ],
)
def test_a_bad_event_is_refused_with_its_reason(changes: dict[str, Any], reason: Reason) -> None:
    firehose = FakeFirehose()
    collected = send([event(**changes)], firehose)
    assert [refusal.reason for refusal in collected.refused] == [reason.value]
    assert firehose.lines("events") == []
    assert len(firehose.lines("rejected")) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.BODY_EMPTY),
        (b"{", Reason.BODY_NOT_JSON),
        (b"\xff\xfe\x00", Reason.BODY_NOT_JSON),
        (b'{"events": NaN}', Reason.BODY_NOT_JSON),
        (b"[" * 100_000, Reason.BODY_NOT_JSON),
        (b"[" * 33 + b"]" * 33, Reason.BODY_NOT_JSON),
        (b'{"events": []}', Reason.BODY_NOT_A_BATCH),
        (b"3", Reason.BODY_NOT_A_BATCH),
        (b'{"events": [{}], "sent_at_ms": "soon"}', Reason.BODY_NOT_A_BATCH),
        (b'{"events": [{}], "clock_error_ms": 0.5}', Reason.BODY_NOT_A_BATCH),
        (b"[" + b"1," * 500 + b"1]", Reason.TOO_MANY_EVENTS),
        (b" " * 1_048_577, Reason.BODY_TOO_LARGE),
    ],
)
def test_an_unreadable_body_is_refused_as_a_whole_and_kept(body: bytes, reason: Reason) -> None:
    firehose = FakeFirehose()
    with pytest.raises(RequestRefused) as caught:
        collect_batch(
            post(body), ORIGIN, Intake(SETTINGS, firehose, FakeS3(), RECEIPT_KEYS, REMAINING_MS), NOW_MS
        )
    assert caught.value.reason == reason
    assert [line["reason"] for line in firehose.lines("rejected")] == [reason.value]


def test_a_wrong_clock_is_corrected_by_the_time_of_sending() -> None:
    firehose = FakeFirehose()
    ahead_ms = 7_200_000
    send([event(client_time_ms=NOW_MS + ahead_ms - 500)], firehose, sent_at_ms=NOW_MS + ahead_ms)
    assert firehose.lines("events")[0]["server"]["event_time_ms"] == NOW_MS - 500


def test_fields_outside_the_contract_are_not_stored() -> None:
    firehose = FakeFirehose()
    send(
        [
            event(
                email="a@example.com",
                cookie="x",
                page_location="https://shop.example/p?token=secret#top",
                items=[{"item_id": "i", "secret": 1}],
            )
        ],
        firehose,
    )
    [stored] = firehose.lines("events")
    assert "email" not in stored
    assert "cookie" not in stored
    assert stored["page_location"] == "https://shop.example/p"
    assert stored["items"] == [{"item_id": "i"}]


def test_a_nul_character_is_dropped_and_a_backslash_u0000_in_the_text_is_not() -> None:
    firehose = FakeFirehose()
    send([event(search_term="a\x00b", page_location="\\u0000x")], firehose)
    [stored] = firehose.lines("events")
    assert stored["search_term"] == "ab"
    assert stored["page_location"] == "\\u0000x"


def test_records_that_firehose_refuses_are_sent_again() -> None:
    firehose = FakeFirehose(refuse_next=2)
    assert send([event()], firehose).accepted == 1
    assert len(firehose.lines("events")) == 1


def test_events_that_firehose_keeps_refusing_are_parked_in_s3() -> None:
    s3 = FakeS3()
    firehose = FakeFirehose(break_next=99)
    assert send([event()], firehose, s3).accepted == 1
    [((bucket, key), body)] = s3.objects.items()
    assert bucket == "bucket"
    assert key.startswith("raw/20")
    assert json.loads(gzip.decompress(body))["event_id"] == "e1"


def test_an_event_that_is_not_stored_is_not_acknowledged() -> None:
    s3 = FakeS3()
    s3.down = True
    with pytest.raises(StorageUnavailable):
        send([event()], FakeFirehose(break_next=99), s3)


def test_five_hundred_events_travel_in_few_records() -> None:
    firehose = FakeFirehose()
    send([event(event_id=f"e{n}") for n in range(500)], firehose)
    assert len(firehose.lines("events")) == 500
    assert len(firehose.streams["events"]) == 1


def test_a_pixel_needs_no_more_than_a_shop_a_client_and_a_name() -> None:
    firehose = FakeFirehose()
    query = {"shop_id": "demo", "client_id": "c1", "event_name": "view_item", "item_id": "i9", "price": "9.5"}
    collected = send_pixel(query, firehose)
    assert collected.accepted == 1
    [stored] = firehose.lines("events")
    assert stored["event_id"] == "request-2"
    assert stored["items"] == [{"item_id": "i9", "price": 9.5}]
    assert stored["server"]["source"] == "pixel"


def test_a_pixel_with_a_bad_number_is_refused_and_kept() -> None:
    firehose = FakeFirehose()
    query = {
        "shop_id": "demo",
        "client_id": "c1",
        "event_name": "view_item",
        "item_id": "i9",
        "price": "cheap",
    }
    collected = send_pixel(query, firehose)
    assert [refusal.reason for refusal in collected.refused] == ["field_invalid"]
    assert len(firehose.lines("rejected")) == 1


def test_the_gif_is_a_gif_and_plain_ascii() -> None:
    assert GIF.startswith("GIF89a")
    assert GIF.isascii()


@pytest.mark.parametrize("price", ["nan", "NaN", "inf", "-inf", "1e999"])
def test_a_number_that_json_does_not_have_never_reaches_a_raw_file(price: str) -> None:
    firehose = FakeFirehose()
    query = {"shop_id": "demo", "client_id": "c1", "event_name": "view_item", "item_id": "i9", "price": price}
    collected = send_pixel(query, firehose)
    assert [refusal.reason for refusal in collected.refused] == ["field_invalid"]
    assert firehose.lines("events") == []


def test_a_refused_event_is_kept_with_the_facts_that_a_replay_needs() -> None:
    firehose = FakeFirehose()
    ahead = event(event_name="dance", client_time_ms=NOW_MS + 10, sequence=1)
    send([ahead], firehose, sent_at_ms=NOW_MS - 50, clock_error_ms=-3)
    [kept] = firehose.lines("rejected")
    assert (kept["received_at_ms"], kept["sent_at_ms"]) == (NOW_MS, NOW_MS - 50)
    assert (kept["clock_error_ms"], kept["set_back_ms"]) == (-3, 60)
    assert (kept["ip_prefix"], kept["device"], kept["is_bot"]) == ORIGIN


@pytest.mark.parametrize("key", [None, "", "key-of-demo ", "unknown"])
def test_without_a_valid_key_nothing_is_read_and_nothing_is_kept(key: str | None) -> None:
    firehose, s3 = FakeFirehose(), FakeS3()
    query = {"key": key} if key is not None else {}
    intake = Intake(SETTINGS, firehose, s3, RECEIPT_KEYS, REMAINING_MS)
    for collect in (
        lambda: collect_batch(ApiRequest("r", "POST", query, b"\xff not even read"), ORIGIN, intake, NOW_MS),
        lambda: collect_pixel(ApiRequest("r", "GET", query, b""), ORIGIN, intake, NOW_MS),
    ):
        with pytest.raises(RequestRefused) as refused:
            collect()
        assert refused.value.reason is Reason.WRONG_KEY
    assert (firehose.streams, s3.objects) == ({}, {})


def test_a_key_speaks_for_its_own_shop_only() -> None:
    firehose = FakeFirehose()
    collected = send([event(), event(event_id="e2", shop_id="other")], firehose)
    assert [refusal.reason for refusal in collected.refused] == ["unknown_shop"]
    assert [json.loads(record)["event_id"] for record in firehose.streams["rejected"]] == ["e2"]
