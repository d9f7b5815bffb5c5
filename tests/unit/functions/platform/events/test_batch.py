"""Properties of parsing, for any body and any query string."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.collect.pixel import parse_pixel
from functions.platform.errors import RequestRefused
from functions.platform.events.batch import DEPTH_MAX, EVENTS_MAX, parse_batch
from functions.platform.events.contract import EVENT_MAX_BYTES, Timing, accept, line

NOW_MS = 1_700_000_000_000
FIELDS = ["schema_version", "event_id", "event_name", "shop_id", "client_id", "session_id", "client_time_ms"]
GOOD = {
    **dict.fromkeys(FIELDS, "x"),
    "schema_version": 1,
    "event_name": "page_view",
    "client_time_ms": NOW_MS,
}

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*FIELDS, "items", "value", "price", "quantity", "item_id", "search_term", "other"])
bodies = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())


def taken(read: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of `read`, or None if it refuses; any other error fails the test."""
    try:
        return read(*arguments)
    except RequestRefused:
        return None


@given(bodies)
def test_a_body_is_a_batch_of_1_to_500_events_or_refused(body: bytes) -> None:
    batch = taken(parse_batch, body)
    assert batch is None or 1 <= len(batch.events) <= EVENTS_MAX
    assert batch is None or batch.sent_at_ms is None or batch.sent_at_ms > 0


@given(st.integers(1, 4 * DEPTH_MAX), st.booleans())
def test_a_body_deeper_than_the_limit_is_refused_and_one_within_it_is_not(depth: int, objects: bool) -> None:
    around = (b'{"a":' * depth, b"}" * depth) if objects else (b"[" * depth, b"]" * depth)
    batch = taken(parse_batch, around[0] + b"1" + around[1])
    assert (batch is not None) == (depth <= DEPTH_MAX)


@given(st.dictionaries(names, st.text(max_size=70), max_size=8))
def test_any_query_string_makes_an_event_that_json_can_hold(query: dict[str, str]) -> None:
    event = parse_pixel(query, "request-1", NOW_MS)
    assert json.loads(json.dumps(event, allow_nan=False)) == event
    assert {"schema_version", "event_id", "client_time_ms"} <= event.keys()


@settings(deadline=None)
@given(st.dictionaries(names, json_values, max_size=4), st.none() | st.integers(1, 2 * NOW_MS))
def test_an_accepted_event_is_one_line_within_the_limit_and_is_accepted_again(
    changes: dict[str, Any], sent_at_ms: int | None
) -> None:
    shops = frozenset({"x"})
    stored = taken(lambda: line(accept({**GOOD, **changes}, shops, Timing(NOW_MS, sent_at_ms))[0], b"{}"))
    if stored is None:
        return
    assert len(stored) <= EVENT_MAX_BYTES + len(b',"server":{}\n')
    assert stored.count(b"\n") == 1
    assert b"\\u0000" not in stored.replace(b"\\\\", b"")
    read = json.loads(stored)
    assert read.pop("server") == {}
    again, event_time_ms = accept(read, shops, Timing(NOW_MS, sent_at_ms))
    assert event_time_ms <= NOW_MS + 3_600_000
    assert msgspec.to_builtins(again) == read


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_a_body_is_read_in_every_encoding_of_unicode(encoding: str) -> None:
    body = json.dumps([{"search_term": "Größe 😀"}], ensure_ascii=False).encode(encoding)
    assert parse_batch(body).events == [{"search_term": "Größe 😀"}]
