"""Erase: no byte of the person stays, every other byte does, and a killed call is continued by the next."""

import gzip
from typing import Any

import boto3
import pytest

from functions.erase import erase as erase_module
from functions.platform.contract import PACKED_PREFIX
from functions.platform.errors import StorageUnavailable
from functions.platform.packed_days import PackedDay, read_manifest
from testing.fakes import FakeSession
from tests.unit.functions.erase.world import (
    ANNA,
    BERT,
    DAY,
    EVENTS,
    KEY,
    SETTINGS,
    Lake,
    line,
    raw_key,
    refused,
)


class Killed(BaseException):
    """The end of a process between two requests, which no handler catches."""


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    return filled(monkeypatch)


def filled(monkeypatch: pytest.MonkeyPatch) -> Lake:
    lake = Lake()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", FakeSession(lake.s3))
    lake.fill()
    return lake


def packed_lines(lake: Lake) -> dict[str, list[bytes]]:
    day = PackedDay(EVENTS, read_manifest(lake.s3, EVENTS, DAY)[0])
    return {key: list(day.lines(key)) for key in sorted(day.files)}


@pytest.mark.parametrize("seconds", [0, 600])
def test_no_byte_of_the_person_stays_and_every_other_line_does(lake: Lake, seconds: float) -> None:
    assert ANNA.encode() in lake.everything()
    lake.erase(seconds, client=ANNA)
    assert ANNA.encode() not in lake.everything()
    assert lake.lines(raw_key(1, "both")) == [line(BERT, 1) + b"\n"]
    assert lake.lines(raw_key(2, "anna")) == []
    assert lake.lines(raw_key(3, "late")) == [line(BERT, 4) + b"\n"]
    assert lake.lines(raw_key(3, "half")) == [line(BERT, 5) + b"\n"]
    assert lake.lines("rejected/2023/11/14/01/a.gz") == [refused(BERT) + b"\n"]
    assert packed_lines(lake) == {
        raw_key(1, "bert"): [line(BERT, 2)],
        raw_key(1, "both"): [line(BERT, 1)],
        raw_key(2, "anna"): [],
        raw_key(4, "twice"): [line(BERT, 6)],
    }


def test_files_without_the_person_are_not_written(lake: Lake) -> None:
    names = [(EVENTS, raw_key(1, "bert")), (EVENTS, raw_key(4, "twice"))]
    before = [lake.s3.versions[name][-1] for name in names]
    lake.erase(client=ANNA)
    assert [lake.s3.versions[name] for name in names] == [[version] for version in before]


def test_the_certificate_counts_by_place_and_contains_no_id(lake: Lake) -> None:
    result = lake.erase(client=ANNA)
    written = result["certificate"]
    assert written is not None
    assert written["erased"] == {
        "RAW.EVENTS rows": 3,
        "packed files rewritten": 1,
        "packed lines": 3,
        "raw/ files rewritten": 4,
        "raw/ lines": 5,
        "raw/ old versions deleted": 5,
        "rejected/ files rewritten": 1,
        "rejected/ lines": 2,
        "rejected/ old versions deleted": 1,
    }
    assert written["complete"] is True
    stored = [key for _, key in lake.s3.objects if key.startswith("erasures/")]
    assert [key.rsplit(".")[-1] for key in sorted(stored)] == ["json", "txt"]
    assert all(ANNA not in str(part) for part in (result, stored))


def test_a_rewritten_file_keeps_its_tag_so_that_it_still_expires(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[dict[str, Any]] = []
    original = lake.s3.put_object

    def put_object(**given: Any) -> Any:
        put.append(given)
        return original(**given)

    monkeypatch.setattr(lake.s3, "put_object", put_object)
    lake.erase(client=ANNA)
    tags = {one["Key"]: one.get("Tagging") for one in put if one["Key"].startswith("raw/")}
    assert tags[raw_key(1, "both")] == "packed=true"
    assert tags[raw_key(3, "late")] is None


def test_rows_of_rewritten_files_are_those_of_the_files(lake: Lake) -> None:
    lake.erase(client=ANNA)
    assert sorted((key, event["event_id"]) for key, event in lake.warehouse.rows) == [
        (raw_key(1, "bert"), f"{BERT}-2"),
        (raw_key(1, "both"), f"{BERT}-1"),
        (raw_key(4, "twice"), f"{BERT}-6"),
    ]
    assert ANNA not in str(lake.warehouse.statements)


# awswrangler tries to write once more when it gives up a file, which ends as the request before.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seconds", [0, 600])
def test_a_call_that_is_killed_at_any_request_is_continued_by_the_next(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    whole = filled(monkeypatch)
    expected = whole.erase(client=ANNA)["certificate"]
    assert expected is not None
    expected_lines = packed_lines(whole)
    killed_at, killed_again = int(seconds > 0), True
    while killed_again:
        lake = filled(monkeypatch)
        requests = iter(range(10_000))

        def kill(requests: Any = requests, at: int = killed_at) -> None:
            if next(requests) >= at:
                raise Killed

        lake.s3.before_request = kill
        try:
            lake.erase(seconds, client=ANNA)
            killed_again = False
            lake.s3.before_request = lambda: None
        except Killed:
            lake.s3.before_request = lambda: None
            result = lake.erase(seconds, client=ANNA)
            # After the journal is gone, nothing is left to erase.
            counts = result["certificate"]["erased"] if result["certificate"] else {}
            certificates = [
                key for _, key in lake.s3.objects if key.startswith("erasures/") and key.endswith(".json")
            ]
            assert counts == expected["erased"] or (len(certificates) == 2 and not any(counts.values()))
        assert ANNA.encode() not in lake.everything(), killed_at
        assert packed_lines(lake) == expected_lines
        assert [key for _, key in lake.s3.objects if key.startswith("erasures/journals/")] == []
        # A third of the requests per case: each takes a tenth of a second.
        killed_at += 3
    assert killed_at > 60


def test_a_second_erasure_finds_nothing(lake: Lake) -> None:
    lake.erase(client=ANNA)
    before = {key: body for key, body in lake.s3.objects.items() if not key[1].startswith("erasures/")}
    again = lake.erase(client=ANNA)["certificate"]
    assert again is not None
    assert not any(again["erased"].values())
    assert {
        key: body for key, body in lake.s3.objects.items() if not key[1].startswith("erasures/")
    } == before


def test_an_unknown_person_gets_a_certificate_of_zeros(lake: Lake) -> None:
    before = lake.everything()
    result = lake.erase(client="nobody")["certificate"]
    assert result is not None
    assert (result["clients"], sum(result["erased"].values())) == (0, 0)
    assert lake.everything().startswith(before[:100])


def test_a_user_is_every_client_that_ever_had_the_user_id(lake: Lake) -> None:
    phone = "client-anna-phone"
    lake.put(raw_key(5, "phone"), [line(phone, 1), line(BERT, 7), line(phone, 2, user_id="user-anna")])
    result = lake.erase(user="user-anna")["certificate"]
    assert result is not None
    assert result["clients"] == 2
    left = lake.everything()
    assert not any(one.encode() in left for one in (ANNA, phone, "user-anna"))
    assert lake.lines(raw_key(5, "phone")) == [line(BERT, 7) + b"\n"]


def test_with_a_shop_the_same_id_in_another_shop_stays(lake: Lake) -> None:
    other = line(ANNA, 1, shop="other")
    lake.put(raw_key(5, "other"), [other])
    lake.erase(client=ANNA, shop="demo")
    assert lake.lines(raw_key(5, "other")) == [other + b"\n"]
    assert lake.lines(raw_key(1, "both")) == [line(BERT, 1) + b"\n"]


def test_an_event_after_the_erasure_is_new_data(lake: Lake) -> None:
    lake.erase(client=ANNA)
    lake.put(raw_key(6, "new"), [line(ANNA, 9)])
    assert lake.lines(raw_key(6, "new")) == [line(ANNA, 9) + b"\n"]


def test_a_compaction_that_read_the_raw_files_before_cannot_pack_the_person(lake: Lake) -> None:
    started = False

    def other() -> None:
        nonlocal started
        written = [key for _, key in lake.s3.objects if key.startswith(PACKED_PREFIX)]
        if not started and len(written) > before:
            started = True
            lake.s3.before_request = lambda: None
            lake.erase(client=ANNA)

    before = sum(key.startswith(PACKED_PREFIX) for _, key in lake.s3.objects)
    lake.s3.before_request = other
    with pytest.raises(StorageUnavailable, match=r"could not be (read|replaced)"):
        lake.pack()
    lake.pack()
    assert ANNA.encode() not in lake.everything()


def test_a_broken_gzip_file_makes_the_certificate_incomplete(lake: Lake) -> None:
    broken = gzip.compress(line(ANNA) * 50)[:-12]
    lake.s3.put_object(Bucket=EVENTS, Key=raw_key(7, "broken"), Body=broken)
    result = lake.erase(client=ANNA)["certificate"]
    assert result is not None
    assert (result["complete"], result["not_examined"]) == (False, [raw_key(7, "broken")])
    assert lake.s3.objects[EVENTS, raw_key(7, "broken")] == broken


def test_an_erasure_that_changed_nothing_can_be_abandoned(lake: Lake) -> None:
    event = {"user": "user-anna", "seconds": 0}
    lake.call(event, "begin")
    lake.call(event, "find")
    gone = erase_module.erase({**event, "action": "abandon"}, SETTINGS, lake.s3, KEY)
    assert gone["phase"] == "begin"
    assert not any(key.startswith("erasures/") for _, key in lake.s3.objects)


def test_two_calls_at_once_count_once(lake: Lake) -> None:
    result = lake.call({"client": ANNA}, "begin")
    lake.call({"client": ANNA}, result["phase"])
    interrupted = False

    def other_call() -> None:
        nonlocal interrupted
        if not interrupted and len(lake.s3.versions[EVENTS, raw_key(1, "both")]) > 1:
            interrupted = True
            lake.call({"client": ANNA}, "raw")

    lake.s3.before_request = other_call
    with pytest.raises(StorageUnavailable):
        lake.call({"client": ANNA}, "raw")
    lake.s3.before_request = lambda: None
    done = lake.erase(client=ANNA)["certificate"]
    assert done is not None
    assert done["erased"]["raw/ lines"] == 5
