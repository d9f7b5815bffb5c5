import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from functions.compact.days import parse_days
from functions.platform.copy_files import RAW_KEY
from functions.platform.errors import StorageUnavailable
from functions.replay.archived_events import archived_events
from imports import upload
from imports.history import History, identify_all
from imports.rejects import Rejects
from imports.upload import Spool, Upload, Uploaded
from testing.fakes import FakeS3

BUCKET = "events"
CONTENT = "event_time,event_name,item_id,client_id\n" + "".join(
    f"2026-03-0{1 + number % 3}T10:{number:02d}:00Z,view,i{number},c\n" for number in range(30)
)


def stored(tmp_path: Path, s3: Any, content: str = CONTENT) -> tuple[Uploaded, int]:
    """Import a file into S3; return the files and the number of rejected files."""
    file = tmp_path / "events.csv"
    file.write_text(content)
    with (
        Spool("demo", "import-1", 0) as spool,
        History("demo", Rejects(), import_id="import-1", on_reject=spool.add) as history,
    ):
        for opened in identify_all([file]):
            history.add(opened)
        target = Upload(s3, BUCKET, "import-1")
        list(target.store(history.batches()))
        return target.result, target.store_rejected(spool)


def lines(s3: FakeS3, prefix: str) -> dict[str, list[dict[str, Any]]]:
    return {
        key: [json.loads(line) for line in gzip.decompress(body).splitlines()]
        for (_, key), body in sorted(s3.objects.items())
        if key.startswith(prefix)
    }


def test_events_lie_by_day_in_files_that_load_lists(tmp_path: Path) -> None:
    s3 = FakeS3()
    result, _ = stored(tmp_path, s3)
    found = lines(s3, "raw/")
    assert list(found) == [f"raw/2026/03/0{day}/00/import-1-0001.gz" for day in (1, 2, 3)]
    assert all(RAW_KEY.fullmatch(key) for key in found)
    assert [len(events) for events in found.values()] == [10, 10, 10]
    assert (result.files, result.lines, result.first_day, result.last_day) == (
        3,
        30,
        "2026-03-01",
        "2026-03-03",
    )
    for events in found.values():
        times = [event["client_time_ms"] for event in events]
        assert times == sorted(times)


def test_replay_reads_an_imported_line_as_it_was_stored(tmp_path: Path) -> None:
    s3 = FakeS3()
    stored(tmp_path, s3)
    for (_, _), body in s3.objects.items():
        for line in gzip.decompress(body).splitlines():
            (event,) = archived_events(line, "raw")
            assert event.timing.event_time_ms(event.event["client_time_ms"]) == event.event["client_time_ms"]
            assert (event.server["source"], event.server["trusted"]) == ("import", True)


def test_compaction_takes_days_of_imported_files() -> None:
    from datetime import UTC, date, datetime

    days = parse_days({"from_day": "2026-03-01", "to_day": "2026-03-02"}, datetime(2026, 6, 1, tzinfo=UTC))
    assert days == [date(2026, 3, 1), date(2026, 3, 2)]


def test_a_long_day_has_several_files_and_every_line_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "LINES_PER_FILE", 4)
    s3 = FakeS3()
    stored(tmp_path, s3)
    found = lines(s3, "raw/")
    assert [len(events) for events in found.values()] == [4, 4, 2] * 3
    assert len({event["event_id"] for events in found.values() for event in events}) == 30


def test_an_import_that_is_repeated_changes_nothing(tmp_path: Path) -> None:
    s3 = FakeS3()
    stored(tmp_path, s3)
    before = dict(s3.objects)
    result, _ = stored(tmp_path, s3)
    assert (result.kept, result.bytes) == (3, 0)
    assert s3.objects == before


def test_an_import_that_ends_half_way_is_continued_by_the_same_command(tmp_path: Path) -> None:
    whole, s3 = FakeS3(), FakeS3()
    stored(tmp_path, whole)
    requests = 0

    def end_at_the_fourth() -> None:
        nonlocal requests
        requests += 1
        s3.down = requests >= 4

    s3.before_request = end_at_the_fourth
    with pytest.raises(StorageUnavailable, match="could not be"):
        stored(tmp_path, s3)
    assert 0 < len(s3.objects) < 3
    s3.before_request, s3.down = (lambda: None), False
    result, _ = stored(tmp_path, s3)
    assert s3.objects == whole.objects
    assert result.kept >= 1


def test_rejects_are_stored_with_their_reason_below_the_first_day(tmp_path: Path) -> None:
    s3 = FakeS3()
    _, files = stored(tmp_path, s3, CONTENT + "2026-03-01,nap,a,c\n2026-03-01,view,a\n")
    assert files == 1
    (found,) = lines(s3, "rejected/2026/03/01/00/import-1-0001.gz").values()
    assert sorted((one["index"], one["reason"]) for one in found) == [
        (32, "unknown_event_name"),
        (33, "field_invalid"),
    ]
    assert {(one["sender"], one["source"], one["trusted"]) for one in found} == {("demo", "import", True)}
    # A replay of rejected/ reads the lines, and refuses them again.
    for one in found:
        (event,) = archived_events(json.dumps(one).encode(), "rejected")
        assert isinstance(event.event, str)
