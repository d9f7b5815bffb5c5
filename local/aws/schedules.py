"""Times of EventBridge schedules: rate() and cron(), in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from croniter import croniter

_RATE = re.compile(r"rate\((?P<count>\d+) (?P<unit>minute|hour|day)s?\)")
_CRON = re.compile(r"cron\((?P<fields>[^)]+)\)")


def next_time(expression: str, after: datetime) -> datetime:
    """Return the first time of a schedule after `after`.

    Raises:
        ValueError: EventBridge does not accept the expression.
    """
    if rate := _RATE.fullmatch(expression.strip()):
        return after + int(rate["count"]) * timedelta(**{f"{rate['unit']}s": 1})
    if cron := _CRON.fullmatch(expression.strip()):
        fields = cron["fields"].split()
        if len(fields) == 6:
            minute, hour, day, month, weekday, year = (field.replace("?", "*") for field in fields)
            unix = f"{minute} {hour} {day} {month} {_unix_weekday(weekday)} 0 {year}"
            due: datetime = croniter(unix, after.astimezone(UTC)).get_next(datetime)
            return due
    raise ValueError(f"{expression!r} is neither rate(<n> <unit>) nor cron(<6 fields>)")


def _unix_weekday(field: str) -> str:
    """Convert weekdays: EventBridge counts from Sunday = 1, Unix from Sunday = 0."""
    return re.sub(r"(?<![#/\dA-Za-z])[1-7]", lambda day: str(int(day[0]) - 1), field)
