"""Delivery to Firehose, and to S3 if Firehose refuses: no line lost, none stored twice, within the limits."""

import gzip
import time
from itertools import pairwise
from threading import Event
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.platform.errors import StorageUnavailable
from functions.platform.events import delivery
from functions.platform.events.delivery import RECORD_MAX_BYTES, RECORDS_MAX, deliver, pack
from functions.platform.time_box import Deadline
from testing.fakes import FakeFirehose, FakeS3


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_PAUSE_S", 0.0)


def big_lines(count: int) -> list[bytes]:
    """Lines of more than half a record each, so that each has a record of its own."""
    return [b"%04d" % number + b"x" * (RECORD_MAX_BYTES // 2) + b"\n" for number in range(count)]


def send(lines: list[bytes], firehose: Any, s3: FakeS3, deadline: Deadline | None = None) -> None:
    deliver(lines, "events", "raw/", "bucket", firehose, s3, deadline or Deadline.after(20))


def parked(s3: FakeS3) -> list[bytes]:
    return [line for body in s3.objects.values() for line in gzip.decompress(body).splitlines(keepends=True)]


def stored(firehose: FakeFirehose) -> list[bytes]:
    return [
        line for record in firehose.streams.get("events", []) for line in record.splitlines(keepends=True)
    ]


@given(st.lists(st.integers(1, RECORD_MAX_BYTES), max_size=30))
@settings(deadline=None, max_examples=20)
def test_packing_keeps_every_line_in_order_in_as_few_records_as_fit(sizes: list[int]) -> None:
    lines = [b"x" * size for size in sizes]
    records = pack(lines)
    assert b"".join(records) == b"".join(lines)
    assert all(len(record) <= RECORD_MAX_BYTES for record in records)
    assert all(len(one) + len(other) > RECORD_MAX_BYTES for one, other in pairwise(records))


def test_a_large_delivery_is_split_into_calls_within_firehose_s_limits() -> None:
    lines, firehose, s3 = big_lines(3 * RECORDS_MAX), FakeFirehose(), FakeS3()
    assert sum(map(len, lines)) > 4 * 1024 * 1024
    send(lines, firehose, s3)  # FakeFirehose asserts the limits of a call
    assert stored(firehose) == lines
    assert s3.objects == {}


def test_only_the_refused_records_of_a_call_are_sent_again() -> None:
    lines, firehose, s3 = big_lines(RECORDS_MAX), FakeFirehose(refuse_next=3), FakeS3()
    send(lines, firehose, s3)
    assert sorted(stored(firehose)) == lines
    assert s3.objects == {}


@pytest.mark.parametrize(
    "refused", [RECORDS_MAX + 1, 2 * RECORDS_MAX + 3, 3 * RECORDS_MAX, 3 * RECORDS_MAX + 5]
)
def test_records_that_firehose_keeps_refusing_are_parked_once(refused: int) -> None:
    lines, firehose, s3 = big_lines(2 * RECORDS_MAX), FakeFirehose(refuse_next=refused), FakeS3()
    send(lines, firehose, s3)
    assert sorted([*stored(firehose), *parked(s3)]) == lines


def test_a_failed_call_does_not_undo_the_calls_before_it() -> None:
    lines, firehose, s3 = big_lines(2 * RECORDS_MAX), FakeFirehose(), FakeS3()
    s3.down = True
    send(lines[:RECORDS_MAX], firehose, s3)
    firehose.break_next = 99
    with pytest.raises(StorageUnavailable):
        send(lines[RECORDS_MAX:], firehose, s3)
    assert stored(firehose) == lines[:RECORDS_MAX]


class Hanging(FakeFirehose):
    """Firehose that does not answer until the test ends."""

    def __init__(self) -> None:
        super().__init__()
        self.over = Event()
        self.calls = 0

    def put_record_batch(self, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:
        self.calls += 1
        self.over.wait(20)
        raise ReadTimeoutError(endpoint_url="https://firehose")


def test_records_are_parked_within_the_lambdas_time_while_firehose_hangs() -> None:
    lines, firehose, s3 = big_lines(2 * RECORDS_MAX), Hanging(), FakeS3()
    began = time.monotonic()
    send(lines, firehose, s3, Deadline.after(0.4))
    took_s = time.monotonic() - began
    firehose.over.set()
    assert sorted(parked(s3)) == lines
    assert took_s < 5, "the twenty seconds of the hanging call are not waited for"


def test_a_call_that_timed_out_is_not_tried_again_before_parking() -> None:
    lines, firehose, s3 = big_lines(1), Hanging(), FakeS3()
    firehose.over.set()
    send(lines, firehose, s3)
    assert parked(s3) == lines
    assert firehose.calls == 1
