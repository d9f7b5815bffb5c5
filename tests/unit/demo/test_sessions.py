from typing import Any

from demo.sessions import EventLog, held_out_sessions, training_sessions

MINUTE_MS = 60_000
START_MS = 1_700_000_000_000


def log_of(*rows: tuple[str, float, str, str]) -> EventLog:
    log = EventLog()
    for number, (client, minute, name, item) in enumerate(rows):
        event: dict[str, Any] = {
            "shop_id": "demo",
            "event_id": f"e{START_MS}{minute}{number}",
            "event_name": name,
            "client_id": client,
            "client_time_ms": START_MS + int(minute * MINUTE_MS),
        }
        if item:
            event["items"] = [{"item_id": item}]
        log.add(event)
    return log


def views(client: str, *steps: tuple[float, str]) -> list[tuple[str, float, str, str]]:
    return [(client, minute, "view_item", item) for minute, item in steps]


def test_thirty_minutes_of_silence_end_a_session() -> None:
    log = log_of(*views("c", (0, "a"), (1, "b"), (31, "c"), (61.1, "d"), (62, "e")))
    assert training_sessions(log) == [["a", "b", "c"], ["d", "e"]]


def test_a_page_view_keeps_a_session_open_without_being_an_interaction() -> None:
    log = log_of(("c", 0, "view_item", "a"), ("c", 25, "page_view", ""), ("c", 50, "view_item", "b"))
    assert training_sessions(log) == [["a", "b"]]


def test_a_late_event_finds_its_place_by_time() -> None:
    assert training_sessions(log_of(*views("c", (0, "a"), (2, "c"), (1, "b")))) == [["a", "b", "c"]]


def test_a_run_of_one_item_counts_once_and_a_return_to_it_again() -> None:
    log = log_of(
        *views("c", (0, "a"), (1, "a")), ("c", 2, "add_to_cart", "a"), *views("c", (3, "b"), (4, "a"))
    )
    assert training_sessions(log) == [["a", "b", "a"]]


def test_nothing_after_the_first_purchase_counts() -> None:
    log = log_of(*views("c", (0, "a"), (1, "b")), ("c", 2, "purchase", "b"), *views("c", (3, "z")))
    assert training_sessions(log) == [["a", "b"]]


def test_an_event_that_comes_twice_counts_once() -> None:
    log = EventLog()
    event = {
        "shop_id": "s",
        "event_id": "e",
        "event_name": "page_view",
        "client_id": "c",
        "client_time_ms": 1,
    }
    log.add(event)
    log.add(event)
    assert len(log.moments["c"]) == 1


def test_a_session_that_had_begun_before_the_held_out_time_is_no_test() -> None:
    training = log_of(*views("c", (0, "a"), (1, "b")))
    held_out = log_of(
        *views("c", (10, "x"), (20, "y"), (45, "z"), (100, "p"), (101, "q")), *views("d", (9, "u"), (11, "v"))
    )
    assert held_out_sessions(held_out, training) == [["u", "v"], ["p", "q"]]


def purchases(*reports: tuple[str, float, str, str]) -> EventLog:
    """Return a log with a view of `v` by each client at minute 0, and purchases of (client, minute, order, items)."""
    log = log_of(
        *((client, 0, "view_item", "v") for client in dict.fromkeys(report[0] for report in reports))
    )
    for number, (client, minute, order, items) in enumerate(reports):
        log.add(
            {
                "shop_id": "demo",
                "event_id": f"p{number}",
                "event_name": "purchase",
                "client_id": client,
                "client_time_ms": START_MS + int(minute * MINUTE_MS),
                "transaction_id": order,
                "items": [{"item_id": item} for item in items],
            }
        )
    return log


def test_all_items_of_an_order_count_whether_it_comes_as_one_event_or_as_several() -> None:
    assert training_sessions(purchases(("c", 1, "T1", "abc"))) == [["v", "a", "b", "c"]]
    rows = purchases(("c", 1, "T1", "a"), ("c", 1, "T1", "b"), ("c", 2, "T1", "c"))
    assert training_sessions(rows) == [["v", "a", "b", "c"]]


def test_an_item_of_an_order_counts_once_across_sessions_and_clients() -> None:
    log = purchases(("c", 1, "T1", "ab"), ("c", 5, "T1", "ab"), ("d", 6, "T1", "ab"), ("c", 90, "T1", "ab"))
    assert training_sessions(log) == [["v", "a", "b"]]


def test_a_second_order_of_a_session_comes_after_the_first() -> None:
    assert training_sessions(purchases(("c", 1, "T1", "ab"), ("c", 1, "T2", "xy"))) == [["v", "a", "b"]]


def test_a_session_that_begins_with_an_old_order_goes_on_to_the_next() -> None:
    log = purchases(("c", 1, "T1", "ab"), ("c", 90, "T1", "ab"), ("c", 91, "T2", "xy"))
    assert training_sessions(log) == [["v", "a", "b"], ["x", "y"]]


def test_a_copy_of_an_order_without_items_takes_none_away() -> None:
    assert training_sessions(purchases(("d", 1, "T1", ""), ("c", 2, "T1", "ab"))) == [["v", "a", "b"]]
