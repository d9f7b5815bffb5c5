"""The ranges of time that an incremental run reads: each unread time is in one, and they are few."""

from pathlib import Path
from typing import Any

import jinja2
import pytest

MACROS = Path(__file__).resolve().parents[3] / "sql" / "macros" / "among.sql"
DAY_MS, HOUR_MS = 86_400_000, 3_600_000


class Returned(Exception):
    """dbt's `return` ends a macro with a value."""


def widened(times: list[list[int]], reach_ms: int) -> list[list[int]]:
    """Call the macro."""

    def give(value: Any) -> None:
        raise Returned(value)

    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    environment.globals["return"] = give
    with pytest.raises(Returned) as returned:
        environment.from_string(MACROS.read_text()).module.widened(times, reach_ms)  # type: ignore[attr-defined]
    ranges: list[list[int]] = returned.value.args[0]
    return ranges


def test_ranges_are_longer_by_the_reach_and_joined_where_they_overlap() -> None:
    assert widened([], 5) == []
    assert widened([[100, 110], [118, 120], [200, 201]], 5) == [[95, 125], [195, 206]]


@pytest.mark.parametrize("reach_ms", [0, HOUR_MS, 40 * DAY_MS])
def test_events_of_36_000_days_give_few_ranges_that_contain_them_all(reach_ms: int) -> None:
    """An attack: one client, one event per day from 1927 on."""
    times = [[day * DAY_MS, day * DAY_MS + HOUR_MS] for day in range(-15_692, 20_486)]
    ranges = widened(times, reach_ms)
    assert 1 <= len(ranges) <= 500
    for first_ms, last_ms in times:
        assert any(begin <= first_ms - reach_ms and last_ms + reach_ms <= end for begin, end in ranges)


def test_scattered_days_stay_apart() -> None:
    """Widening reads more than is needed, so it stops as soon as the ranges are few enough."""
    pairs = [[pair * 400 * DAY_MS + day * DAY_MS] * 2 for pair in range(400) for day in (0, 1)]
    assert len(widened(pairs, HOUR_MS)) == 400
