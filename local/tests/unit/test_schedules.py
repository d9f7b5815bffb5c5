"""Times of EventBridge schedules."""

from datetime import UTC, datetime

import pytest

from local.aws.schedules import next_time

SATURDAY_NOON = datetime(2026, 1, 3, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("rate(5 minutes)", datetime(2026, 1, 3, 12, 5, tzinfo=UTC)),
        ("rate(1 day)", datetime(2026, 1, 4, 12, 0, tzinfo=UTC)),
        ("cron(0 3 * * ? *)", datetime(2026, 1, 4, 3, 0, tzinfo=UTC)),
        ("cron(0 18 ? * MON-FRI *)", datetime(2026, 1, 5, 18, 0, tzinfo=UTC)),
        ("cron(0 18 ? * 2-6 *)", datetime(2026, 1, 5, 18, 0, tzinfo=UTC)),
        ("cron(15 10 1 * ? *)", datetime(2026, 2, 1, 10, 15, tzinfo=UTC)),
        ("cron(0/10 * * * ? *)", datetime(2026, 1, 3, 12, 10, tzinfo=UTC)),
    ],
)
def test_a_schedule_is_due_when_eventbridge_would_run_it(expression: str, due: datetime) -> None:
    assert next_time(expression, SATURDAY_NOON) == due


def test_an_unknown_schedule_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="neither rate"):
        next_time("every day", SATURDAY_NOON)
