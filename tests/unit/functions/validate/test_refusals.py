"""Refused events are counted by shop, network and reason, whatever their size and however many there are."""

import gzip
import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.platform.errors import StorageUnavailable
from functions.validate import refusals
from functions.validate.refusals import Sender, read_refused
from testing.fakes import FakeS3
from testing.warehouse_fakes import FakeConnection

NOW = datetime(2026, 1, 10, 2, tzinfo=UTC)
YESTERDAY = datetime(2026, 1, 9, tzinfo=UTC)


def refused(number: int = 0, **changed: Any) -> dict[str, Any]:
    return {
        "index": 0, "event_id": None, "reason": "field_invalid", "message": "m", "sender": "demo", "source": "events",
        "payload": json.dumps({"client_id": f"c{number}"}), "request_id": f"r{number}", "ip_prefix": "192.0.2.0/24",
        "is_bot": False, **changed,
    }  # fmt: skip


def store(s3: FakeS3, name: str, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    s3.put_object("events", f"rejected/{name}", gzip.compress(text.encode()))


def read(s3: FakeS3, shop: str = "demo") -> refusals.Refused:
    return read_refused(s3, "events", shop, (YESTERDAY, NOW))


def test_refusals_are_counted_by_network_and_reason_with_a_request_as_an_example() -> None:
    s3 = FakeS3()
    store(s3, "2026/01/09/23/a.gz", [refused(n) for n in range(3)])
    store(s3, "2026/01/10/01/b.gz", [refused(9, ip_prefix="198.51.100.0/24", reason="event_too_large")])
    store(s3, "2026/01/08/23/old.gz", [refused(1)])
    found = read(s3)
    assert (found.total, found.is_sample) == (4, False)
    assert found.most(1) == [(Sender("192.0.2.0/24", "field_invalid", "r0"), 3)]
    assert found.most(9)[1] == (Sender("198.51.100.0/24", "event_too_large", "r9"), 1)


def test_refusals_are_counted_by_day_event_kind_and_reason_and_a_day_without_any_is_on_record() -> None:
    s3 = FakeS3()
    purchase = json.dumps({"event_name": "purchase"})
    store(s3, "2026/01/09/23/a.gz", [refused(payload=purchase), refused(payload=purchase), refused()])
    store(
        s3,
        "2026/01/09/22/b.gz",
        [refused(payload="{oops"), refused(payload=json.dumps({"event_name": ["x"]}))],
    )
    connection = FakeConnection()
    refusals.keep_refused(connection, "run", "demo", NOW, read(s3))
    at = NOW.replace(tzinfo=None)
    assert connection.inserted == [
        ("run", at, "demo", "2026-01-09", "purchase", "field_invalid", 2),
        ("run", at, "demo", "2026-01-09", "unknown", "field_invalid", 3),
        ("run", at, "demo", "2026-01-10", "", "", 0),
    ]


def test_other_shops_bots_imports_and_unreadable_lines_are_not_counted() -> None:
    s3 = FakeS3()
    lines = [refused(sender="other"), refused(sender=None), refused(is_bot=True), refused(source="import")]
    store(s3, "2026/01/10/01/a.gz", [*lines, {"reason": 7}, refused()])
    s3.put_object("events", "rejected/2026/01/10/01/b.gz", b"no gzip")
    assert read(s3).total == 1
    assert read(s3, "other").total == 1


def test_one_large_request_of_random_text_is_as_many_refusals_as_it_has_events() -> None:
    """An attack of an audit: 30 refused events, and 768 kB compressed."""
    draw = random.Random(1)
    noise = "".join(draw.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(30_000))
    s3 = FakeS3()
    store(s3, "2026/01/10/01/a.gz", [refused(n, payload=json.dumps({"event_id": noise})) for n in range(30)])
    found = read(s3)
    assert found.total == 30
    assert len(found.by_cell) == 1, "events without a client are one client's"


def test_clients_are_in_different_cells_and_a_network_is_not() -> None:
    s3 = FakeS3()
    store(s3, "2026/01/10/01/a.gz", [refused(n) for n in range(64)])
    cells = read(s3).by_cell
    assert len({at.network for at in cells}) == 1
    assert len({at.client for at in cells}) > 8
    store(s3, "2026/01/10/01/a.gz", [refused(n, trusted=True) for n in range(64)])
    assert len({at.network for at in read(s3).by_cell}) > 8, "a trusted back end's clients are the senders"


def test_of_too_much_a_sample_is_read_and_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(1)
    s3 = FakeS3()
    for file in range(20):
        noise = [{"client_id": "c", "noise": f"{draw.getrandbits(8000):x}"} for _ in range(200)]
        store(s3, f"2026/01/10/01/{file}.gz", [refused(payload=json.dumps(one)) for one in noise])
    monkeypatch.setattr(refusals, "LARGEST_READ_BYTES", 400_000)
    monkeypatch.setattr(refusals, "LARGEST_READ_FILES", 10)
    found = read(s3)
    assert found.is_sample
    assert found.total == pytest.approx(4000, rel=0.2)


def test_storage_that_does_not_answer_is_an_error_of_its_own() -> None:
    s3 = FakeS3()
    store(s3, "2026/01/10/01/a.gz", [refused()])
    s3.down = True
    with pytest.raises(StorageUnavailable, match="rejected/ could not be read"):
        read(s3)


def test_the_first_refusal_of_each_network_and_reason_has_the_address_of_its_line() -> None:
    s3 = FakeS3()
    odd = refused(1, reason="event_too_large", payload=json.dumps({"client_id": "c", "event_id": "e-1"}))
    store(s3, "2026/01/09/23/a.gz", [refused(0, sender="other"), refused(1), refused(2), odd])
    rows = read(s3).rows
    assert [(row.file, row.line, row.event_id, row.note) for row in rows] == [
        ("s3://events/rejected/2026/01/09/23/a.gz", 2, None, "field_invalid"),
        ("s3://events/rejected/2026/01/09/23/a.gz", 4, "e-1", "event_too_large"),
    ]
    assert read(s3).by_reason() == {"field_invalid": 2, "event_too_large": 1}


def test_no_more_than_ten_refusals_have_an_address() -> None:
    s3 = FakeS3()
    store(s3, "2026/01/09/23/a.gz", [refused(n, ip_prefix=f"10.0.{n}.0/24") for n in range(30)])
    assert len(read(s3).rows) == 10
