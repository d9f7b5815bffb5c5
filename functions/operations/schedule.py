"""The next start of the nightly run, from the schedule of its rule."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.operations.model import Runs, Schedule

RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
CRON = re.compile(r"cron\((.+)\)")


def read_schedule(events: Any, rule: str, runs: Runs | None, now: datetime) -> Schedule:
    """Return the schedule of a rule, and the next time of it."""
    found = events.describe_rule(Name=rule)
    expression = str(found.get("ScheduleExpression", ""))
    enabled = str(found.get("State", "")).startswith("ENABLED")
    return Schedule(expression, enabled, _next(expression, runs, now) if enabled else None)


def _next(expression: str, runs: Runs | None, now: datetime) -> datetime | None:
    if rate := RATE.fullmatch(expression):
        # A rate counts from the rule's creation. The last scheduled run shows where it stands.
        last = (
            next((run.started_at for run in runs.newest if run.started_by == "schedule"), None)
            if runs
            else None
        )
        every = timedelta(**{f"{rate[2]}s": int(rate[1])})
        return last + ((now - last) // every + 1) * every if last else None
    if cron := CRON.fullmatch(expression):
        return next_cron(cron[1], now)
    return None


def next_cron(fields: str, now: datetime) -> datetime | None:
    """Return the first time after `now` of EventBridge's six fields, or None for fields that croniter does not read."""
    from croniter import CroniterError, croniter

    minute, hour, day, month, weekday, year = (field.replace("?", "*") for field in fields.split())
    # EventBridge counts weekdays from Sunday = 1, and croniter from Sunday = 0.
    weekday = re.sub(r"(?<![#/\dA-Za-z])[1-7]", lambda number: str(int(number[0]) - 1), weekday)
    try:
        due: datetime = croniter(
            f"{minute} {hour} {day} {month} {weekday} 0 {year}", now.astimezone(UTC)
        ).get_next(datetime)
    except CroniterError:
        return None
    return due
