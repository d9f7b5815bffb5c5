"""An imported history on the local Snowflake: Load takes its files, whatever their day."""

from pathlib import Path
from typing import Any

import pytest

from functions.load import load
from imports.history import History, identify_all
from imports.rejects import Rejects
from imports.upload import Upload
from testing.warehouse_stack import Stack, connected

CONTENT = "event_time,event_name,item_id,client_id,price,quantity,transaction_id\n"
CONTENT += "2024-03-01T10:00:00Z,view,i1,c1,,,\n"
CONTENT += "".join(f"2024-03-01T10:05:00Z,purchase,i{n},c1,{10 * n},1,T1\n" for n in (1, 2, 3))


def import_into(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text(CONTENT)
    with History("demo", Rejects(), import_id="import-1") as history:
        for opened in identify_all([file]):
            history.add(opened)
        list(Upload(stack.s3, stack.settings.events_bucket, "import-1").store(history.batches()))


def test_a_history_of_old_days_is_loaded_once_by_a_full_refresh(
    new_stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack: Stack = new_stack("imported")
    with connected(stack) as connection:
        # A large lake, in which a night lists only the recent days.
        monkeypatch.setattr(load, "LISTED_AT_ONCE", 0)
        load.load({"run_id": "first", "full": True}, stack.settings, connection)
        import_into(stack, tmp_path)
        import_into(stack, tmp_path)
        assert load.load({"run_id": "night"}, stack.settings, connection)["rows_loaded"] == 0
        assert load.load({"run_id": "full", "full": True}, stack.settings, connection)["rows_loaded"] == 2
        with connection.cursor() as cursor:
            rows = cursor.execute(
                """select PAYLOAD:event_name::varchar, PAYLOAD:value::float, array_size(PAYLOAD:items)
                from RAW.EVENTS order by 1"""
            ).fetchall()
        assert [(name, value, int(items)) for name, value, items in rows] == [
            ("purchase", 60.0, 3),
            ("view_item", None, 1),
        ]
