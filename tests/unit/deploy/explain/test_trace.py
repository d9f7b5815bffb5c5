"""A recommendation and its session's events, from the warehouse and from raw files."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from deploy.explain.trace import StoredEvent, Trace, file_states, from_warehouse
from functions.platform.packed_days import Manifest, PackedFile, write_manifest
from testing.warehouse_fakes import FakeConnection
from tests.unit.deploy.explain.conftest import EVENTS, ISSUED_MS, KEY, NOW, World, event, stamp


def row(document: dict[str, Any], line: int, loaded_at: str = "2026-11-29 13:00:00") -> tuple[Any, ...]:
    return json.dumps(document), KEY, line, loaded_at


def trace_of(*events: dict[str, Any], naming: tuple[dict[str, Any], ...] = ()) -> Trace:
    def stored(document: dict[str, Any], at: int) -> StoredEvent:
        return StoredEvent(document, KEY, at, None)

    return Trace(
        *("r-1", "the warehouse", "shop", "s-1", "m1", "AllTraffic", ISSUED_MS, None),
        [stored(one, 100 + at) for at, one in enumerate(naming)],
        [stored(one, at) for at, one in enumerate(events)],
    )


def test_the_warehouse_is_searched_around_the_answer_once_a_mart_has_it() -> None:
    naming = event(4, "recommendation_click", "a", recommendation_id="r-1", server=stamp(("a", 0)))
    view = event(1, "view_item", "b", after_ms=-1_000)
    connection = FakeConnection(
        ("secondary", []),
        ("MARTS.RECOMMENDATIONS", [("shop", "m1", "AllTraffic", ISSUED_MS, 1, 1, 0, 0, 0.0)]),
        ("flatten", [row(naming, 2)]),
        ("session_id", [row(naming, 2), row(view, 1), row(view, 9, "2026-11-29 14:00:00")]),
    )
    trace = from_warehouse(connection, "r-1", 7, NOW)
    assert trace is not None
    assert trace.outcome == {"shown": 1, "clicked": 1, "carted": 0, "bought": 0, "revenue": 0.0}
    assert [(one.payload["event_id"], one.line) for one in trace.session] == [("e1", 1), ("e4", 2)]
    (only, _), (_, marts), (_, named), (_, session) = connection.statements
    assert only == "use secondary roles none"
    assert marts == ("r-1",)
    assert named is not None
    assert session is not None
    assert named[:2] == (datetime(2026, 11, 29, 11), datetime(2026, 12, 6, 13))
    assert session[0] == datetime(2026, 11, 28, 12)
    assert session[2:] == ("shop", "s-1")


def test_an_id_that_the_warehouse_does_not_have_is_none() -> None:
    connection = FakeConnection(("secondary", []), ("MARTS", []), ("flatten", []))
    assert from_warehouse(connection, "r-9", 7, NOW) is None
    assert connection.statements[2][1] is not None
    assert connection.statements[2][1][1] == datetime(2026, 11, 29, 13, 30)


def test_raw_files_of_the_last_hours_have_what_is_not_loaded_yet(
    seen: Callable[..., World], answer: list[str]
) -> None:
    trace = seen().trace()
    assert trace is not None
    assert (trace.shop_id, trace.session_id, trace.model_version) == ("shop", "s-1", "m1")
    assert [(one.key, one.line) for one in trace.before] == [(KEY, 1), (KEY, 2), (KEY, 3)]
    assert [(one.item_id, one.slot, one.events) for one in trace.shown] == [
        (answer[0], 0, ["recommendation_impression"]),
        (answer[1], 1, ["recommendation_impression"]),
    ]


def test_raw_files_before_the_last_hours_and_damaged_ones_are_passed_over(world: World) -> None:
    document = event(1, "recommendation_click", "a", recommendation_id="r-1")
    world.store(document, key="raw/2026/11/29/08/old.gz")
    world.s3.objects[EVENTS, "raw/2026/11/29/12/damaged.gz"] = b"not gzip"
    assert world.trace() is None
    world.store(document, key="raw/2026/11/29/09/new.gz")
    assert world.trace() is not None


def test_a_session_of_another_shop_with_the_same_id_is_another_one(seen: Callable[..., World]) -> None:
    world = seen()
    world.store(
        {**event(9, "view_item", "x", after_ms=-9_000), "shop_id": "other"}, key="raw/2026/11/29/11/b.gz"
    )
    trace = world.trace()
    assert trace is not None
    assert "e9" not in {one.payload["event_id"] for one in trace.session}


def test_the_question_is_what_the_sdk_sends() -> None:
    asked = trace_of(
        event(1, "view_item", "a", after_ms=-9_000),
        event(2, "view_item", "a", after_ms=-8_000),
        event(3, "search", after_ms=-7_000),
        event(4, "add_to_cart", "b", after_ms=-6_000),
        event(5, "view_item", "a", after_ms=-5_000),
        event(6, "purchase", "c", after_ms=-4_000),
        event(7, "view_item", "late", after_ms=60_000),
    ).questions()
    assert asked == [["a", "b", "a"]]


def test_a_view_in_the_second_of_the_answer_makes_two_questions() -> None:
    asked = trace_of(
        event(1, "view_item", "a", after_ms=-9_000), event(2, "view_item", "b", after_ms=700)
    ).questions()
    assert asked == [["a", "b"], ["a"]]


def test_what_follows_an_event_that_names_the_answer_is_later_than_the_answer() -> None:
    trace = trace_of(
        event(1, "view_item", "a", after_ms=-9_000),
        event(2, "recommendation_click", "b", after_ms=300, recommendation_id="r-1"),
        event(3, "view_item", "b", after_ms=301),
    )
    assert trace.questions() == [["a"]]
    assert [one.payload["event_id"] for one in trace.before] == ["e1"]


def test_a_forged_or_foreign_receipt_gives_no_slot() -> None:
    trace = trace_of(
        naming=(
            event(1, "recommendation_click", "a", server=stamp(("a", 0), verdict="foreign")),
            event(2, "recommendation_click", "b", recommendation_id="r-1"),
        )
    )
    assert [(one.item_id, one.slot) for one in trace.shown] == [("b", None)]
    assert trace.verdicts == {"foreign": 1}


def test_a_raw_file_is_in_place_or_packed_or_deleted(world: World) -> None:
    world.store(event(1, "view_item", "a"))
    packed = PackedFile("raw/2026/11/28/12/b.gz", 1, "0", 0.0, "archive/raw/day=2026-11-28/x.parquet")
    write_manifest(world.s3, EVENTS, Manifest("2026-11-28", [packed]), "")
    events = [StoredEvent({}, key, 1, None) for key in (KEY, packed.key, "raw/2026/11/27/12/c.gz")]
    assert file_states(world.s3, EVENTS, events) == {
        KEY: "raw",
        packed.key: f"packed in {packed.part}",
        "raw/2026/11/27/12/c.gz": "deleted",
    }
