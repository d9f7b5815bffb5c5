from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

import pytest

from demo.http import Http, Response, retry_after_s
from demo.replay import ReplayFailed, batches, main, send
from tests.unit.demo.collector import Collector, running

KEYS = {"demo": "key-of-demo"}


def events(count: int) -> list[dict[str, Any]]:
    return [
        {"event_id": f"e{n}", "event_name": "view_item", "shop_id": "demo", "client_id": f"c{n % 7}"}
        for n in range(count)
    ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running(Collector()) as one:
        yield one


class Waits(list[float]):
    """A sleep that records its durations and returns at once."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def test_every_event_arrives_once_in_batches_of_at_most_500(collector: Collector) -> None:
    result = send(events(1234), collector.url, KEYS)
    assert (result.sent, result.accepted, result.refused, result.batches) == (1234, 1234, 0, 3)
    assert sorted(e["event_id"] for e in collector.events) == sorted(e["event_id"] for e in events(1234))
    assert max(size for _, size in collector.batches) == 500


def test_a_busy_collector_is_asked_again_after_the_time_it_names(collector: Collector) -> None:
    collector.troubles.append((429, {"Retry-After": "7"}))
    waits = Waits()
    result = send(events(10), collector.url, KEYS, http=Http(1, sleep=waits), connections=1)
    assert result.accepted == 10
    assert result.retries == 1
    assert waits == [7.0]


def test_a_server_error_and_a_reset_connection_are_retried_with_growing_pauses(collector: Collector) -> None:
    collector.troubles.extend([(503, {}), (0, {}), (500, {})])
    waits = Waits()
    result = send(events(10), collector.url, KEYS, http=Http(1, sleep=waits), connections=1)
    assert (result.accepted, result.retries) == (10, 3)
    assert 0.1 <= waits[0] <= 0.2 <= waits[1] <= 0.4 <= waits[2] <= 0.8


def test_a_collector_that_stays_down_ends_the_replay_with_what_to_do(collector: Collector) -> None:
    collector.troubles.extend([(503, {})] * 3)
    with pytest.raises(ReplayFailed, match=r"make status.*sending all again is safe"):
        send(events(10), collector.url, KEYS, http=Http(1, max_attempts=3, sleep=Waits()), connections=1)


def test_a_request_that_is_wrong_is_not_sent_again(collector: Collector) -> None:
    collector.troubles.append((400, {}))
    waits = Waits()
    with pytest.raises(ReplayFailed, match="status 400"):
        send(events(10), collector.url, KEYS, http=Http(1, sleep=waits), connections=1)
    assert waits == []


def test_a_secret_key_is_sent_in_the_header_and_no_key_in_the_address(collector: Collector) -> None:
    asked = []

    def secret_key_of(shop: str) -> str:
        asked.append(shop)
        return "secret-of-demo"

    assert send(events(10), collector.url, KEYS, secret_key_of=secret_key_of).accepted == 10
    assert asked == ["demo"]


def test_a_fresh_secret_key_is_sent_again_after_the_time_that_the_collector_names(
    collector: Collector,
) -> None:
    collector.troubles.append((401, {"Retry-After": "10"}))
    waits = Waits()
    sent = send(
        events(10), collector.url, KEYS, secret_key_of=lambda _: "secret-of-demo", http=Http(1, sleep=waits)
    )
    assert (sent.accepted, waits) == (10, [10.0])


def test_refused_events_are_counted_by_their_reason(collector: Collector) -> None:
    collector.refuse = lambda event: "field_invalid" if event["event_id"] in ("e3", "e5") else None
    result = send(events(10), collector.url, KEYS)
    assert (result.accepted, result.refused, dict(result.reasons)) == (8, 2, {"field_invalid": 2})
    assert "refused, field_invalid: 2" in result.summary()


def test_a_shop_without_a_key_is_said_with_where_to_give_it_one(collector: Collector) -> None:
    foreign = [{**event, "shop_id": "nobody"} for event in events(2)]
    with pytest.raises(ReplayFailed, match=r"'nobody' has no key in deploy/stages.toml"):
        send(foreign, collector.url, KEYS)
    assert collector.events == []


def test_an_answer_that_does_not_account_for_every_event_ends_the_replay() -> None:
    with pytest.raises(ReplayFailed, match="accounts for accepted=1"):
        send(events(2), "http://nowhere", KEYS, http=cast(Http, _Lying()))


class _Lying:
    """A client whose response always accepts one event."""

    retries = 0

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> Any:
        return Response({"accepted": 1, "refused": []}, 1.0)


def test_a_batch_of_too_many_bytes_is_sent_in_halves(collector: Collector) -> None:
    collector.largest_bytes = 10_000
    result = send(events(500), collector.url, KEYS)
    assert result.accepted == 500
    assert len(collector.batches) > 2


def test_repeats_in_the_source_are_sent_and_counted(collector: Collector) -> None:
    result = send([*events(5), *events(2)], collector.url, KEYS)
    assert (result.sent, result.repeated) == (7, 2)


def test_a_batch_comes_from_one_kind_of_browser() -> None:
    made = list(batches(events(50), lambda client_id: "bot" if client_id == "c0" else "phone", size=10))
    assert sum(len(batch) for _, batch in made) == 50
    assert all({e["client_id"] == "c0" for e in batch} == {agent == "bot"} for agent, batch in made)


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, 0), ("", 0), ("3", 3), ("-1", 0), ("9999", 60), ("soon", 0), ("1.5", 1.5)]
)
def test_retry_after_is_read_as_seconds(value: str | None, seconds: float) -> None:
    assert retry_after_s(value) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    header = format_datetime(now + timedelta(seconds=20), usegmt=True)
    assert retry_after_s(header, now.timestamp) == 20


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_replay_needs_a_connection(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--connections", count])
    assert f"{count!r} is not a whole number from 1 on" in capsys.readouterr().err
