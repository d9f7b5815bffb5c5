"""The next scheduled run."""

from datetime import UTC, datetime, timedelta

import pytest

from functions.operations.model import Run, Runs
from functions.operations.schedule import next_cron, read_schedule
from testing.operations_services import NOW, FakeEvents


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ("0 2 * * ? *", "2026-11-30 02:00"),
        ("30 14 * * ? *", "2026-11-29 14:30"),
        ("0 2 ? * 2-6 *", "2026-11-30 02:00"),  # Monday to Friday: EventBridge counts from Sunday = 1
        ("0 2 ? * SUN *", "2026-12-06 02:00"),
        ("0/15 * * * ? *", "2026-11-29 14:30"),
        ("0 2 1 * ? 2027", "2027-01-01 02:00"),
    ],
)
def test_the_next_time_of_a_cron_expression(fields: str, due: str) -> None:
    assert next_cron(fields, NOW) == datetime.strptime(due, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def test_a_cron_expression_that_cannot_be_read_has_no_next_time() -> None:
    assert next_cron("0 2 31 2 ? *", NOW) is None
    assert next_cron("x y * * ? *", NOW) is None


def test_a_rate_counts_from_the_last_scheduled_run() -> None:
    events = FakeEvents()
    events.expression = "rate(6 hours)"
    last = Run("arn", "n", "r", "SUCCEEDED", NOW - timedelta(hours=8), NOW, "schedule")
    assert read_schedule(events, "tugboat-prod-nightly", Runs([last]), NOW).next_at == NOW + timedelta(
        hours=4
    )
    assert read_schedule(events, "tugboat-prod-nightly", None, NOW).next_at is None


def test_a_schedule_that_is_off_has_no_next_time() -> None:
    events = FakeEvents()
    events.state = "DISABLED"
    assert read_schedule(events, "tugboat-prod-nightly", None, NOW).next_at is None
