"""The SQL of sessions against the rule in Python, on generated events."""

from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.platform import warehouse
from testing.session_rule import GAP_MS, Event, placed
from testing.warehouse_stack import Stack

SQL = Path(__file__).resolve().parents[3] / "sql"
# Values around the boundary, because a uniform draw would hardly ever hit exactly 30 minutes.
GAPS = st.sampled_from([0, 1, 60_000, GAP_MS - 1, GAP_MS, GAP_MS + 1, 7_200_000])
CLIENTS = st.sampled_from(["shop1-c1", "shop1-c2", "shop2-c1"])
# Few numbers, so that some are equal, and some contradict the time.
SEQUENCES = st.one_of(st.none(), st.integers(1, 8))
COUNTERS = st.sampled_from(["s1", "s2"])


def model_sql(source: str) -> str:
    """Return the model as dbt compiles it for a first run on `source`."""
    environment = jinja2.Environment()
    macros: Any = environment.from_string((SQL / "macros" / "key.sql").read_text()).module
    model = environment.from_string((SQL / "models" / "intermediate" / "int_session_events.sql").read_text())
    return model.render(
        config=lambda **_: "",
        ref=lambda _: source,
        is_incremental=lambda: False,
        var=lambda _: 30,
        key=macros.key,
    )


@pytest.fixture(scope="module")
def connection(new_stack: Any) -> Any:
    stack: Stack = new_stack("property")
    with warehouse.connect(stack.credentials) as opened:
        yield opened


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(CLIENTS, GAPS, COUNTERS, SEQUENCES), min_size=1, max_size=25),
    order=st.randoms(use_true_random=False),
)
def test_sql_derives_the_same_sessions_and_orders_as_the_rule_in_python(
    connection: Any, steps: list[tuple[str, int, str, int | None]], order: Any
) -> None:
    clock: dict[str, int] = {}
    events = []
    for number, (client, gap_ms, counter, sequence) in enumerate(steps):
        clock[client] = clock.get(client, 1_767_312_000_000) + gap_ms
        events.append(Event(f"e{number:03}", client, clock[client], counter, sequence))
    order.shuffle(events)
    rows = " union all ".join(
        f"select '{event.key}' as event_key, '{event.client}' as client_key, {event.time_ms} as event_time_ms, "
        f"'{event.counter}' as storefront_session_id, {event.sequence or 'null'}::bigint as sequence"
        for event in events
    )
    names = "shop_id client_id event_name search_term item_list_id transaction_id user_id recommendation_id device network_key"
    empty = ", ".join(f"null::varchar as {name}" for name in names.split())
    source = (
        f"(select *, {empty}, null::float as value, null::timestamp_ntz as event_time, "
        f"null::timestamp_ntz as loaded_at, null::timestamp_ntz as staged_at, false as is_bot, "
        f"false as is_trusted, null::bigint as received_at_ms from ({rows}) as r)"
    )
    drawn = warehouse.rows(
        connection, f"select event_key, session_key, event_number from ({model_sql(source)}) as m"
    )
    expected = placed(events)
    sessions: dict[str, tuple[str, int]] = {}
    for event, session_key, number in drawn:
        place = expected.pop(event)
        assert number == place.number
        session = place.client, place.start_ms
        assert sessions.setdefault(session_key, session) == session
    assert not expected
    assert len(set(sessions.values())) == len(sessions)
