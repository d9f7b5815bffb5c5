"""Retry-After, as servers and proxies write it."""

import time
from email.utils import formatdate

import pytest

from tugboat_events.transport import RETRY_AFTER_MAX_S, _retry_after_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("120", 120),
        ("soon", 0),
        ("-5", 0),
        ("9" * 5_000, 0),
        ("86400", RETRY_AFTER_MAX_S),
    ],
)
def test_seconds_are_read_and_nonsense_is_no_wish(value: str | None, seconds: float) -> None:
    assert _retry_after_s(value) == seconds


def test_a_date_is_read() -> None:
    assert _retry_after_s(formatdate(time.time() - 60, usegmt=True)) == 0
    assert 100 < _retry_after_s(formatdate(time.time() + 120, usegmt=True)) <= 120
