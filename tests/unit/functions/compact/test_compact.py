"""Compact: a packed day replays exactly as its raw files, whatever was packed, interrupted, broken or late."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.compact import compact as compact_module
from functions.compact.compact import STOP_BEFORE_END_MS, compact
from functions.compact.days import parse_days
from functions.platform.contract import CompactResult, ReplayResult
from functions.platform.errors import StorageUnavailable
from functions.platform.events.intake import Intake
from functions.platform.packed_days import PackedDayDamaged, read_manifest
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.settings import CompactSettings
from functions.replay.replay import replay
from testing.api import Context
from testing.fakes import FakeFirehose, FakeS3, FakeSecrets, FakeSession, client_error
from tests.unit.functions.collect.test_collect import NOW_MS, SETTINGS, event

BUCKET = SETTINGS.events_bucket
DAY = "2023-11-14"
ASKED = {"from_day": DAY, "to_day": DAY}
NEVER = CompactSettings(BUCKET, 0)
EXPIRING = CompactSettings(BUCKET, 90)


class Killed(BaseException):
    """The end of a process between two requests, which no handler catches."""


class Lake:
    """The raw files of a day, and replays of them."""

    def __init__(self) -> None:
        self.s3 = FakeS3(page_size=3)

    def put(self, key: str, lines: list[bytes], end: bytes = b"\n") -> None:
        self.s3.objects[BUCKET, key] = gzip.compress(b"\n".join(lines) + (end if lines else b""))

    def compact(
        self,
        event: Any = ASKED,
        settings: CompactSettings = NEVER,
        remaining_ms: Callable[[], int] = lambda: 900_000,
    ) -> CompactResult:
        return compact(event, settings, self.s3, remaining_ms)

    def replay(self, from_hour: str = f"{DAY}T00", to_hour: str = f"{DAY}T23") -> tuple[ReplayResult, bytes]:
        """Return the result of a replay and everything that it sent, in order."""
        firehose = FakeFirehose()
        keys = ReceiptKeys("receipts", FakeSecrets)
        asked = {"archive": "raw", "from_hour": from_hour, "to_hour": to_hour}
        result = replay(
            asked, Intake(SETTINGS, firehose, self.s3, keys, Context().get_remaining_time_in_millis)
        )
        return result, b"".join(firehose.streams.get(SETTINGS.events_stream, []))

    def forget_packed(self) -> list[str]:
        """Delete the raw files that are packed, as the lifecycle of the bucket may; return their keys."""
        keys = [file.key for file in read_manifest(self.s3, BUCKET, DAY)[0].files]
        for key in keys:
            self.s3.objects.pop((BUCKET, key), None)
        return keys

    def parts(self) -> list[str]:
        return [key for _, key in self.s3.objects if key.endswith(".parquet")]


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    lake = Lake()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", FakeSession(lake.s3))
    return lake


def stored(**more: Any) -> bytes:
    """A line of raw/ as the collector writes it."""
    server = {"received_at_ms": NOW_MS, "event_time_ms": NOW_MS, "source": "js", "ip_prefix": None}
    server |= {"device": "other", "is_bot": False, "request_id": "r"}
    return json.dumps({**event(**more), "server": server}, ensure_ascii=False).encode()


def key(hour: int, name: str) -> str:
    return f"raw/2023/11/14/{hour:02}/{name}.gz"


LINES = st.one_of(
    st.integers(0, 10**6).map(lambda number: stored(event_id=f"e{number}")),
    st.text(min_size=1, max_size=12).map(lambda text: stored(search_term=text)),
    st.sampled_from([b"", b"{", b"[]", b'{"shop_id": 5}', b"null", "\u2028ß\r".encode(), b"\x00"]),
)
FILES = st.dictionaries(
    st.tuples(st.integers(0, 23), st.text("abc-~.", min_size=1, max_size=4)),
    st.tuples(st.lists(LINES, max_size=5), st.sampled_from([b"\n", b""])),
    max_size=5,
)
BROKEN = st.sampled_from([b"no gzip", gzip.compress(b"\xff\xfe\n"), gzip.compress(b"{}\n" * 50)[:-12]])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=FILES,
    broken=st.lists(BROKEN, max_size=2),
    late=FILES,
    per_part=st.integers(1, 8),
    stop_after=st.integers(0, 9),
)
def test_a_replay_of_packed_days_is_a_replay_of_the_raw_files(
    monkeypatch: pytest.MonkeyPatch,
    files: Any,
    broken: list[bytes],
    late: Any,
    per_part: int,
    stop_after: int,
) -> None:
    lake = Lake()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", FakeSession(lake.s3))
    monkeypatch.setattr(compact_module, "LINES_PER_PART", per_part)
    for (hour, name), (lines, end) in files.items():
        lake.put(key(hour, name), lines, end)
    for number, body in enumerate(broken):
        lake.s3.objects[BUCKET, key(12, f"broken{number}")] = body
    expected = lake.replay()
    # Half packed: the time of the first call ends after some files.
    left = iter([STOP_BEFORE_END_MS] * stop_after)
    lake.compact(remaining_ms=lambda: next(left, 0))
    assert lake.replay() == expected
    lake.forget_packed()
    assert lake.replay() == expected
    # Files that arrive later belong to the same day, at any place in the order.
    for (hour, name), (lines, end) in late.items():
        if (BUCKET, key(hour, f"{name}late")) not in lake.s3.objects:
            lake.put(key(hour, f"{name}late"), lines, end)
    expected = lake.replay()
    part_of_day = lake.replay(f"{DAY}T07", f"{DAY}T15")
    assert lake.compact()["finished"]
    packed = lake.forget_packed()
    assert len(packed) == len(set(packed)) == len(files) + len({*late})
    assert lake.replay() == expected
    assert lake.replay(f"{DAY}T07", f"{DAY}T15") == part_of_day


# awswrangler tries to write once more when it gives up a file, which ends as the request before.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_call_that_is_killed_at_any_request_is_continued_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compact_module, "LINES_PER_PART", 2)
    killed_at = 0
    while True:
        lake = Lake()
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", FakeSession(lake.s3))
        for number in range(5):
            lake.put(key(number, "a"), [stored(event_id=f"e{number}-{line}") for line in range(2)])
        expected = lake.replay()
        requests = iter(range(10_000))

        def kill(requests: Any = requests, at: int = killed_at) -> None:
            if next(requests) >= at:
                raise Killed

        lake.s3.before_request = kill
        try:
            lake.compact(settings=EXPIRING)
        except Killed:
            finished = False
        else:
            finished = True
        lake.s3.before_request = lambda: None
        # What S3 may delete now is only what is packed.
        for bucket, name in lake.s3.tags:
            del lake.s3.objects[bucket, name]
        assert lake.replay() == expected
        assert lake.compact(settings=EXPIRING)["finished"]
        assert lake.replay() == expected
        assert len(lake.forget_packed()) == 5
        assert lake.replay() == expected
        if finished:
            break
        killed_at += 1
    assert killed_at > 20


def test_packing_twice_changes_nothing(lake: Lake) -> None:
    lake.put(key(1, "a"), [stored()])
    assert lake.compact() == {
        "days": [DAY],
        "files": 1,
        "lines": 1,
        "parts": 1,
        "unpackable": [],
        "finished": True,
    }
    before = dict(lake.s3.objects)
    assert lake.compact()["files"] == 0
    assert lake.s3.objects == before


def test_a_row_holds_the_line_with_its_place_shop_and_time_of_receipt(lake: Lake) -> None:
    import awswrangler

    lake.put(key(1, "a"), [stored(search_term="Grüße"), b"{"])
    lake.compact()
    (part,) = lake.parts()
    assert part.startswith(f"archive/raw/day={DAY}/")
    frame = awswrangler.s3.read_parquet(f"s3://{BUCKET}/{part}")
    first, second = frame.to_dict("records")
    assert first == {
        "key": key(1, "a"),
        "line_number": 1,
        "shop_id": "demo",
        "received_at_ms": NOW_MS,
        "line": stored(search_term="Grüße").decode(),
    }
    assert (second["line_number"], second["line"]) == (2, "{")
    assert frame.isna().sum(axis=1).tolist() == [0, 2]


def test_unpackable_files_are_reported_and_stay_in_raw(lake: Lake) -> None:
    lake.s3.objects[BUCKET, key(1, "a")] = b"no gzip"
    lake.put(key(1, "b"), [b"\xff"])
    lake.put(key(1, "c"), [stored()])
    result = lake.compact(settings=EXPIRING)
    assert [text.split(": ")[:2] for text in result["unpackable"]] == [
        [key(1, "a"), "not gzip"],
        [key(1, "b"), "not UTF-8"],
    ]
    assert list(lake.s3.tags) == [(BUCKET, key(1, "c"))]


def test_raw_files_are_tagged_only_if_they_may_expire_and_later_calls_make_up_for_it(lake: Lake) -> None:
    lake.put(key(1, "a"), [stored()])
    lake.compact()
    assert lake.s3.tags == {}
    lake.compact(settings=EXPIRING)
    assert lake.s3.tags == {(BUCKET, key(1, "a")): {"packed": "true"}}
    lake.s3.tags.clear()
    lake.compact(settings=EXPIRING)
    assert lake.s3.tags == {}


def test_a_parquet_file_with_other_lines_is_not_recorded(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.put(key(1, "a"), [stored()])
    rows = compact_module.rows
    monkeypatch.setattr(compact_module, "rows", lambda *place: ((k, line + b" ") for k, line in rows(*place)))
    with pytest.raises(PackedDayDamaged, match="the raw files are kept"):
        lake.compact(settings=EXPIRING)
    assert read_manifest(lake.s3, BUCKET, DAY)[0].files == []
    assert lake.s3.tags == {}


def test_a_replay_stops_at_a_parquet_file_that_lost_lines(lake: Lake) -> None:
    for name in ("a", "b"):
        lake.put(key(1, name), [stored(event_id=name)])
    lake.compact()
    (part,) = lake.parts()
    lake.forget_packed()
    other = Lake()
    other.put(key(1, "a"), [stored(event_id="a")])
    boto3.DEFAULT_SESSION = FakeSession(other.s3)  # type: ignore[assignment]
    other.compact()
    lake.s3.objects[BUCKET, part] = other.s3.objects[BUCKET, other.parts()[0]]
    boto3.DEFAULT_SESSION = FakeSession(lake.s3)  # type: ignore[assignment]
    with pytest.raises(PackedDayDamaged, match=r"0 of the 1 lines of raw/2023/11/14/01/b\.gz"):
        lake.replay()


def test_of_two_calls_at_once_one_fails_and_nothing_is_lost(lake: Lake) -> None:
    lake.put(key(1, "a"), [stored()])
    expected = lake.replay()
    interrupted = False

    def other_call() -> None:
        nonlocal interrupted
        if not interrupted and lake.parts():
            interrupted = True
            lake.compact()

    lake.s3.before_request = other_call
    with pytest.raises(StorageUnavailable, match="could not be replaced"):
        lake.compact()
    assert lake.forget_packed() == [key(1, "a")]
    assert lake.replay() == expected


def test_an_unreachable_s3_is_a_transient_error(lake: Lake) -> None:
    lake.s3.down = True
    with pytest.raises(StorageUnavailable):
        lake.compact()


def test_a_manifest_that_may_not_be_read_is_not_taken_for_none(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise client_error("AccessDenied")

    monkeypatch.setattr(lake.s3, "get_object", refuse)
    with pytest.raises(StorageUnavailable, match="AccessDenied"):
        lake.compact()


NOW = datetime(2026, 11, 29, 5, 30, tzinfo=UTC)


def test_the_daily_call_packs_the_last_seven_finished_days() -> None:
    days = parse_days({}, NOW)
    assert [f"{day}" for day in (days[0], days[-1])] == ["2026-11-21", "2026-11-27"]
    assert len(days) == 7


def test_a_day_is_finished_when_firehose_has_given_up_on_it() -> None:
    day = parse_days({}, NOW)[-1]
    assert NOW - datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=1) >= timedelta(hours=24)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "the event is None"),
        ({"day": "2026-11-01"}, "the event is"),
        ({"from_day": "2026-11-01", "to_day": "yesterday"}, "to_day is a day in UTC such as"),
        ({"from_day": "2026-11-03", "to_day": "2026-11-02"}, "lies after to_day"),
        ({"from_day": "2026-11-03", "to_day": "2026-11-28"}, "newest finished day is 2026-11-27"),
    ],
)
def test_an_invalid_event_is_an_error_with_an_example(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_days(wrong, NOW)
    assert '{"from_day": "2026-11-01"' in str(caught.value)
