"""Load on the local Snowflake: by file name, by recent days, and by a sweep of all files."""

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.load import load
from testing.warehouse_stack import Stack, connected
from tests.integration.warehouse.events import deliver, raw_event


def deliver_now(stack: Stack, name: str) -> str:
    """Write an event below the prefix of this hour; return the key."""
    key = f"raw/{datetime.now(UTC):%Y/%m/%d/%H}/{name}.gz"
    body = gzip.compress((json.dumps(raw_event(name)) + "\n").encode())
    stack.s3.put_object(Bucket=stack.settings.events_bucket, Key=key, Body=body)
    return key


def test_a_file_is_loaded_once_by_its_name_by_the_recent_days_or_by_a_sweep(
    new_stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack: Stack = new_stack("load")

    def loaded(**event: Any) -> list[str]:
        """Load, and return the names of the events that this added."""
        with connected(stack) as connection:
            before = _events(connection)
            load.load(event, stack.settings, connection)
            return sorted(_events(connection) - before)

    key = deliver_now(stack, "arrived")
    deliver_now(stack, "beside")
    assert loaded(run_id="arrival-1", key=key) == ["arrived"]
    assert loaded(run_id="arrival-1", key=key) == []
    assert loaded(run_id="first") == ["beside"]
    monkeypatch.setattr(load, "LISTED_AT_ONCE", 1)
    deliver_now(stack, "today")
    deliver(stack.s3, stack.settings.events_bucket, "old", [raw_event("old")])
    assert loaded(run_id="night") == ["today"]
    assert loaded(run_id="night") == []
    assert loaded(run_id="sweep", full=True) == ["old"]


def _events(connection: Any) -> set[str]:
    with connection.cursor() as cursor:
        return {
            row[0] for row in cursor.execute("select PAYLOAD:event_id::varchar from RAW.EVENTS").fetchall()
        }
