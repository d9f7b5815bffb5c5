"""The days that a compaction packs, read strictly: a typing error must not pack a day that is not over."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

EXAMPLE = '{"from_day": "2026-11-01", "to_day": "2026-11-20"}'
# Firehose tries to deliver to S3 for up to 24 hours, below the prefix of the hour of arrival:
# https://docs.aws.amazon.com/firehose/latest/dev/retry.html
FINISHED_AFTER_DAYS = 2
# The daily call packs these days again, so that a late file or a failed call is made up for.
CATCH_UP_DAYS = 7


def parse_days(event: Any, now: datetime) -> list[date]:
    """Return the finished days that an event asks for, in order.

    Raises:
        ValueError: the message names the problem and shows a valid event.
    """
    newest = now.date() - timedelta(days=FINISHED_AFTER_DAYS)
    if event == {}:
        return _between(newest - timedelta(days=CATCH_UP_DAYS - 1), newest)
    if not isinstance(event, Mapping) or set(event) != {"from_day", "to_day"}:
        raise _invalid(f"the event is {event!r}")
    first, last = _day(event, "from_day"), _day(event, "to_day")
    if first > last:
        raise _invalid(f"from_day {first} lies after to_day {last}")
    if last > newest:
        raise _invalid(f"to_day {last} is not finished: the newest finished day is {newest}")
    return _between(first, last)


def _between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _day(event: Mapping[str, Any], name: str) -> date:
    try:
        return date.fromisoformat(event[name])
    except (TypeError, ValueError):
        raise _invalid(f"{name} is a day in UTC such as 2026-11-20, not {event[name]!r}") from None


def _invalid(problem: str) -> ValueError:
    return ValueError(f"{problem}. An event is {{}} or {EXAMPLE}")
