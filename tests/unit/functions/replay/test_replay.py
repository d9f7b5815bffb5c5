"""Replay: no event lost, none counted twice, every unreadable line reported."""

import contextlib
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from functions.collect.collect import collect_batch
from functions.collect.origin import Origin
from functions.platform.contract import ReplayResult
from functions.platform.errors import RequestRefused, StorageUnavailable
from functions.platform.events.delivery import ATTEMPTS
from functions.platform.events.intake import Intake
from functions.platform.http import ApiRequest
from functions.platform.receipt import issue
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.settings import CollectSettings
from functions.replay import replay as replay_module
from functions.replay.replay import STOP_BEFORE_END_MS, replay
from testing.api import Context
from testing.fakes import FakeFirehose, FakeS3, FakeSecrets, FakeSession
from tests.unit.functions.collect.test_collect import KEY, NOW_MS, SETTINGS, event

BUCKET = SETTINGS.events_bucket
HOUR = "2023/11/14/22"  # of NOW_MS
BOT = Origin("203.0.113.0/24", "tablet", True)
REMAINING_MS = Context().get_remaining_time_in_millis


class Lake:
    """An archive that the collector wrote, and the Firehose that replays are sent to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.s3, self.firehose = FakeS3(page_size=2), FakeFirehose()
        self.secrets = FakeSecrets()
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", FakeSession(self.s3))

    def collect(
        self,
        body: Any,
        hour: str = HOUR,
        file: str = "a",
        shop: str = "demo",
        origin: Origin = BOT,
        trusted: bool = False,
        now_ms: int = NOW_MS,
    ) -> None:
        """Store a request's events in files of their own, as Firehose delivers them."""
        firehose = FakeFirehose()
        settings = CollectSettings("test", {KEY: shop}, "raw", "rejected", BUCKET, "receipts", "secret-keys")
        intake = Intake(settings, firehose, self.s3, self.receipt_keys(), REMAINING_MS)
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        with contextlib.suppress(RequestRefused):
            request = ApiRequest("r-1", "POST", {"key": KEY}, sent)
            collect_batch(request, origin, intake, now_ms, shop if trusted else None)
        for archive, records in firehose.streams.items():
            self.put(f"{archive}/{hour}/{file}.gz", gzip.compress(b"".join(records)))

    def put(self, key: str, body: bytes) -> None:
        self.s3.objects[BUCKET, key] = body

    def lines(self, key: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in gzip.decompress(self.s3.objects[BUCKET, key]).splitlines()]

    def replay(
        self,
        archive: str = "raw",
        from_hour: str = "2023-11-14T22",
        to_hour: str = "2023-11-14T22",
        remaining_ms: Callable[[], int] = lambda: 900_000,
        settings: CollectSettings = SETTINGS,
        **more: str,
    ) -> ReplayResult:
        asked = {"archive": archive, "from_hour": from_hour, "to_hour": to_hour, **more}
        return replay(
            asked, Intake(settings, self.firehose, self.s3, self.receipt_keys(), REMAINING_MS), remaining_ms
        )

    def receipt_keys(self) -> ReceiptKeys:
        """Return the keys of a new execution environment."""
        return ReceiptKeys("receipts", lambda: self.secrets)

    @property
    def sent(self) -> list[dict[str, Any]]:
        return self.firehose.lines("events")


def done(files: int, read: int, sent: int) -> ReplayResult:
    """The result of a replay without any problem."""
    return {
        "files": files,
        "read": read,
        "sent": sent,
        "refused": {},
        "unreadable": 0,
        "unreadable_at": [],
        "continue_with": None,
    }


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setattr("functions.platform.events.delivery.FIRST_PAUSE_S", 0)
    return Lake(monkeypatch)


def test_a_raw_event_is_sent_again_exactly_as_it_was_stored(lake: Lake) -> None:
    lake.collect({"events": [event(), event(event_id="e2")]})
    assert lake.replay() == done(files=1, read=2, sent=2)
    assert lake.sent == lake.lines(f"raw/{HOUR}/a.gz")


def test_replaying_twice_gives_the_same_event_ids_twice_so_that_nothing_is_counted_twice(lake: Lake) -> None:
    lake.collect({"events": [event(event_id=f"e{n}") for n in range(5)]})
    lake.replay()
    first = lake.sent
    lake.replay()
    assert lake.sent == first + first
    assert {(line["shop_id"], line["event_id"]) for line in lake.sent} == {
        ("demo", f"e{n}") for n in range(5)
    }


def test_an_event_whose_clock_was_corrected_keeps_its_corrected_time(lake: Lake) -> None:
    ahead_ms = 86_400_000
    lake.collect({"events": [event(client_time_ms=NOW_MS + ahead_ms)], "sent_at_ms": NOW_MS + ahead_ms + 500})
    assert lake.replay()["sent"] == 1
    assert lake.sent[0]["server"]["event_time_ms"] == NOW_MS - 500
    assert lake.sent[0]["client_time_ms"] == NOW_MS + ahead_ms


def test_a_correction_by_less_than_today_s_smallest_is_replayed_as_it_was(lake: Lake) -> None:
    lake.collect({"events": [event(client_time_ms=NOW_MS - 5, sequence=1)], "sent_at_ms": NOW_MS - 40})
    lake.replay()
    assert lake.sent == lake.lines(f"raw/{HOUR}/a.gz")
    assert lake.sent[0]["server"]["event_time_ms"] == NOW_MS - 40


HELD = {
    "events": [event(client_time_ms=NOW_MS - 7_200_700)],
    "sent_at_ms": NOW_MS - 7_200_000,
    "clock_error_ms": 8,
}
SET_BACK = {
    "events": [event(client_time_ms=NOW_MS + 7_200_000, sequence=1), event(event_id="e2", sequence=2)],
    "sent_at_ms": NOW_MS - 300,
}


@pytest.mark.parametrize(
    "body",
    [
        {"events": [event(client_time_ms=NOW_MS + 7_200_000)], "sent_at_ms": NOW_MS + 7_200_300},
        HELD,
        SET_BACK,
    ],
)
@pytest.mark.parametrize("limit", [("contract", "EVENT_MAX_BYTES", 10), ("batch", "EVENTS_MAX", 0)])
def test_an_event_that_was_refused_by_our_mistake_is_stored_as_it_would_have_been(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], limit: tuple[str, str, int]
) -> None:
    with monkeypatch.context() as mistake:
        module, name, value = limit
        mistake.setattr(f"functions.platform.events.{module}.{name}", value)
        lake.collect(body)
    assert lake.replay("rejected")["sent"] == len(body["events"])
    replayed = lake.sent
    lake.collect(body, file="b")
    assert replayed == lake.lines(f"raw/{HOUR}/b.gz")
    assert replayed[0]["server"]["is_bot"]


def test_a_still_invalid_event_is_counted_by_its_reason_and_not_sent(lake: Lake) -> None:
    lake.collect({"events": [event(event_name="dance"), event(shop_id="other"), event(shop_id="other"), 5]})
    replayed = lake.replay("rejected")
    assert (replayed["read"], replayed["sent"]) == (4, 0)
    assert replayed["refused"] == {"unknown_event_name": 1, "unknown_shop": 2, "event_not_an_object": 1}
    assert lake.sent == []


def test_an_event_sent_with_another_shops_key_stays_refused(lake: Lake) -> None:
    lake.collect({"events": [event(shop_id="other")]})
    assert "other" in SETTINGS.shops
    assert lake.replay("rejected")["refused"] == {"unknown_shop": 1}


def test_a_body_that_was_refused_as_a_whole_is_split_into_events(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.platform.events.batch.EVENTS_MAX", 1)
    lake.collect({"events": [event(), event(event_id="e2")], "sent_at_ms": NOW_MS})
    assert lake.replay("rejected")["refused"] == {"too_many_events": 1}
    monkeypatch.setattr("functions.platform.events.batch.EVENTS_MAX", 2)
    replayed = lake.replay("rejected")
    assert (replayed["read"], replayed["sent"]) == (1, 2)
    assert [line["event_id"] for line in lake.sent] == ["e1", "e2"]


def test_a_bad_line_is_reported_with_its_place_and_stops_no_other(lake: Lake) -> None:
    lake.collect({"events": [event(), event(event_id="e2")]})
    first, second = gzip.decompress(lake.s3.objects[BUCKET, f"raw/{HOUR}/a.gz"]).splitlines()
    bad = [
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"event_id": "e3"}',
        b'{"client_time_ms": "x", "server": {}}',
        b"[" * 5000,
    ]
    lake.put(f"raw/{HOUR}/a.gz", gzip.compress(b"\n".join([first, *bad, second])))
    replayed = lake.replay()
    assert (replayed["read"], replayed["sent"], replayed["unreadable"]) == (8, 2, 6)
    places = [f"raw/{HOUR}/a.gz line {number}:" for number in range(2, 8)]
    assert all(at.startswith(place) for at, place in zip(replayed["unreadable_at"], places, strict=True))


def test_a_truncated_file_yields_its_readable_lines_and_stops_no_other(lake: Lake) -> None:
    many = {"events": [event(event_id=f"e{n}", search_term=f"{n * 7919}") for n in range(500)]}
    lake.collect(many)
    body = lake.s3.objects[BUCKET, f"raw/{HOUR}/a.gz"]
    lake.put(f"raw/{HOUR}/a.gz", body[: len(body) // 2])
    lake.put(f"raw/{HOUR}/b.gz", b"not gzip")
    lake.collect({"events": [event(event_id="last")]}, file="c")
    replayed = lake.replay()
    assert replayed["files"] == 3
    assert replayed["unreadable"] == 2
    assert replayed["unreadable_at"][1].startswith(f"raw/{HOUR}/b.gz line 1: no gzip")
    assert lake.sent[-1]["event_id"] == "last"
    assert len(lake.sent) == replayed["sent"]


def test_a_payload_that_was_not_kept_whole_is_reported(lake: Lake) -> None:
    lake.collect({"events": [event(event_name="dance", note="x" * 70_000)]})
    replayed = lake.replay("rejected")
    assert replayed["unreadable_at"] == [
        f"rejected/{HOUR}/a.gz line 1: its payload was too long to be kept whole"
    ]


def test_all_bad_lines_are_counted_and_the_first_are_listed(lake: Lake) -> None:
    lake.put(f"raw/{HOUR}/a.gz", gzip.compress(b"{\n" * 1000))
    replayed = lake.replay()
    assert replayed["unreadable"] == 1000
    assert len(replayed["unreadable_at"]) == replay_module.UNREADABLE_REPORTED


def test_records_that_firehose_refuses_are_sent_again_and_none_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.platform.events.delivery.RECORD_MAX_BYTES", 1_000)
    lake.collect({"events": [event(event_id=f"e{n}") for n in range(50)]})
    lake.firehose.refuse_next = 7
    assert lake.replay()["sent"] == 50
    assert sorted(line["event_id"] for line in lake.sent) == sorted(f"e{n}" for n in range(50))


def test_records_that_firehose_keeps_refusing_are_parked_below_raw(lake: Lake) -> None:
    lake.collect({"events": [event()]})
    lake.firehose.break_next = ATTEMPTS
    assert lake.replay()["sent"] == 1
    assert lake.sent == []
    [key] = [key for _, key in lake.s3.objects if "parked" in key]
    assert key.startswith("raw/20")
    assert [line["event_id"] for line in lake.lines(key)] == ["e1"]


def test_a_replay_that_stores_nothing_fails_and_can_be_run_again(lake: Lake) -> None:
    lake.collect({"events": [event()]})
    lake.firehose.break_next = ATTEMPTS
    down = FakeS3()
    down.down = True
    with pytest.raises(StorageUnavailable):
        replay(GOOD, Intake(SETTINGS, lake.firehose, down, lake.receipt_keys(), REMAINING_MS))
    assert lake.replay()["sent"] == 1


def test_an_unreachable_archive_is_a_transient_error(lake: Lake) -> None:
    lake.s3.down = True
    with pytest.raises(StorageUnavailable, match="could not be read"):
        lake.replay()
    with pytest.raises(StorageUnavailable, match="could not be listed"):
        lake.replay("rejected")


def test_only_the_requested_hours_and_archive_are_read(lake: Lake) -> None:
    for hour in ("21", "22", "23"):
        lake.collect({"events": [event(event_id=hour)]}, hour=f"2023/11/14/{hour}")
    lake.collect({"events": [event(event_id="next day")]}, hour="2023/11/15/00")
    lake.collect({"events": [event(event_id="refused", event_name="dance")]})
    assert lake.replay(from_hour="2023-11-14T22", to_hour="2023-11-15T00")["sent"] == 3
    assert [line["event_id"] for line in lake.sent] == ["22", "23", "next day"]


def test_hours_without_files_are_no_error(lake: Lake) -> None:
    assert lake.replay() == done(files=0, read=0, sent=0)


def test_many_files_are_listed_page_by_page_in_order(lake: Lake) -> None:
    for number in range(7):
        lake.collect({"events": [event(event_id=f"e{number}")]}, file=f"{number}")
    assert lake.replay()["files"] == 7
    assert [line["event_id"] for line in lake.sent] == [f"e{number}" for number in range(7)]
    assert lake.s3.pages_listed == 4


def test_many_lines_are_delivered_in_portions(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    portions: list[int] = []
    monkeypatch.setattr(replay_module, "LINES_PER_DELIVERY", 100)
    lake.collect({"events": [event(event_id=f"e{n}") for n in range(250)]})
    monkeypatch.setattr(Intake, "store", lambda _, lines: portions.append(len(lines)))
    assert lake.replay()["sent"] == 250
    assert portions == [100, 100, 50]


def test_a_period_that_takes_too_long_is_continued_where_it_stopped(lake: Lake) -> None:
    for hour in ("22", "23"):
        for number in range(3):
            lake.collect(
                {"events": [event(event_id=f"{hour}-{number}")]}, hour=f"2023/11/14/{hour}", file=f"{number}"
            )
    asked: dict[str, str] = {"archive": "raw", "from_hour": "2023-11-14T22", "to_hour": "2023-11-14T23"}
    calls = 0
    following: dict[str, str] | None = asked
    while following:
        left = iter([STOP_BEFORE_END_MS, STOP_BEFORE_END_MS - 1])
        following = lake.replay(**following, remaining_ms=lambda left=left: next(left))["continue_with"]  # type: ignore[arg-type,misc]
        calls += 1
    assert calls == 3
    assert [line["event_id"] for line in lake.sent] == [
        f"{hour}-{number}" for hour in ("22", "23") for number in range(3)
    ]


def test_a_replay_of_raw_does_not_read_its_own_output(lake: Lake) -> None:
    lake.collect({"events": [event()]})
    lake.s3.stored_at[BUCKET, f"raw/{HOUR}/a.gz"] = datetime.now(UTC) + timedelta(seconds=60)
    assert lake.replay()["files"] == 0


def test_a_continued_replay_does_not_read_what_the_first_call_sent(lake: Lake) -> None:
    lake.collect({"events": [event()]})
    lake.s3.stored_at[BUCKET, f"raw/{HOUR}/a.gz"] = datetime(2024, 1, 2, tzinfo=UTC)
    assert lake.replay(stored_before="2024-01-01T00:00:00+00:00")["files"] == 0
    assert lake.replay(stored_before="2024-01-03T00:00:00+00:00")["files"] == 1


GOOD = {"archive": "raw", "from_hour": "2023-11-14T22", "to_hour": "2023-11-14T22"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "not an object"),
        ([], "not an object"),
        ({}, "missing: archive, from_hour, to_hour"),
        ({**GOOD, "from": "x"}, "unknown: from"),
        ({**GOOD, "archive": "errors"}, "raw or rejected, not 'errors'"),
        ({**GOOD, "archive": ["raw"]}, "raw or rejected"),
        ({**GOOD, "from_hour": "2023-11-14"}, "from_hour is an hour in UTC such as"),
        ({**GOOD, "to_hour": "2023-11-14T24"}, "to_hour is an hour in UTC such as"),
        ({**GOOD, "to_hour": 5}, "not 5"),
        ({**GOOD, "from_hour": "2023-11-14T23"}, "lies after to_hour"),
        ({**GOOD, "from_hour": "2999-01-01T00", "to_hour": "2999-01-01T00"}, "lies in the future"),
        ({**GOOD, "stored_before": "soon"}, "stored_before 'soon' is no time"),
        ({**GOOD, "stored_before": "2024-01-01T00:00:00"}, "is no time with a zone"),
    ],
)
def test_an_invalid_event_is_an_error_with_an_example(lake: Lake, wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        replay(wrong, Intake(SETTINGS, lake.firehose, lake.s3, lake.receipt_keys(), REMAINING_MS))
    assert '"from_hour": "2026-11-20T00"' in str(caught.value)


def test_an_end_in_the_future_ends_now(lake: Lake) -> None:
    lake.collect({"events": [event()]})
    now = datetime.now(UTC)
    assert lake.replay(from_hour=f"{now:%Y-%m-%dT%H}", to_hour="9999-12-31T23")["files"] == 0
    assert lake.s3.pages_listed <= 2


def with_receipt(token: str | None = None) -> dict[str, Any]:
    """A click on an item that /recommend recommended a minute before."""
    issued = issue("rec-1", "demo", "s1", "m1", "v1", ["i1"], NOW_MS // 1000 - 60, b"key-1")
    return event(event_name="recommendation_click", receipt=token or issued)


def test_an_unverified_receipt_is_verified_by_a_replay(lake: Lake) -> None:
    lake.secrets.down = True
    lake.collect({"events": [with_receipt()]})
    [waiting] = lake.lines(f"raw/{HOUR}/a.gz")
    assert waiting["server"]["receipts"][0]["verdict"] == "unverified"
    lake.secrets.down = False
    assert lake.replay()["sent"] == 1
    [stamp] = lake.sent[0]["server"]["receipts"]
    assert (stamp["verdict"], stamp["recommendation_id"]) == ("valid", "rec-1")
    assert "receipt" not in lake.sent[0]


def test_a_verdict_stays_when_the_key_is_gone(lake: Lake) -> None:
    lake.collect({"events": [with_receipt()]})
    lake.secrets.rotate("key-2")
    lake.secrets.rotate("key-3")
    lake.replay()
    assert lake.sent == lake.lines(f"raw/{HOUR}/a.gz")


def test_a_receipt_of_a_refused_event_is_judged_by_the_event_time(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as mistake:
        mistake.setattr("functions.platform.events.contract.EVENT_MAX_BYTES", 10)
        lake.collect({"events": [with_receipt(), with_receipt("nonsense")]})
    lake.replay("rejected")
    assert [line["server"]["receipts"][0]["verdict"] for line in lake.sent] == ["valid", "forged"]


def trust(lake: Lake) -> list[bool | None]:
    return [line["server"].get("trusted") for line in lake.sent]


def test_a_replay_keeps_the_trust_of_accepted_events(lake: Lake) -> None:
    lake.collect({"events": [event()]}, file="a", trusted=True)
    lake.collect({"events": [event(event_id="e2")]}, file="b")
    lake.replay()
    assert trust(lake) == [True, None]


def test_a_replay_keeps_the_trust_of_refused_events_and_bodies(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as mistake:
        mistake.setattr("functions.platform.events.contract.EVENT_MAX_BYTES", 10)
        lake.collect({"events": [event()]}, file="a", trusted=True)
        lake.collect({"events": [event(event_id="e2")]}, file="b")
    with monkeypatch.context() as mistake:
        mistake.setattr("functions.platform.events.batch.EVENTS_MAX", 1)
        lake.collect({"events": [event(event_id="e3"), event(event_id="e4")]}, file="c", trusted=True)
        lake.collect({"events": [event(event_id="e5"), event(event_id="e6")]}, file="d")
    assert lake.replay("rejected")["sent"] == 6
    assert trust(lake) == [True, None, True, True, None, None]


@pytest.mark.parametrize(
    "forgery",
    [
        {"server": {"trusted": True}},
        {"trusted": True},
        {"sender": "demo", "trusted": True, "server": {"trusted": True, "received_at_ms": 1}},
    ],
    ids=str,
)
def test_no_field_of_a_payload_makes_a_replayed_event_trusted(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, forgery: dict[str, Any]
) -> None:
    lake.collect({"events": [{**event(), **forgery}], **forgery}, file="a")
    lake.replay()
    with monkeypatch.context() as mistake:
        mistake.setattr("functions.platform.events.contract.EVENT_MAX_BYTES", 10)
        lake.collect({"events": [{**event(event_id="e2"), **forgery}], **forgery}, file="b")
    with monkeypatch.context() as mistake:
        mistake.setattr("functions.platform.events.batch.EVENTS_MAX", 1)
        pair = [{**event(event_id=f"e{n}"), **forgery} for n in (3, 4)]
        lake.collect({"events": pair, **forgery}, file="c")
    lake.replay("rejected")
    assert trust(lake) == [None] * 4
    assert {line["server"]["received_at_ms"] for line in lake.sent} == {NOW_MS}


OLD_MS = 30 * 86_400_000


def test_an_old_accepted_event_is_replayed_and_a_page_s_refused_one_stays_refused(lake: Lake) -> None:
    old = event(client_time_ms=NOW_MS - OLD_MS)
    lake.collect({"events": [old]}, file="a", trusted=True)
    lake.collect({"events": [{**old, "event_id": "e2"}]}, file="b")
    assert lake.replay() == done(files=1, read=1, sent=1)
    assert lake.replay("rejected")["refused"] == {"event_too_old": 1}


def test_an_old_event_that_a_page_sent_before_there_was_a_limit_is_replayed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("functions.collect.collect.COLLECT_PAGE_AGE_MAX_MS", 10**15)
        lake.collect({"events": [event(client_time_ms=NOW_MS - OLD_MS)]})
    assert lake.replay() == done(files=1, read=1, sent=1)


@pytest.mark.parametrize(("received_after_ms", "verdict"), [(0, "valid"), (OLD_MS, "late")])
def test_a_replay_judges_a_receipt_by_the_archived_time_of_receipt(
    lake: Lake, received_after_ms: int, verdict: str
) -> None:
    lake.secrets.down = True
    lake.collect({"events": [with_receipt()]}, trusted=True, now_ms=NOW_MS + received_after_ms)
    lake.secrets.down = False
    lake.replay()
    [stamp] = lake.sent[0]["server"]["receipts"]
    assert stamp["verdict"] == verdict
